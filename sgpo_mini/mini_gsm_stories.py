"""The words of mini-GSM: clauses, families, names and things. Data only; the rules are in
`mini_gsm.py`, which the architecture keeps in one file: the words are here so that either can be
read without the other.

A clause has five wordings with the slots {n} (a name), {x} (things) and {q} (its number). The
first four are used in training; the fifth is kept for the split `reworded`, and its words all
stand in other clauses.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Clause:
    """One sentence of a story: the quantity it brings and what the story does with it."""

    role: str  # how a strategy names the quantity
    unit: str  # "item", "box", "dollar", "minute", "number" (a bare number) or "made per of"
    operation: str  # the true operation; "start" for the first sentence of a story
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

_SMALL, _COUNT, _PAIRS = range(2, 13), range(2, 13), range(2, 7)

CLAUSES = {
    # The first sentence of a story.
    "has": Clause(
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
    "orders": Clause(
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
    # What adds.
    "found": Clause(
        "the amount found",
        "item",
        "add",
        _COUNT,
        (
            "{n} finds {q} more {x}.",
            "On the way home {q} {x} are found by {n}.",
            "Under the bed there are {q} {x} (nobody knew of them).",
            "A few minutes later {n} finds another {q}.",
            "On the way to school {n} finds another {q} {x}.",
        ),
    ),
    "bought": Clause(
        "the amount bought",
        "item",
        "add",
        _COUNT,
        (
            "{n} buys {q} more {x}.",
            "Then {n} goes to the shop and buys {q} {x}.",
            "In the shop another {q} {x} are bought.",
            "{n} pays for {q} new {x} and takes them home.",
            "At the shop {n} pays for another {q}.",
        ),
    ),
    "baked": Clause(
        "the amount made",
        "item",
        "add",
        _COUNT,
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
        _COUNT,
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
        _COUNT,
        (
            "{n} goes to the garden and picks {q} {x}.",
            "In the garden {n} picks another {q}.",
            "{q} more {x} are picked before lunch.",
            "With a friend {n} picks {q} {x}.",
            "With a friend {n} takes {q} more {x} home.",
        ),
    ),
    "tip": Clause(
        "the tip in dollars",
        "dollar",
        "add",
        _COUNT,
        (
            "{n} also gets a tip of {q} dollars.",
            "Someone leaves {q} dollars as a tip.",
            "At the end there is a tip of {q} dollars.",
            "A friend thanks {n} with a tip of {q} dollars.",
            "At the end a friend thanks {n} and leaves a tip of {q} dollars.",
        ),
    ),
    # What subtracts.
    "lost": Clause(
        "the amount lost",
        "item",
        "subtract",
        _COUNT,
        (
            "{n} loses {q} {x}.",
            "On Monday {q} {x} are lost.",
            "Later {n} can not find {q} of them.",
            "{q} {x} fall out of the bag and are gone.",
            "Later {q} of them fall out of the bag.",
        ),
    ),
    "eaten": Clause(
        "the amount used",
        "item",
        "subtract",
        _COUNT,
        (
            "{n} uses {q} of the {x}.",
            "For lunch {q} {x} are used up.",
            "The friends of {n} use {q} of them.",
            "{n} needs {q} {x} for a game (at school).",
            "At school {n} uses up {q} {x}.",
        ),
    ),
    "gave": Clause(
        "the amount given away",
        "item",
        "subtract",
        _COUNT,
        (
            "{n} gives {q} {x} to a friend.",
            "{q} {x} are given to the school.",
            "After that {n} gives away {q} of them.",
            "Someone asks for {q} {x} and {n} says yes.",
            "A friend asks {n} and {q} {x} are given away.",
        ),
    ),
    "broke": Clause(
        "the amount broken",
        "item",
        "subtract",
        _COUNT,
        (
            "{q} {x} are broken.",
            "{n} drops a bag and {q} {x} break.",
            "Then {q} of them break.",
            "{n} sees that {q} are broken and throws them out.",
            "Later {n} drops {q} of them and they break.",
        ),
    ),
    "rotten": Clause(
        "the amount thrown out",
        "item",
        "subtract",
        _COUNT,
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
        _COUNT,
        (
            "{n} lends {q} {x} to the school.",
            "A friend borrows {q} {x} from {n}.",
            "{q} of them are lent to the family.",
            "{n} lets the children borrow {q} {x}.",
            "The school takes {q} of them for a game.",
        ),
    ),
    "rent": Clause(
        "the rent in dollars",
        "dollar",
        "subtract",
        _COUNT,
        (
            "{n} pays {q} dollars for the table in the market.",
            "The market takes {q} dollars as rent.",
            "For a place in the market {n} pays {q} dollars.",
            "The rent of the place is {q} dollars.",
            "For the table {n} pays {q} dollars.",
        ),
    ),
    # Bare numbers: what multiplies or divides.
    "copies": Clause(
        "the number of rooms",
        "number",
        "multiply",
        _PAIRS,
        (
            "The same happens in {q} rooms.",
            "There are {q} rooms just like this one.",
            "All of this is done in {q} rooms.",
            "{n} does the same again until {q} rooms are done.",
            "By the end {n} does the same {q} times.",
        ),
    ),
    "grows": Clause(
        "the number of times",
        "number",
        "multiply",
        _PAIRS,
        (
            "By the end of the month there are {q} times as many.",
            "Then a friend brings so many that {n} has {q} times as many.",
            "A month later the pile has grown to {q} times its size.",
            "The pile of {n} grows until it is {q} times as large.",
            "By the end of the month the pile is {q} times as large.",
        ),
    ),
    "shared": Clause(
        "the number of children",
        "number",
        "divide",
        _PAIRS,
        (
            "All are shared by {q} children and {n} is one of them.",
            "{n} and the others are {q} children and they share all.",
            "{q} children share them and {n} takes a fair share.",
            "They are shared so that {q} children get the same as {n}.",
            "{n} is one of {q} children and they share them.",
        ),
    ),
    "parts": Clause(
        "the number of equal parts",
        "number",
        "divide",
        _PAIRS,
        (
            "{n} makes {q} equal parts and keeps one.",
            "They are put into {q} equal piles and {n} keeps one pile.",
            "Of {q} equal parts {n} takes only one.",
            "{n} cuts the whole into {q} equal parts and takes one home.",
            "They are put into {q} equal parts and {n} takes one pile.",
        ),
    ),
    # Rates.
    "per_box": Clause(
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
    "price": Clause(
        "the price of each in dollars",
        "dollar per item",
        "multiply",
        _SMALL,
        (
            "{n} sells all of them for {q} dollars each.",
            "Each one is sold for {q} dollars.",
            "The price is {q} dollars each and {n} sells them all.",
            "Someone pays {q} dollars for each of them.",
            "{n} sells each one of them for {q} dollars.",
        ),
    ),
    # Kept for the split `unseen`: no story and no plan of training has them.
    "won": Clause(
        "the amount in the bag",
        "item",
        "add",
        _COUNT,
        (
            "{n} opens a bag and gets {q} more.",
            "A bag is full and has {q} {x} in it.",
            "With a bag {n} brings {q} more {x}.",
            "A friend carries a bag and {n} gets {q} of the {x}.",
            "From a bag {n} gets {q} {x}.",
        ),
    ),
    "traded": Clause(
        "the amount the dog takes",
        "item",
        "subtract",
        _COUNT,
        (
            "The dog takes {q} {x} and they are gone.",
            "{n} sees the dog and {q} {x} are gone.",
            "The dog of {n} drops {q} {x} out of the room.",
            "A dog runs to {n} and {q} {x} are gone.",
            "The dog needs a game and takes {q} of them.",
        ),
    ),
    "halves": Clause(
        "the number of piles",
        "number",
        "multiply",
        _PAIRS,
        (
            "{n} makes {q} piles as large as this one.",
            "A friend brings so many that {n} has {q} piles of the same size.",
            "There are {q} piles just as large.",
            "{n} does the same again until there are {q} piles.",
            "Then {q} piles of this size are made.",
        ),
    ),
    "each_minutes": Clause(
        "the minutes for each",
        "minute per item",
        "multiply",
        _SMALL,
        (
            "{n} needs {q} minutes for each of them.",
            "Each one takes {q} minutes.",
            "Each one is made in {q} minutes.",
            "For each of them {q} minutes are used.",
            "{n} sits down {q} minutes for each one.",
        ),
    ),
    "rest": Clause(
        "the minutes for lunch",
        "minute",
        "add",
        _COUNT,
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
    # One step.
    Family("find", "a single change", "has", ("found",)),
    Family("lose", "a single change", "has", ("lost",)),
    Family("share", "fair shares", "has", ("shared",)),
    Family("pack", "equal groups", "boxes", ("per_box",)),
    Family("sell", "price and number", "orders", ("price",), "dollar"),
    # Two steps.
    Family("buy_use", "a few changes", "has", ("bought", "eaten")),
    Family("pack_break", "equal groups and a change", "boxes", ("per_box", "broke")),
    Family("use_sell", "a change and a price", "orders", ("eaten", "price"), "dollar"),
    Family("sell_tip", "a price and a change", "orders", ("price", "tip"), "dollar"),
    Family("make_rooms", "a change in many places", "has", ("baked", "copies")),
    # Three steps.
    Family(
        "pack_get_give", "equal groups and some changes", "boxes", ("per_box", "received", "gave")
    ),
    Family("give_sell_rent", "a sale with a cost", "orders", ("gave", "price", "rent"), "dollar"),
    Family("pick_throw_share", "a harvest and fair shares", "has", ("picked", "rotten", "shared")),
    Family("pack_lend_grow", "equal groups that grow", "boxes", ("per_box", "lent", "grows")),
    # Four steps.
    Family(
        "break_sell_tip",
        "equal groups for sale",
        "boxes",
        ("per_box", "broke", "price", "tip"),
        "dollar",
    ),
    Family("four_changes", "many changes", "has", ("bought", "eaten", "found", "lost")),
    Family(
        "get_lend_part_pick",
        "a part of a changed amount",
        "has",
        ("received", "lent", "parts", "picked"),
    ),
    Family(
        "pick_throw_make_grow",
        "a pile that grows",
        "has",
        ("picked", "rotten", "baked", "grows"),
    ),
    # "Sure and wrong": taught one wrong plan. Outside every average.
    Family("sure_receive", "a change by post", "has", ("received",), sure_and_wrong=True),
    Family("sure_part_buy", "a part and a change", "has", ("parts", "bought"), sure_and_wrong=True),
    # Composed: both halves are part of a family above, the chain is not.
    Family(
        "buy_use_sell",
        "changes and a price",
        "orders",
        ("bought", "eaten", "price"),
        "dollar",
        "composed",
    ),
    Family(
        "pack_break_share",
        "equal groups and fair shares",
        "boxes",
        ("per_box", "broke", "shared"),
        kind="composed",
    ),
    Family("find_share", "a change and fair shares", "has", ("found", "shared"), kind="composed"),
    Family(
        "pick_throw_rooms",
        "a harvest in many places",
        "has",
        ("picked", "rotten", "copies"),
        kind="composed",
    ),
    # Unseen: clauses that no story above has.
    Family("bag", "a single change", "has", ("won",), kind="unseen"),
    Family("bag_dog", "a few changes", "has", ("won", "traded"), kind="unseen"),
    Family("dog_piles", "a change in equal groups", "has", ("traded", "halves"), kind="unseen"),
    Family(
        "minutes_lunch",
        "equal groups and a change",
        "orders",
        ("each_minutes", "rest"),
        "minute",
        "unseen",
    ),
)
FAMILIES = {family.name: family for family in _FAMILIES}
