"""The quantities that a question states, each named in words that hold no number and no person.

A quantity has a `general` name, the same in every problem with such a quantity ("the price of
each"), and a `specific` one with the question's own noun ("the price of each record"). `label`
uses the general one where it is the only of its kind, the specific one where that tells it from
the others, and else says which is meant by the order in which the question names them.
"""

import re
from dataclasses import dataclass, replace
from fractions import Fraction


@dataclass(frozen=True)
class Quantity:
    """A number of the question: value, place, and its two names; `kind` is what it counts.

    `kind` is money, time, people, items, age, percentage, fraction, multiple, difference or a unit
    of measure; `per` is the rate's unit ("hour", "each") or "".
    A fraction as it is written, "four sixths", has `above` 4 and `below` 6.
    """

    value: Fraction
    position: int
    kind: str
    general: str
    specific: str
    per: str = ""
    above: int = 0
    below: int = 0


_ONES = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen "
    "fifteen sixteen seventeen eighteen nineteen"
).split()
_TENS = "twenty thirty forty fifty sixty seventy eighty ninety".split()
_WORDS = {word: Fraction(value) for value, word in enumerate(_ONES)}
_WORDS |= {word: Fraction(10 * value) for value, word in enumerate(_TENS, start=2)}
_WORDS |= {"twice": Fraction(2), "double": Fraction(2), "doubled": Fraction(2)}
_WORDS |= {"thrice": Fraction(3), "triple": Fraction(3), "tripled": Fraction(3)}
_WORDS |= {"quadruple": Fraction(4), "quadruples": Fraction(4), "doubles": Fraction(2)}
_WORDS |= {"triples": Fraction(3), "half": Fraction(1, 2), "halves": Fraction(1, 2)}
_WORDS |= {"both": Fraction(2)}
_SCALES = {"hundred": 100, "thousand": 1000, "million": 10**6, "billion": 10**9, "dozen": 12}
_PARTS = {"third": 3, "fourth": 4, "quarter": 4, "fifth": 5, "sixth": 6, "seventh": 7, "eighth": 8}
_PARTS |= {"ninth": 9, "tenth": 10, "twelfth": 12, "twentieth": 20}

# Relation words are all that may count here, and they end with "third".
_ORDERS = ["first", "second", "third"]
_ORDERS += ["next after the third", "second after the third", "third after the third"]

_LATER = {f"{word}th" for word in [*_ONES, *_SCALES, "fif", "nin", "eigh", "twelf"]}

_ONE_WORD = "|".join(sorted([*_WORDS, *_SCALES], key=len, reverse=True))
_PART = "|".join(_PARTS)
NUMBER = re.compile(
    r"(?P<above>\d+) ?/ ?(?P<below>\d+)"
    r"|(?P<digits>\d+(?:,\d{3})+(?:\.\d+)?|\d*\.\d+|\d+)"
    rf"|\b(?P<parts>(?:(?:{'|'.join(_ONES)})|an?)[ -](?:{_PART})s?|(?<!every )(?:{_PART})s? of)\b"
    rf"|\b(?P<words>(?:{_ONE_WORD})(?:[ -](?:and )?(?:{_ONE_WORD}))*)s?\b",
    re.IGNORECASE,
)

# Where a noun phrase ends: function words, and the verbs that follow a number most often.
_STOP = frozenset(
    "x a an the and or but of in on at to for from with by as than then if when while who "
    "which that is are was were be been being has have had do does did will would can could "
    "may might must should per each every all any some many much more most less least fewer "
    "another other others so it its he she they them his her their him you your i my we our "
    "us this these those there here not no only just also still too very after before during "
    "until since because into onto out off up down over under about around between through "
    "together total apiece how what where why times time once twice half both left remaining "
    "respectively however later ago extra additional cost costs sells sell sold buys buy "
    "bought gives give gave gets get got makes make made takes take took eats eat ate uses "
    "use used needs need needed wants want goes go went comes come came works work worked "
    "earns earn earned pays pay paid spends spend spent weighs weigh lives live contains "
    "contain holds hold plus minus equals equal long tall high wide deep old older younger "
    "taller longer shorter heavier larger bigger smaller thick worth already instead starting "
    "except including like well away back apart".split()
)
_SINGULAR_S = re.compile(r"(?:ss|us|is)$")
_TIMES = re.compile(r"(second|minute|hour|day|night|week|weekend|month|year|decade)s?$")
_MEASURES = re.compile(
    r"(ft|mile|kilometer|km|meter|centimeter|cm|millimeter|mm|foot|feet|inch|inche|yard|pound|lb|"
    r"ounce|oz|gram|kilogram|kg|ton|gallon|liter|litre|milliliter|ml|cup|quart|pint|tablespoon|teaspoon|"
    r"degree|acre|mph|calorie|percent|watt|point)s?$"
)
_PEOPLE = re.compile(
    r"(people|person|friend|child|children|kid|student|girl|boy|men|man|women|woman|guest|teacher|"
    r"worker|employee|brother|sister|sibling|player|member|customer|passenger|adult|parent|baby|"
    r"babies|runner|visitor|resident|cousin|classmate|neighbor|driver|participant|voter|patient|"
    r"soldier|senior|grandchild|grandchildren|daughter|son)s?$"
)
_MONEY = re.compile(r"(dollar|cent|buck|euro|pound sterling|penny|pennie|usd)s?$")
_SINGULARS = {"feet": "foot", "inches": "inch", "people": "person", "children": "child"}
_COMPARED = re.compile(
    r"(?:[^\d.,;?!]{0,40}?)\b(?:more|fewer|less|older|younger|taller|shorter|longer|heavier|lighter|"
    r"higher|lower|larger|bigger|smaller|faster|slower|further|farther|cheaper|greater)\b"
    r"[^.;?!]{0,50}\bthan\b|^[^\d.,;?!]{0,25}\b(?:older|younger|taller|shorter)\b",
    re.IGNORECASE,
)
_PER = re.compile(
    r"\s*(?:/|\b(?:per|an?|every|each|for (?:each|every|an?|one)"
    r"|(?:in|on|from|to|with) (?:each|every))\b)[ -]?(?P<unit>[a-z]+)?"
)
_EACH_BEFORE = re.compile(
    r"\b(?:each|every)\s+(?:of\s+(?:the|his|her|their)\s+)?(?P<noun>[a-z]+)", re.IGNORECASE
)
_ARTICLE = re.compile(
    r"^\W*(?:an?|one)\s+(?P<noun>[a-z]+)(?: [a-z]+)?\s+"
    r"(?:costs?|sells?|has|holds?|contains?|weighs?|requires?)\b",
    re.IGNORECASE,
)
_TIMES_AS = re.compile(
    r"\s*(?:times?|x)\s+(?:as|more|the|that|what|larger|bigger|older|longer|her|his|their|less|"
    r"faster|higher|taller|heavier|greater|smaller|fewer|this|its)\b"
)
_BEFORE_A_NOUN = re.compile(
    r"^[\s-]*(?:more|fewer|less|extra|additional|other|different|new|full|"
    r"of (?:the|his|her|their|these|those|its))\b"
)
_WITHOUT_UNIT = ("percentage", "fraction", "multiple", "age", "clock", "date", "difference")


def question_quantities(question: str) -> list[Quantity]:
    """The quantities of a question in the order of their mention, equal ones once."""
    found: list[Quantity] = []
    for match in NUMBER.finditer(question):
        value = number_value(match)
        if value is None:
            continue
        quantity = _described(question, match, value, found[-1] if found else None)
        if all((q.value, q.specific) != (quantity.value, quantity.specific) for q in found):
            found.append(quantity)
    return found


def label(quantity: Quantity, quantities: list[Quantity]) -> str:
    """The shortest name that tells a quantity from the question's others.

    Raises ValueError where no name does: more than nine have the same.
    """
    same = [q for q in quantities if q.general == quantity.general]
    if len(same) == 1:
        return quantity.general
    alike = [q for q in same if q.specific == quantity.specific]
    if len(alike) == 1 and quantity.specific != quantity.general:
        return quantity.specific
    # "The amount of money named last" is the last of all amounts, whatever else tells them apart.
    alike = same if quantity.specific == quantity.general else alike
    place = alike.index(quantity)
    back = len(alike) - place
    if back <= 3 and (place > 2 or back == 1 and place):
        order = ("last", "second-last", "third-last")[back - 1]
    elif place < len(_ORDERS):
        order = _ORDERS[place]
    else:
        raise ValueError(f"{len(alike)} quantities of the question are all {quantity.specific!r}")
    return f"{quantity.specific} named {order}"


def number_value(match: re.Match[str]) -> Fraction | None:
    if match["above"]:
        below = int(match["below"])
        return Fraction(int(match["above"]), below) if below else None
    if match["digits"]:
        return Fraction(match["digits"].replace(",", ""))
    if match["parts"]:
        first, _, part = match["parts"].lower().replace("-", " ").rpartition(" ")
        if part == "of":
            first, part = "a", first
        return _WORDS.get(first, Fraction(1)) / _PARTS[part.removesuffix("s")]
    total = current = Fraction(0)
    for word in re.split(r"[ -]", match["words"].lower()):
        if word in _SCALES:
            current = (current or 1) * _SCALES[word]
            if word not in ("hundred", "dozen"):
                total, current = total + current, Fraction(0)
        else:
            current += _WORDS.get(word, 0)
    return total + current


def _as_written(match: re.Match[str], value: Fraction) -> tuple[int, int]:
    """A fraction's parts as the question has them, not in lowest terms."""
    if match["above"]:
        return int(match["above"]), int(match["below"])
    parts = re.split(r"[ -]", (match["parts"] or "").lower())
    below = next((_PARTS[p.removesuffix("s")] for p in parts if p.removesuffix("s") in _PARTS), 0)
    return (int(value * below), below) if below else (value.numerator, value.denominator)


def noun_phrase(text: str) -> tuple[str, str]:
    """The noun that a text starts with, with its adjectives, or ""; and what follows it."""
    words: list[str] = []
    position = 0
    for match in re.finditer(r"[\s-]*([A-Za-z]+(?:'[a-z]+)?)", text):
        word = match[1]
        if match.start() != position or not _fits(word.lower()):
            break
        position = match.end()
        words.append(word)
        if (is_unit(word) and word != "second") or _is_plural(word.lower()) or len(words) == 3:
            break
    while len(words) > 1 and not (_is_plural(words[-1].lower()) or is_unit(words[-1])):
        position -= len(words.pop()) + 1  # no plural within reach: the first word is the likeliest
    kept = [word for word in words if word.islower() and "'" not in word]  # no person's name
    return " ".join(kept), text[position:]


def _is_plural(word: str) -> bool:
    irregular = word in ("people", "children", "men", "women", "feet", "mice", "fish", "sheep")
    return irregular or (word.endswith("s") and not _SINGULAR_S.search(word))


def _plural(noun: str) -> str:
    if not noun or _is_plural(noun) or _PEOPLE.match(noun.split(" ")[-1]):
        return noun
    return noun[:-1] + "ies" if re.search(r"[^aeiou]y$", noun) else f"{noun}s"


def kind_of(noun: str) -> tuple[str, str]:
    """(kind, general name) of what a noun phrase counts: ("people", "the number of people")."""
    head = noun.split(" ")[-1]
    if _MONEY.match(head):
        return "money", "the amount of money"
    if _TIMES.match(head):
        return _TIMES.match(head)[1], f"the number of {_TIMES.match(head)[1]}s"
    if _MEASURES.match(head):
        unit = {
            "foot": "feet",
            "inche": "inches",
            "inch": "inches",
            "lb": "pounds",
            "ft": "feet",
            "oz": "ounces",
        }
        stem = _MEASURES.match(head)[1]
        plural = stem if stem in ("feet", "km", "cm", "mm", "kg", "ml", "mph") else f"{stem}s"
        return plural, f"the number of {unit.get(stem, plural)}"
    if _PEOPLE.match(head):
        return "people", "the number of people"
    return "items", "the number of items"


def _described(
    question: str, match: re.Match[str], value: Fraction, before: Quantity | None
) -> Quantity:
    """The quantity that a number names; `before` is the one before it, whose noun it may share."""
    position, word = match.start(), match[0].lower()
    after = question[match.end() :]
    following = re.match(r"[^.;?!]*", after)[0]

    def made(kind: str, general: str, specific: str = "") -> Quantity:
        return Quantity(value, position, kind, general, specific or general)

    if percent := re.match(r"\s*(?:%|per ?cent\b)", after):
        return made("percentage", "the percentage", f"the percentage{_of(after[percent.end() :])}")
    if match["above"] or match["parts"] or word in ("half", "halves"):
        of = _of(re.sub(r"^\s*(?:of\b)?", " of", after, count=1))
        above, below = _as_written(match, value)
        fraction = made("fraction", "the fraction", f"the fraction{of}")
        return replace(fraction, above=above, below=below)
    if re.match(r"twice|thrice|double|triple|quadruple", word) or _TIMES_AS.match(after):
        return made("multiple", "the stated multiple")
    if re.match(r"\s*-?years?[- ]old|\s*years of age", after):
        return made("age", "the age")
    if re.match(r"\s*(?::\d\d|[ap]\.?m\b|o'clock)", after, re.IGNORECASE):
        return made("clock", "the clock time")
    if re.match(r"(?:st|nd|rd|th)\b", after):
        return made("date", "the number in the order")
    if word == "both":
        return made("number", "the size of the pair")
    if times := re.match(r"\s*times?\b", after):
        return _rated(made("times", "the number of times"), after[times.end() :], question)
    counted = _BEFORE_A_NOUN.sub("", after)
    noun, rest = noun_phrase(counted)
    noun = _plural(noun) if value == 1 else noun
    money = question[:position].rstrip().endswith("$")
    if _COMPARED.match(following):
        of = "money" if money else noun
        specific = f"the stated difference in {of}" if of else ""
        return made("difference", "the stated difference", specific)
    if money:
        own = _money(question[:position].rstrip(" $"), following)
        return _rated(made("money", "the amount of money", own), after, question)
    if noun:
        kind, general = kind_of(noun)
        specific = f"the number of {noun}" if kind in ("items", "people") else ""
        return _rated(made(kind, general, specific), rest, question)
    if before and before.kind not in _WITHOUT_UNIT and rest == counted:
        shared = replace(before, value=value, position=position)
        return shared if shared.per else _rated(shared, after, question)
    return made("number", "the number")


def _rated(quantity: Quantity, rest: str, question: str) -> Quantity:
    """The quantity as a rate, where its words say per what: "an hour", "each", "every box has"."""
    before = question[: quantity.position]
    clause = re.split(r"[.;?!,] ", before)[-1]
    unit = ""
    if match := _PER.match(rest):
        unit = match["unit"] or ""
    elif re.match(r"\s*apiece\b", rest):
        pass
    elif match := _EACH_BEFORE.search(clause):
        unit = match["noun"]
        if not _fits(unit) or re.search(r"(?:ed|en|ing)$", unit):  # "they each received"
            return quantity
    elif match := _ARTICLE.match(re.split(r"[.;?!] ", before)[-1]):
        unit = match["noun"]
        if not _fits(unit) or re.search(r"(?:er|or|ist|ian|man|lady)$", unit):  # "A farmer has"
            return quantity
    else:
        return quantity
    unit = unit if _fits(unit) else ""
    general, specific = quantity.general, quantity.specific
    if unit and general.endswith(f"{unit}s"):  # "the days of each day"
        return quantity
    if is_unit(unit):
        per = f"per {_SINGULARS.get(unit, unit.removesuffix('s'))}"
        general, specific = f"{general} {per}", f"{specific} {per}"
    elif _PEOPLE.match(unit):
        general, specific = f"{general} per person", f"{specific} per {_SINGULARS.get(unit, unit)}"
    elif quantity.kind == "money":
        general = "the price of each"
        specific = f"{general} {unit}".rstrip()
    else:
        general = f"{general} in each group"
        specific = f"{specific} in each {unit or 'group'}"
    return replace(quantity, general=general, specific=specific, per=unit or "each")


_OF_MONEY = [
    (r"\b(?:saved|saves|savings)\b", "the money saved up"),
    (r"\b(?:earns?|earned|makes?|made|receives?|received|gets?|got)\b", "the money received"),
    (r"\b(?:spends?|spent|pays?|paid|costs?)\b", "the money spent"),
    (r"\b(?:gives?|gave|given|lends?|lent|donated?s?)\b", "the money given"),
    (r"\b(?:has|had|have|with)\b", "the money at hand"),
]


def _money(before: str, after: str) -> str:
    """What an amount of money is for, by the words next to it; "" where they don't tell."""
    paid = r"(?:costs?|costing|for|at|is|was|were|are|of|priced at|worth)(?: only| just| about)?$"
    if (match := re.search(rf"\b([a-z]+) {paid}", before)) and _fits(match[1]):
        return f"the price of the {match[1]}"
    if noun := noun_phrase(after)[0]:
        return f"the amount of the {noun}"
    if match := re.match(r"\s*(?:on|for|in|as) (?:an? |the |his |her |their |some |new )*", after):
        if noun := noun_phrase(after[match.end() :])[0]:
            return f"the money for the {noun}"
    words = re.split(r"[.;?!,] ", before)[-1]
    return next((name for verb, name in _OF_MONEY if re.search(verb, words)), "")


def _fits(noun: str) -> bool:
    """Whether a word can be a quantity's noun: no function word, no number, no single letter."""
    part = noun.removesuffix("s").removesuffix("th") + "th"
    return (
        len(noun) > 1
        and noun not in _STOP
        and not NUMBER.fullmatch(noun)
        and part not in _LATER
        and noun not in _PARTS
    )


def _of(text: str) -> str:
    match = re.match(r"\s*of (?:the |his |her |their |its |all |these |those |an? )*", text)
    noun = noun_phrase(text[match.end() :])[0] if match else ""
    return f" of the {noun}" if noun else ""


def is_unit(kind: str) -> bool:
    """Whether a kind is a unit of time or measure, which a solution may convert."""
    return bool(_TIMES.match(kind) or _MEASURES.match(kind))


def is_time(kind: str) -> bool:
    """Whether a kind is a unit of time."""
    return bool(_TIMES.match(kind))


def noun_beside(value: Fraction, text: str) -> str:
    """The noun that a text puts behind a number: "tbs" in "16 tbs - 4 tbs"; "" where none."""
    for match in NUMBER.finditer(text):
        if number_value(match) == value and (noun := noun_phrase(text[match.end() :])[0]):
            return noun
    return ""
