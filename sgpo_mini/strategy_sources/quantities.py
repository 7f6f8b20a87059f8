"""The quantities that a question states, each named without numbers or people's names.

A quantity has a `general` name, the same in every problem with such a quantity ("the price of
each"), and a `specific` name with the question's own noun ("the price of each record"). `label`
picks the general name if only one quantity of the question has it, else the specific name if that
is unique, else the specific name with its place in the question ("... named first").
"""

import re
from dataclasses import dataclass, replace
from fractions import Fraction

from .nouns import PEOPLE, is_noun, is_unit, kind_of, noun_phrase, of_noun, plural
from .number_words import NUMBER, as_written, number_value


@dataclass(frozen=True)
class Quantity:
    """A number of the question: its value, its position in the text and its two names.

    `kind` is what it counts: money, people, items, age, percentage, fraction, multiple, difference
    or a unit of time or measure. `per` is the unit of a rate ("hour", "each") or "". `above` and
    `below` are a fraction's numerator and denominator as written: 4 and 6 for "four sixths".
    """

    value: Fraction
    position: int
    kind: str
    general: str
    specific: str
    per: str = ""
    above: int = 0
    below: int = 0


# A strategy may count with relation words only (`strategies.RELATION_WORDS`), up to "third".
_ORDERS = ["first", "second", "third"]
_ORDERS += ["next after the third", "second after the third", "third after the third"]
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
    """The quantities of a question in order; repeats of the same value and name are dropped."""
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
    """The shortest name that distinguishes a quantity from the question's others.

    Raises ValueError if there is none, because too many quantities share the specific name.
    """
    same = [q for q in quantities if q.general == quantity.general]
    if len(same) == 1:
        return quantity.general
    alike = [q for q in same if q.specific == quantity.specific]
    if len(alike) == 1 and quantity.specific != quantity.general:
        return quantity.specific
    # "The amount of money named last" is the last of all amounts, also of those with other names.
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


def _described(
    question: str, match: re.Match[str], value: Fraction, before: Quantity | None
) -> Quantity:
    """The quantity that a number states; it may share the noun of the one `before` it."""
    position, word = match.start(), match[0].lower()
    after = question[match.end() :]
    following = re.match(r"[^.;?!]*", after)[0]

    def made(kind: str, general: str, specific: str = "") -> Quantity:
        return Quantity(value, position, kind, general, specific or general)

    if percent := re.match(r"\s*(?:%|per ?cent\b)", after):
        return made(
            "percentage", "the percentage", f"the percentage{of_noun(after[percent.end() :])}"
        )
    if match["above"] or match["parts"] or word in ("half", "halves"):
        of = of_noun(re.sub(r"^\s*(?:of\b)?", " of", after, count=1))
        above, below = as_written(match, value)
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
    noun = plural(noun) if value == 1 else noun
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
    """The quantity, as a rate if the words around it say so: "an hour", "each", "every box has"."""
    before = question[: quantity.position]
    clause = re.split(r"[.;?!,] ", before)[-1]
    unit = ""
    if match := _PER.match(rest):
        unit = match["unit"] or ""
    elif re.match(r"\s*apiece\b", rest):
        pass
    elif match := _EACH_BEFORE.search(clause):
        unit = match["noun"]
        if not is_noun(unit) or re.search(r"(?:ed|en|ing)$", unit):  # "they each received"
            return quantity
    elif match := _ARTICLE.match(re.split(r"[.;?!] ", before)[-1]):
        unit = match["noun"]
        if not is_noun(unit) or re.search(r"(?:er|or|ist|ian|man|lady)$", unit):  # "A farmer has"
            return quantity
    else:
        return quantity
    unit = unit if is_noun(unit) else ""
    general, specific = quantity.general, quantity.specific
    if unit and general.endswith(f"{unit}s"):  # "the days of each day"
        return quantity
    if is_unit(unit):
        per = f"per {_SINGULARS.get(unit, unit.removesuffix('s'))}"
        general, specific = f"{general} {per}", f"{specific} {per}"
    elif PEOPLE.match(unit):
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
    """What an amount of money is for, by the words next to it; "" if they don't say."""
    paid = r"(?:costs?|costing|for|at|is|was|were|are|of|priced at|worth)(?: only| just| about)?$"
    if (match := re.search(rf"\b([a-z]+) {paid}", before)) and is_noun(match[1]):
        return f"the price of the {match[1]}"
    if noun := noun_phrase(after)[0]:
        return f"the amount of the {noun}"
    if match := re.match(r"\s*(?:on|for|in|as) (?:an? |the |his |her |their |some |new )*", after):
        if noun := noun_phrase(after[match.end() :])[0]:
            return f"the money for the {noun}"
    words = re.split(r"[.;?!,] ", before)[-1]
    return next((name for verb, name in _OF_MONEY if re.search(verb, words)), "")
