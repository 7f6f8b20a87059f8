"""What each operand of a calculation means: a quantity, an earlier result, or a constant.

A number of an equation can fit several meanings. Each gets a cost, and the cheapest wins: cheap is
a meaning that has not been used yet, whose kind goes with the kind of the result, and whose noun is
the one that the solution writes behind the number.
"""

import re
from dataclasses import dataclass, field
from fractions import Fraction

from ..problems import Problem
from .constants import constant_name
from .equations import Equation, Number
from .nouns import is_unit, kind_of, noun_beside
from .quantities import Quantity, label
from .step_forms import TWICE


@dataclass
class Step:
    """A step in the making; an operand is a name or the index of an earlier step."""

    operation: str
    operands: list[str | int]
    described: bool
    result: str = ""
    specific: str = ""  # the result's name with the solution's own noun
    kind: str = ""
    values: tuple[Fraction, ...] = ()
    used: int = 0  # how often later steps use its result


@dataclass
class Draft:
    """A strategy in the making: the question's quantities and the steps so far."""

    problem: Problem
    quantities: list[Quantity]
    steps: list[Step] = field(default_factory=list)
    used: dict[int, int] = field(default_factory=dict)  # quantity's index -> times used
    implied: dict[Fraction, str] = field(default_factory=dict)  # numbers of the solution alone


def operand(
    draft: Draft,
    number: Number,
    operation: str,
    others: list[str | int],
    equation: Equation,
    result_kind: str,
) -> str | int:
    """The meaning of a number: a name, or the index of the step that it is the result of.

    Counts the use in the draft. `others` are the operands of this step so far, `result_kind` is the
    kind of the equation's result. Raises ValueError if nothing explains the number.
    """
    value = abs(number.value)
    noun = noun_beside(value, equation.before)
    candidates: list[tuple[float, int, str | int]] = []  # cost, index, meaning
    for index, step in enumerate(draft.steps[:-1]):
        if value in step.values or (number.percent and value * 100 in step.values):
            cost = 0.2 + 0.9 * (step.used > 0) - 0.01 * index + (index in others)
            cost -= 0.5 * bool(noun and noun in step.specific)
            cost += _misfit(step.kind, operation, result_kind, others, draft)
            candidates.append((cost, index, index))
    for index, quantity in enumerate(draft.quantities):
        for extra, name in _readings(draft, quantity, number, operation):
            cost = 0.4 + extra + 0.6 * draft.used.get(index, 0) + (name in others)
            cost -= 0.5 * bool(noun and noun in quantity.specific)
            cost += _misfit(quantity.kind, operation, result_kind, others, draft)
            if quantity.kind in ("multiple", "fraction", "percentage"):
                cost += -0.15 if operation in ("multiply", "divide") else 0.3
            elif quantity.per and operation == "multiply":
                cost -= 0.2
            candidates.append((cost, index, name))
    if value == 2 and (operation == "multiply" or (operation == "divide" and others)):
        candidates.append((1.25, -1, TWICE))
    per_cent = [other for other in others if str(other).startswith("the percentage")]
    scaled = operation in ("multiply", "divide") and value in (100, Fraction(1, 100))
    if scaled and (per_cent or _has_percentage(draft.steps[-2:-1])):
        candidates.append((-0.5, -1, constant_name(value, operation, "", "%")))
    best = min(candidates, key=lambda c: c[:2], default=(9, -1, ""))
    if best[0] >= 2.9:
        context = f"{equation.before} {equation.after} {draft.problem.question}"
        if name := constant_name(value, operation, result_kind, context):
            both = name == "the seconds in a minute" and name in others  # 60*60
            return "the minutes in an hour" if both else name
        if number.percent and value == 1:
            return "the whole"
        terms = draft.steps[-2] if len(draft.steps) > 1 else None
        if operation == "divide" and others and terms and terms.operation == "add":
            if value == len(terms.operands):
                return "the count of the added amounts"
        if not candidates:
            return _implied(draft, value, noun)
    _, index, meaning = best
    if isinstance(meaning, int):
        draft.steps[meaning].used += 1
    elif index >= 0:
        draft.used[index] = draft.used.get(index, 0) + 1
    return meaning


def _has_percentage(steps: list[Step]) -> bool:
    return any(str(o).startswith("the percentage") for step in steps for o in step.operands)


def _misfit(kind: str, operation: str, result: str, others: list[str | int], draft: Draft) -> float:
    """The extra cost of an operand whose kind does not go with the result's kind."""
    if not kind or not result or kind in ("number", "difference"):
        return 0
    if operation in ("add", "subtract"):
        return 0.6 * (kind != result)
    if others and (result in ("money", "people") or is_unit(result)):
        # Exactly one factor of an amount of money is an amount of money; the same holds for units.
        there = any(_has_kind(other, result, draft) for other in others)
        return 0.7 * (there == (kind == result)) * (operation == "multiply" or result == "money")
    return 0.4 * (kind == "money" != result and operation == "multiply")


def _has_kind(operand: str | int, kind: str, draft: Draft) -> bool:
    if isinstance(operand, int):
        return draft.steps[operand].kind == kind
    words = {"money": "money|price|cents|dollars", "people": "people|person"}.get(kind, f"{kind}s?")
    return re.search(rf"\b(?:{words})\b", operand) is not None


def _readings(
    draft: Draft, quantity: Quantity, number: Number, operation: str
) -> list[tuple[float, str]]:
    """The ways in which a number can stand for a quantity: (extra cost, name) of each."""
    value, given, kind = abs(number.value), quantity.value, quantity.kind
    name = label(quantity, draft.quantities) if given else "nothing"
    rest = f"the rest of the whole without {name}"
    found: dict[str, tuple[float, bool]] = {}  # name -> extra cost, whether the value fits
    if kind == "percentage":
        part, hundred = given / 100, 100 in (number.below, number.above)
        found[name] = -2.0 if hundred else 0, value == (part if number.percent else given)
        found[f"{name} as a part of the whole"] = 0.2, value == part and not number.percent
        found[rest] = 1.5, value in (1 - part, 100 - given)
        found[f"the whole with {name} on top"] = 1.5, value in (1 + part, 100 + given)
    elif kind == "fraction":
        half = given.denominator == 2 and operation in ("multiply", "divide")
        cost = 0.2 if operation == "divide" else 0.9
        written = number.below or number.above
        found[name] = 0, value == given
        found[rest] = 1.0, value == 1 - given
        found[TWICE] = 0, half and value == 2
        found[f"the denominator of {name}"] = cost, not half and value == quantity.below
        found[f"the numerator of {name}"] = 0.8, value == quantity.above
        found[f"the numerator of {rest}"] = 1.6, value == quantity.below - quantity.above
        if written and value:
            side = "numerator" if number.below else "denominator"
            share = value / written if number.below else written / value
            if share in (given, 1 - given):
                found = {f"the {side} of {name if share == given else rest}": (-1.5, True)}
    elif kind == "multiple":
        twice = given == 2 and operation in ("multiply", "divide")
        found[TWICE if twice else name] = 0, value == given
        found[f"{name} with the compared share itself"] = 2.0, value == given + 1
    else:
        # "one" and "a pair of" rarely take part in a calculation.
        vague = given == 1 or name == "the size of the pair"
        found[name] = 0.5 * vague, value == given
        found[f"{name} with the person in question included"] = (
            2.2,
            kind == "people" and value == given + 1,
        )
        found[f"{name} in cents"] = 1.5, kind == "money" and value == given * 100
        found[f"{name} in dollars"] = 1.5, kind == "money" and value == given / 100 != 1
        scales = [Fraction(scale) for scale in (60, 12, 7, 24, 3, 1000, 100, 16)]
        other_unit = (
            value != given
            and is_unit(kind)
            and any(value in (given * scale, given / scale) for scale in scales)
        )
        found[f"{name} in the unit needed"] = 2.6, other_unit
    return [(cost, meaning) for meaning, (cost, fits) in found.items() if fits]


def _implied(draft: Draft, value: Fraction, noun: str) -> str:
    """The name of a number that only the solution has, after the noun behind it."""
    if value == 1:
        return "a single unit"
    noun = noun or noun_beside(value, draft.problem.solution)
    name = f"{kind_of(noun)[1] if noun else 'the number'} that the problem implies"
    if value not in draft.implied:
        if name in draft.implied.values():
            name = name.replace("the ", "the other ", 1)
        if name in draft.implied.values():
            raise ValueError(f"the solution of {draft.problem.id} uses {value}, which is not given")
        draft.implied[value] = name
    return draft.implied[value]
