"""The nouns behind a text's numbers, and what they count: money, people, a unit or other items."""

import re
from fractions import Fraction

from .number_words import NUMBER, ORDINALS, PARTS, number_value

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
PEOPLE = re.compile(
    r"(people|person|friend|child|children|kid|student|girl|boy|men|man|women|woman|guest|teacher|"
    r"worker|employee|brother|sister|sibling|player|member|customer|passenger|adult|parent|baby|"
    r"babies|runner|visitor|resident|cousin|classmate|neighbor|driver|participant|voter|patient|"
    r"soldier|senior|grandchild|grandchildren|daughter|son)s?$"
)
_MONEY = re.compile(r"(dollar|cent|buck|euro|pound sterling|penny|pennie|usd)s?$")


def noun_phrase(text: str) -> tuple[str, str]:
    """The noun phrase at the start of a text ("" if there is none), and the text behind it."""
    words: list[str] = []
    position = 0
    for match in re.finditer(r"[\s-]*([A-Za-z]+(?:'[a-z]+)?)", text):
        word = match[1]
        if match.start() != position or not is_noun(word.lower()):
            break
        position = match.end()
        words.append(word)
        if (is_unit(word) and word != "second") or _is_plural(word.lower()) or len(words) == 3:
            break
    while len(words) > 1 and not (_is_plural(words[-1].lower()) or is_unit(words[-1])):
        position -= len(words.pop()) + 1  # without a plural, the first word is the likeliest noun
    kept = [word for word in words if word.islower() and "'" not in word]  # drops people's names
    return " ".join(kept), text[position:]


def _is_plural(word: str) -> bool:
    irregular = word in ("people", "children", "men", "women", "feet", "mice", "fish", "sheep")
    return irregular or (word.endswith("s") and not _SINGULAR_S.search(word))


def plural(noun: str) -> str:
    """The plural of a noun phrase; plurals and words for people stay as they are."""
    if not noun or _is_plural(noun) or PEOPLE.match(noun.split(" ")[-1]):
        return noun
    return noun[:-1] + "ies" if re.search(r"[^aeiou]y$", noun) else f"{noun}s"


def kind_of(noun: str) -> tuple[str, str]:
    """What a noun phrase counts: its kind and general name ("people", "the number of people")."""
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
        units = stem if stem in ("feet", "km", "cm", "mm", "kg", "ml", "mph") else f"{stem}s"
        return units, f"the number of {unit.get(stem, units)}"
    if PEOPLE.match(head):
        return "people", "the number of people"
    return "items", "the number of items"


def is_noun(noun: str) -> bool:
    """Whether a word can be a quantity's noun: not a function word, number or single letter."""
    part = noun.removesuffix("s").removesuffix("th") + "th"
    return (
        len(noun) > 1
        and noun not in _STOP
        and not NUMBER.fullmatch(noun)
        and part not in ORDINALS
        and noun not in PARTS
    )


def of_noun(text: str) -> str:
    """The words " of the NOUN" if a text starts with "of" and a noun phrase, else ""."""
    match = re.match(r"\s*of (?:the |his |her |their |its |all |these |those |an? )*", text)
    noun = noun_phrase(text[match.end() :])[0] if match else ""
    return f" of the {noun}" if noun else ""


def is_unit(kind: str) -> bool:
    """Whether a kind is a unit of time or measure, which a solution may convert to another."""
    return bool(_TIMES.match(kind) or _MEASURES.match(kind))


def is_time(kind: str) -> bool:
    """Whether a kind is a unit of time."""
    return bool(_TIMES.match(kind))


def noun_beside(value: Fraction, text: str) -> str:
    """The noun behind a number in a text ("tbs" in "16 tbs - 4 tbs"), or ""."""
    for match in NUMBER.finditer(text):
        if number_value(match) == value and (noun := noun_phrase(text[match.end() :])[0]):
            return noun
    return ""
