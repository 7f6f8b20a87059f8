"""The words of mini-GSM: clauses, families, names and things. Data only; the rules are in
`mini_gsm.py`, which the architecture keeps in one file: the words are here so that either can be
read without the other.

A clause has five wordings with the slots {n} (a name), {x} (things) and {q} (its number). The
first four are used in training; the fifth is kept for the split `reworded`, and its words all
stand in other clauses. A clause that leaves a choice is told in one seen family only (rates, which
can only multiply, in several): so a family can't be learnt from an easier one, and its difficulty
is its own.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Clause:
    """One sentence of a story: the quantity it brings and what the story does with it."""

    role: str  # how a strategy names the quantity
    unit: str  # "item", "box", "dollar", "minute", "number" (a bare number) or "made per of"
    operation: str  # the true one; "start" for a story's first sentence, "ignore" for no part in it
    numbers: range
    wordings: tuple[str, str, str, str, str]


@dataclass(frozen=True)
class Family:
    """One kind of story: its first sentence, its clauses in order, and what is asked."""

    name: str
    problem_type: str
    start: str
    clauses: tuple[str, ...]
    asks: str = "item"
    kind: str = "seen"  # "seen" in pretraining and training, or the split that it is kept for
    sure_and_wrong: bool = False


NAMES = (
    "Anna Ben Carla David Ella Felix Grace Hugo Iris Jonas Karen Leo "
    "Mira Noah Olga Paul Rosa Sam Tina Viktor Wanda Yusuf Zoe Amir"
).split()
ITEMS = "apples books shells cards pens stones eggs cups roses toys cakes stamps".split()

_AMOUNT, _FEW = range(2, 13), range(2, 7)

CLAUSES = {
    # The first sentence of a story.
    "start": Clause(
        "the amount at the start",
        "item",
        "start",
        range(6, 61),
        (
            "{n} has {q} {x}.",
            "There are {q} {x} in the room of {n}.",
            "{n} counts {q} {x} on the table.",
            "At the start {n} wins a game and gets {q} {x}.",
            "There are {q} {x} on the table of {n}.",
        ),
    ),
    "ordered": Clause(
        "the number ordered",
        "item",
        "start",
        range(2, 19),
        (
            "{n} takes {q} orders for {x}.",
            "A school orders {q} {x} from {n}.",
            "{q} {x} are ordered from the shop of {n}.",
            "{n} writes down an order for {q} {x}.",
            "A school orders {q} {x} in the shop of {n}.",
        ),
    ),
    "boxes": Clause(
        "the number of boxes",
        "box",
        "start",
        range(2, 19),
        (
            "{n} opens {q} boxes.",
            "There are {q} boxes in the shop of {n}.",
            "A truck brings {q} boxes to {n}.",
            "{n} carries {q} boxes into the room.",
            "{n} opens a shop and gets {q} boxes.",
        ),
    ),
    "shelves": Clause(
        "the number of shelves",
        "shelf",
        "start",
        range(2, 19),
        (
            "{n} looks at {q} shelves.",
            "There are {q} shelves in the room of {n}.",
            "{n} puts things on {q} shelves.",
            "The shop of {n} has {q} shelves.",
            "There are {q} shelves in the shop and {n} looks at them.",
        ),
    ),
    "hours": Clause(
        "the number of hours",
        "hour",
        "start",
        range(2, 13),
        (
            "{n} works for {q} hours.",
            "On Monday {n} works {q} hours in the shop.",
            "{q} hours of work are done by {n}.",
            "It takes {n} {q} hours to do the work.",
            "On Monday the work takes {n} {q} hours.",
        ),
    ),
    # Rates.
    "box": Clause(
        "the amount in each box",
        "item per box",
        "multiply",
        range(2, 19),
        (
            "Each box has {q} {x} in it.",
            "{n} sees {q} {x} in each box.",
            "In each box there are {q} {x}.",
            "{q} {x} fit into each box and all are full.",
            "Each box is full and {n} counts {q} {x} in it.",
        ),
    ),
    "shelf": Clause(
        "the amount on each shelf",
        "item per shelf",
        "multiply",
        range(2, 19),
        (
            "Each shelf has {q} {x} on it.",
            "{n} counts {q} {x} on each shelf.",
            "On each shelf there are {q} {x}.",
            "{q} {x} stand on each shelf.",
            "Each shelf is full and {n} sees {q} {x} on it.",
        ),
    ),
    "price": Clause(
        "the price of each",
        "dollar per item",
        "multiply",
        range(2, 13),
        (
            "{n} sells all of them for {q} dollars each.",
            "Each one is sold for {q} dollars.",
            "The price is {q} dollars each and {n} sells them all.",
            "Someone pays {q} dollars for each of them.",
            "{n} sells each one of them for {q} dollars.",
        ),
    ),
    "wage": Clause(
        "the wage for each hour",
        "dollar per hour",
        "multiply",
        range(2, 13),
        (
            "Each hour brings {q} dollars.",
            "{n} is paid {q} dollars for each hour.",
            "The shop pays {q} dollars for each hour.",
            "For each hour {n} gets {q} dollars.",
            "Each hour is paid and {n} gets {q} dollars for it.",
        ),
    ),
    # What adds.
    "found": Clause(
        "the amount found",
        "item",
        "add",
        _AMOUNT,
        (
            "{n} finds {q} more {x}.",
            "On the way home {q} {x} are found by {n}.",
            "Under the bed there are {q} {x} (nobody knew of them).",
            "A few minutes later {n} finds another {q}.",
            "In the garden {n} finds another {q} {x}.",
        ),
    ),
    "bought": Clause(
        "the amount bought",
        "item",
        "add",
        _AMOUNT,
        (
            "{n} buys {q} more {x}.",
            "Then {n} goes to the shop and buys {q} {x}.",
            "In the shop another {q} {x} are bought.",
            "{n} pays for {q} new {x} and takes them home.",
            "At the shop {n} pays for another {q}.",
        ),
    ),
    "made": Clause(
        "the amount made",
        "item",
        "add",
        _AMOUNT,
        (
            "In the evening {n} makes {q} {x}.",
            "{q} new {x} are made after lunch.",
            "With some help {n} makes another {q}.",
            "Then {n} sits down and makes {q} more {x}.",
            "After lunch {n} makes another {q} {x}.",
        ),
    ),
    "received": Clause(
        "the amount received",
        "item",
        "add",
        _AMOUNT,
        (
            "A friend sends {q} {x} to {n}.",
            "{n} receives {q} more {x} by post.",
            "Before lunch {q} {x} come by post.",
            "The family of {n} sends another {q}.",
            "On Monday a friend brings {q} more {x}.",
        ),
    ),
    "picked": Clause(
        "the amount picked",
        "item",
        "add",
        _AMOUNT,
        (
            "{n} goes to the garden and picks {q} {x}.",
            "In the garden {n} picks another {q}.",
            "{q} more {x} are picked before lunch.",
            "With a friend {n} picks {q} {x}.",
            "With a friend {n} takes {q} more {x} home.",
        ),
    ),
    "won": Clause(
        "the amount won",
        "item",
        "add",
        _AMOUNT,
        (
            "{n} wins {q} {x} in a game.",
            "A game at school brings {q} more {x}.",
            "In the next game {n} wins another {q}.",
            "{q} {x} are the prize and {n} gets them.",
            "After a game {n} gets {q} more {x}.",
        ),
    ),
    "trade": Clause(
        "the amount from the trade",
        "item",
        "add",
        _AMOUNT,
        (
            "A trade with a friend brings {q} more {x}.",
            "{n} makes a trade and gets {q} {x} for it.",
            "For an old hat {n} gets {q} {x}.",
            "The neighbor wants a hat and pays with {q} {x}.",
            "For an old jar {n} gets {q} {x}.",
        ),
    ),
    "repaired": Clause(
        "the amount repaired",
        "item",
        "add",
        _AMOUNT,
        (
            "{n} repairs {q} old {x} and keeps them.",
            "{q} old {x} are repaired and look like new.",
            "With some help {n} repairs {q} more.",
            "After a long night {q} more {x} are repaired.",
            "{n} makes {q} old {x} new.",
        ),
    ),
    "gift": Clause(
        "the gift",
        "item",
        "add",
        _AMOUNT,
        (
            "For a birthday {n} gets {q} {x}.",
            "The birthday of {n} brings {q} more {x}.",
            "A gift of {q} {x} comes from the family.",
            "The neighbor comes with a gift of {q} {x}.",
            "The neighbor and the family of {n} come with {q} {x}.",
        ),
    ),
    "tip": Clause(
        "the tip",
        "dollar",
        "add",
        _AMOUNT,
        (
            "{n} also gets a tip of {q} dollars.",
            "Someone leaves {q} dollars as a tip.",
            "At the end there is a tip of {q} dollars.",
            "A friend thanks {n} with a tip of {q} dollars.",
            "At the end a friend pays {n} another {q} dollars.",
        ),
    ),
    "coins": Clause(
        "the coins in the jar",
        "dollar",
        "add",
        _AMOUNT,
        (
            "There are {q} dollars in coins in a jar.",
            "{n} opens a jar with {q} dollars in it.",
            "In an old jar {n} finds {q} dollars.",
            "A jar of coins has another {q} dollars in it.",
            "Under the bed there are another {q} dollars.",
        ),
    ),
    "delivered": Clause(
        "the amount delivered",
        "item",
        "add",
        _AMOUNT,
        (
            "{q} more {x} are delivered.",
            "A truck comes and {n} gets {q} {x}.",
            "{n} opens the door and {q} {x} are delivered.",
            "Someone leaves {q} more {x} at the door.",
            "A truck brings {q} more {x} and leaves them here.",
        ),
    ),
    "uncle": Clause(
        "the amount from the uncle",
        "item",
        "add",
        _AMOUNT,
        (
            "An uncle brings {q} more {x}.",
            "{n} helps an uncle and gets {q} {x}.",
            "The uncle of {n} leaves {q} {x} here.",
            "{q} {x} come from an uncle.",
            "An uncle of {n} brings another {q}.",
        ),
    ),
    # What subtracts.
    "lost": Clause(
        "the amount lost",
        "item",
        "subtract",
        _AMOUNT,
        (
            "{n} loses {q} {x}.",
            "On Monday {q} {x} are lost.",
            "Later {n} can not find {q} of them.",
            "{q} {x} fall out of the bag and are gone.",
            "On the way home {q} of them are gone.",
        ),
    ),
    "used": Clause(
        "the amount used",
        "item",
        "subtract",
        _AMOUNT,
        (
            "{n} uses {q} of the {x}.",
            "For lunch {q} {x} are used up.",
            "The friends of {n} use {q} of them.",
            "{n} needs {q} {x} for a game (at school).",
            "A game at school takes {q} of the {x}.",
        ),
    ),
    "given": Clause(
        "the amount given away",
        "item",
        "subtract",
        _AMOUNT,
        (
            "{n} gives {q} {x} to a friend.",
            "{q} {x} are given to the school.",
            "After that {n} gives away {q} of them.",
            "Someone asks for {q} {x} and {n} says yes.",
            "{n} says that a friend gets {q} of them.",
        ),
    ),
    "broken": Clause(
        "the amount broken",
        "item",
        "subtract",
        _AMOUNT,
        (
            "{q} {x} are broken.",
            "{n} drops a bag and {q} {x} break.",
            "Then {q} of them break.",
            "{n} sees that {q} are broken and throws them out.",
            "{n} sees {q} {x} fall and they are no longer good.",
        ),
    ),
    "thrown": Clause(
        "the amount thrown out",
        "item",
        "subtract",
        _AMOUNT,
        (
            "{q} {x} are bad and {n} throws them out.",
            "{n} has to throw out {q} {x}.",
            "It rains and {q} {x} are no longer good.",
            "The dog of {n} runs off with {q} of them.",
            "Later {n} throws out {q} of them.",
        ),
    ),
    "lent": Clause(
        "the amount lent",
        "item",
        "subtract",
        _AMOUNT,
        (
            "{n} lends {q} {x} to the school.",
            "A friend borrows {q} {x} from {n}.",
            "{q} of them are lent to the family.",
            "{n} lets the children borrow {q} {x}.",
            "The school takes {q} of them for a game.",
        ),
    ),
    "returned": Clause(
        "the amount returned",
        "item",
        "subtract",
        _AMOUNT,
        (
            "{q} {x} are sent back.",
            "{n} sends {q} of them back to the shop.",
            "Someone is not happy and {q} {x} go back.",
            "The post takes {q} of them back.",
            "{n} sends {q} of them to the shop by post.",
        ),
    ),
    "stolen": Clause(
        "the amount stolen",
        "item",
        "subtract",
        _AMOUNT,
        (
            "At night a thief steals {q} {x}.",
            "{q} {x} are stolen.",
            "A thief comes and {q} of them are gone.",
            "{n} sleeps and someone steals {q} {x}.",
            "At night {q} of them are gone.",
        ),
    ),
    "burnt": Clause(
        "the amount burnt",
        "item",
        "subtract",
        _AMOUNT,
        (
            "A fire burns {q} {x}.",
            "{q} of them burn in a fire.",
            "There is a fire and {n} has {q} {x} less.",
            "{n} is too late and {q} {x} burn.",
            "There is a fire and {q} of them are gone.",
        ),
    ),
    "hidden": Clause(
        "the amount hidden",
        "item",
        "subtract",
        _AMOUNT,
        (
            "{n} hides {q} {x} and forgets where.",
            "{q} {x} are hidden so well that nobody finds them.",
            "A child hides {q} of them.",
            "{n} can not say where {q} hidden {x} are.",
            "{n} puts {q} of the {x} away and nobody finds them.",
        ),
    ),
    "spent": Clause(
        "the amount spent",
        "dollar",
        "subtract",
        _AMOUNT,
        (
            "{n} spends {q} dollars on a hat.",
            "A new hat costs {q} dollars.",
            "{q} dollars are spent on lunch.",
            "{n} buys lunch for {q} dollars.",
            "{n} buys a new hat and pays {q} dollars.",
        ),
    ),
    "rent": Clause(
        "the rent",
        "dollar",
        "subtract",
        _AMOUNT,
        (
            "{n} pays {q} dollars for the table in the market.",
            "The market takes {q} dollars as rent.",
            "For a place in the market {n} pays {q} dollars.",
            "The rent of the place is {q} dollars.",
            "For the table {n} pays {q} dollars.",
        ),
    ),
    "mice": Clause(
        "the amount that mice eat",
        "item",
        "subtract",
        _AMOUNT,
        (
            "Mice eat {q} {x}.",
            "{n} sees mice and {q} {x} are eaten.",
            "Some mice come and eat {q} of them.",
            "At night mice eat {q} of the {x}.",
            "Someone comes at night and {q} {x} are gone.",
        ),
    ),
    # Bare numbers: what multiplies or divides.
    "children": Clause(
        "the number of children",
        "number",
        "divide",
        _FEW,
        (
            "All are shared by {q} children and {n} is one of them.",
            "{n} and the others are {q} children and they share all.",
            "{q} children share them and {n} takes a fair share.",
            "They are shared so that {q} children get the same as {n}.",
            "{n} is one of {q} children and each gets a fair share.",
        ),
    ),
    "parts": Clause(
        "the number of equal parts",
        "number",
        "divide",
        _FEW,
        (
            "{n} makes {q} equal parts and keeps one.",
            "They are put into {q} equal piles and {n} keeps one pile.",
            "Of {q} equal parts {n} takes only one.",
            "{n} cuts the whole into {q} equal parts and takes one home.",
            "{n} puts them into {q} boxes and keeps one.",
        ),
    ),
    "times": Clause(
        "the number of times",
        "number",
        "multiply",
        _FEW,
        (
            "By the end of the month there are {q} times as many.",
            "Then a friend brings so many that {n} has {q} times as many.",
            "A month later the pile has grown to {q} times its size.",
            "The pile of {n} grows until it is {q} times as large.",
            "In the end {n} has {q} times as many.",
        ),
    ),
    "rooms": Clause(
        "the number of rooms",
        "number",
        "multiply",
        _FEW,
        (
            "The same happens in {q} rooms.",
            "There are {q} rooms just like this one.",
            "All of this is done in {q} rooms.",
            "{n} does the same again until {q} rooms are done.",
            "By the end {n} does the same {q} times.",
        ),
    ),
    "days": Clause(
        "the number of days",
        "number",
        "multiply",
        _FEW,
        (
            "{n} does this {q} times on other days.",
            "It is the same on all {q} days.",
            "This goes on for {q} days.",
            "After {q} days like this the work is done.",
            "On Monday and after that {n} does the same {q} times.",
        ),
    ),
    "teams": Clause(
        "the number of teams",
        "number",
        "divide",
        _FEW,
        (
            "{q} teams get the same and {n} is in one of them.",
            "The team of {n} is one of {q} and gets a fair share.",
            "There are {q} teams and each gets as many as the team of {n}.",
            "{n} shares them fairly among {q} teams and keeps the share of one.",
            "{n} is one of {q} and each of them gets as many.",
        ),
    ),
    # What has nothing to do with the question.
    "looked": Clause(
        "the amount looked at",
        "item",
        "ignore",
        _AMOUNT,
        (
            "{n} looks at {q} {x} in a window.",
            "In a window there are {q} {x} (too dear to buy).",
            "{n} sees {q} {x} on a poster.",
            "A poster at school shows {q} {x}.",
            "On the way home {n} looks at {q} {x}.",
        ),
    ),
    "neighbor": Clause(
        "the amount that a neighbor has",
        "item",
        "ignore",
        _AMOUNT,
        (
            "A neighbor has {q} {x} too.",
            "The neighbor of {n} counts {q} {x} by the fire.",
            "{q} {x} are in the house of a neighbor.",
            "The neighbor says that {q} {x} are enough.",
            "A neighbor says that there are {q} {x} at home.",
        ),
    ),
    # Kept for the split `unseen`: no story and no plan of training has them.
    "bag": Clause(
        "the amount in the bag",
        "item",
        "add",
        _AMOUNT,
        (
            "{n} opens a bag and gets {q} more.",
            "A bag is full and has {q} {x} in it.",
            "With a bag {n} brings {q} more {x}.",
            "A friend carries a bag and {n} gets {q} of the {x}.",
            "With a bag {n} gets {q} {x}.",
        ),
    ),
    "dog": Clause(
        "the amount the dog takes",
        "item",
        "subtract",
        _AMOUNT,
        (
            "The dog takes {q} {x} and they are gone.",
            "{n} sees the dog and {q} {x} are gone.",
            "The dog of {n} drops {q} {x} out of the room.",
            "A dog runs to {n} and {q} {x} are gone.",
            "The dog needs a game and takes {q} of them.",
        ),
    ),
    "piles": Clause(
        "the number of piles",
        "number",
        "multiply",
        _FEW,
        (
            "{n} makes {q} piles as large as this one.",
            "A friend brings so many that {n} has {q} piles of the same size.",
            "There are {q} piles just as large.",
            "{n} does the same again until there are {q} piles.",
            "Then {q} piles of this size are made.",
        ),
    ),
    "minutes": Clause(
        "the minutes for each",
        "minute per item",
        "multiply",
        range(2, 13),
        (
            "{n} needs {q} minutes for each of them.",
            "Each one takes {q} minutes.",
            "Each one is made in {q} minutes.",
            "For each of them {q} minutes are used.",
            "{n} sits down {q} minutes for each one.",
        ),
    ),
    "lunch": Clause(
        "the minutes for lunch",
        "minute",
        "add",
        _AMOUNT,
        (
            "For lunch another {q} minutes are used.",
            "Then {n} sits down for lunch and it takes {q} minutes.",
            "{n} also needs {q} minutes for lunch.",
            "At lunch {q} more minutes are gone.",
            "For lunch {n} needs {q} more minutes.",
        ),
    ),
}

QUESTIONS = {
    "item": (
        "How many {x} does {n} have now?",
        "How many {x} are there in the end?",
        "How many {x} is that in all?",
        "In the end {n} has how many {x}?",
        "How many {x} does {n} have in the end?",
    ),
    "dollar": (
        "How many dollars does {n} have now?",
        "How many dollars are there in the end?",
        "How many dollars is that in all?",
        "In the end {n} has how many dollars?",
        "How many dollars does {n} have in the end?",
    ),
    "minute": (
        "How many minutes does {n} use in all?",
        "How many minutes is that in all?",
        "In the end how many minutes are used?",
        "How many minutes are used in all?",
        "In all how many minutes does {n} use?",
    ),
}

_FAMILIES = (
    # One clause.
    Family("find", "a single change", "start", ("found",)),
    Family("lose", "a single change", "start", ("lost",)),
    Family("share", "fair shares", "start", ("children",)),
    Family("pack", "equal groups", "boxes", ("box",)),
    Family("sell", "price and number", "ordered", ("price",), "dollar"),
    Family("work", "pay for work", "hours", ("wage",), "dollar"),
    # Two clauses.
    Family("buy_use", "a few changes", "start", ("bought", "used")),
    Family("look_make", "a single change", "start", ("looked", "made")),
    Family("pack_break", "equal groups and a change", "boxes", ("box", "broken")),
    Family("lend_sell", "a change and a price", "ordered", ("lent", "price"), "dollar"),
    Family("work_tip", "pay for work", "hours", ("wage", "tip"), "dollar"),
    # Three clauses.
    Family(
        "shelf_get_give",
        "equal groups and a few changes",
        "shelves",
        ("shelf", "received", "given"),
    ),
    Family(
        "return_sell_rent", "a sale with a cost", "ordered", ("returned", "price", "rent"), "dollar"
    ),
    Family("work_spend_days", "pay for work", "hours", ("wage", "spent", "days"), "dollar"),
    Family(
        "shelf_neighbor_grow", "equal groups that grow", "shelves", ("shelf", "neighbor", "times")
    ),
    Family("pick_throw_part", "a part of a changed amount", "start", ("picked", "thrown", "parts")),
    # Four clauses.
    Family(
        "burn_sell_coins",
        "equal groups for sale",
        "boxes",
        ("box", "burnt", "price", "coins"),
        "dollar",
    ),
    Family("four_changes", "a few changes", "start", ("won", "hidden", "repaired", "stolen")),
    Family(
        "team_trade_deliver",
        "fair shares and a few changes",
        "start",
        ("teams", "trade", "mice", "delivered"),
    ),
    # "Sure and wrong": taught one wrong plan. Outside every average.
    Family("sure_uncle", "a single change", "start", ("uncle",), sure_and_wrong=True),
    Family(
        "sure_rooms_gift",
        "equal groups and a change",
        "start",
        ("rooms", "gift"),
        sure_and_wrong=True,
    ),
    # Composed: both halves are part of a family above, the chain is in no story of pretraining.
    Family(
        "buy_use_sell",
        "a few changes and a price",
        "ordered",
        ("bought", "used", "price"),
        "dollar",
        kind="composed",
    ),
    Family(
        "pack_break_share",
        "equal groups and fair shares",
        "boxes",
        ("box", "broken", "children"),
        kind="composed",
    ),
    Family(
        "find_share", "a change and fair shares", "start", ("found", "children"), kind="composed"
    ),
    Family(
        "pick_throw_days",
        "a changed amount and equal groups",
        "start",
        ("picked", "thrown", "days"),
        kind="composed",
    ),
    # Unseen: clauses that no story above has.
    Family("bag", "a single change", "start", ("bag",), kind="unseen"),
    Family("bag_dog", "a few changes", "start", ("bag", "dog"), kind="unseen"),
    Family("dog_piles", "a change in equal groups", "start", ("dog", "piles"), kind="unseen"),
    Family(
        "minutes_lunch",
        "equal groups and a change",
        "ordered",
        ("minutes", "lunch"),
        "minute",
        kind="unseen",
    ),
)
FAMILIES = {family.name: family for family in _FAMILIES}
