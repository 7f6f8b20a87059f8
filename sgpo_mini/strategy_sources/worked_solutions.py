"""Strategies from worked solutions, with no model: what GSM8K's calculation notes say in words.

`equations` reads the operations, `quantities` names the numbers of the question, `step_forms`
writes and reads the steps. Here each operand gets its meaning: a quantity of the question, the
result of an earlier step, or a constant such as the minutes in an hour. Where several fit, the
likeliest is taken: what is not used yet, what goes with the result's kind and with the noun that
the solution puts behind the number.
"""

import re
from dataclasses import dataclass, field
from fractions import Fraction

from ..problems import Problem
from ..strategies import Strategy, leaks
from .constants import constant_name
from .equations import Equation, Number, read_equations
from .quantities import (
    Quantity,
    is_time,
    is_unit,
    kind_of,
    label,
    noun_beside,
    noun_phrase,
    question_quantities,
)
from .step_forms import RESULTS, TWICE, read_operations, read_steps, read_structure, write_step
from .subquestions import require_short, strategy_from_subquestions

__all__ = [
    "read_operations",
    "read_steps",
    "read_structure",
    "strategy_from_solution",
    "strategy_from_subquestions",
]


@dataclass
class _Step:
    """A step while it is made; an operand is a name, or the number of an earlier step."""

    operation: str
    operands: list[str | int]
    described: bool
    result: str = ""
    specific: str = ""  # the result's name with the solution's own noun
    kind: str = ""
    values: tuple[Fraction, ...] = ()
    used: int = 0


@dataclass
class _Draft:
    problem: Problem
    quantities: list[Quantity]
    steps: list[_Step] = field(default_factory=list)
    used: dict[int, int] = field(default_factory=dict)  # how often by the quantity's index
    implied: dict[Fraction, str] = field(default_factory=dict)


def strategy_from_solution(problem: Problem) -> Strategy:
    """The strategy that a worked solution follows: its operations on described quantities.

    Reads GSM8K's notes `<<48/2=24>>` and equations written out, as `read_equations` says; a
    calculation without a note becomes a step "Take R as the sum of ...". Raises ValueError with the
    reason where the solution can't be read or the strategy would give something away.
    """
    require_short(problem)
    draft = _Draft(problem, question_quantities(problem.question))
    equations = read_equations(problem)
    any_noted = any(equation.noted for equation in equations)
    for equation in equations:  # where nothing is noted, what is written out is the plan itself
        _add_steps(draft, equation, described=any_noted and not equation.noted)
    names = _result_names(draft)
    places = {label(q, draft.quantities): q.position for q in draft.quantities if q.value}
    steps = []
    for step, name in zip(draft.steps, names, strict=True):
        operands = step.operands
        if step.operation in ("add", "multiply"):  # one order, so that equal plans read the same
            operands = sorted(operands, key=lambda o, s=step: _rank(o, s.operation, places))
        operands = [names[o] if isinstance(o, int) else o for o in operands]
        steps.append(write_step(step.operation, operands, name, step.described))
    strategy = Strategy(_problem_type(draft), _approach(draft), tuple(steps))
    if found := leaks(strategy, problem):
        raise ValueError(f"the strategy of {problem.id} would give {', '.join(found)} away")
    return strategy


def _add_steps(draft: _Draft, equation: Equation, described: bool) -> None:
    """The equation's steps; a chain such as a + b + c becomes one step."""
    operations = equation.operations
    name, kind, specific = _result(equation, operations[-1].name)
    step_of: dict[int, int] = {}  # the equation's operation -> its step
    for index, operation in enumerate(operations):
        chained = (
            operation.name != "divide"
            and index > 0
            and operation.left == index - 1
            and operations[index - 1].name == operation.name
            and TWICE not in draft.steps[-1].operands
        )
        if not chained:
            draft.steps.append(_Step(operation.name, [], described))
        step = draft.steps[-1]
        for side in (operation.right,) if chained else (operation.left, operation.right):
            if isinstance(side, int):
                step.operands.append(step_of[side])
            else:
                meaning = _operand(draft, side, operation.name, step.operands, equation, kind)
                step.operands.append(meaning)
        if step.operation == "multiply" and step.operands[0] == TWICE:
            step.operands.append(step.operands.pop(0))
        step.result = step.specific = f"the {RESULTS[operation.name]}"
        step_of[index] = len(draft.steps) - 1
    step.result, step.kind, step.specific = name, kind, specific
    step.values = (equation.value, equation.exact)


def _operand(
    draft: _Draft,
    number: Number,
    operation: str,
    others: list[str | int],
    equation: Equation,
    result_kind: str,
) -> str | int:
    """What a number means: a name, or the step that it is the result of."""
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


def _has_percentage(steps: list[_Step]) -> bool:
    return any(str(o).startswith("the percentage") for step in steps for o in step.operands)


def _misfit(
    kind: str, operation: str, result: str, others: list[str | int], draft: _Draft
) -> float:
    """The cost of an operand whose kind does not go with the result's."""
    if not kind or not result or kind in ("number", "difference"):
        return 0
    if operation in ("add", "subtract"):
        return 0.6 * (kind != result)
    if others and (result in ("money", "people") or is_unit(result)):
        # One factor of an amount of money is an amount of money, and one only; so with hours.
        there = any(_has_kind(other, result, draft) for other in others)
        return 0.7 * (there == (kind == result)) * (operation == "multiply" or result == "money")
    return 0.4 * (kind == "money" != result and operation == "multiply")


def _has_kind(operand: str | int, kind: str, draft: _Draft) -> bool:
    if isinstance(operand, int):
        return draft.steps[operand].kind == kind
    words = {"money": "money|price|cents|dollars", "people": "people|person"}.get(kind, f"{kind}s?")
    return re.search(rf"\b(?:{words})\b", operand) is not None


def _readings(
    draft: _Draft, quantity: Quantity, number: Number, operation: str
) -> list[tuple[float, str]]:
    """The ways in which a number may stand for a quantity: (cost, what it is then)."""
    value, given, kind = abs(number.value), quantity.value, quantity.kind
    name = label(quantity, draft.quantities) if given else "nothing"
    rest = f"the rest of the whole without {name}"
    found: dict[str, tuple[float, bool]] = {}  # name -> cost, whether it fits
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
        vague = (
            given == 1 or name == "the size of the pair"
        )  # "one" and "a pair of" are seldom meant
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


def _implied(draft: _Draft, value: Fraction, noun: str) -> str:
    """A number that the solution brings along, named by the noun that it puts behind it."""
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


def _rank(operand: str | int, operation: str, places: dict[str, int]) -> tuple[float, int]:
    """Where an operand of a sum or product stands: counts before rates, results after givens."""
    place = operand if isinstance(operand, int) else places.get(operand, 10**9)
    if isinstance(operand, int) or operation == "add":
        return 0.5 * isinstance(operand, int), place
    if operand == TWICE:
        return 9, place
    for rank, words in enumerate(["each|per", "multiple", "per cent|percentage|fraction"], start=1):
        if re.search(rf"\b(?:{words})\b", operand):
            return rank, place
    return (0 if operand in places else 5), place


# What a result is called, by the words of the solution's sentence, most telling first: the kind
# ("*": any) and the operations it goes with, the words, the name ({}: what is counted).
_TOTAL = r"\b(?:total|altogether|in all|combined|together)\b"
_SPENT = r"\b(?:spen[dt]\w*|costs?|pa(?:y|ys|id|ying)|prices?|priced|bill|expenses?)\b"
_EARNED = r"\b(?:earn\w*|income|salary|revenue|wages?|sales|made|makes?|making|raised?|sold)\b"
_SENSES = [
    ("money", "", r"\bprofits?\b", "the profit"),
    ("money", "", r"\bdiscount", "the discount"),
    ("money", "", r"\btax(?:es)?\b", "the tax"),
    ("money", "", r"\btip(?:s|ped)?\b", "the tip"),
    ("money", "", r"\bcommission", "the commission"),
    ("money", "", r"\binterest\b", "the interest"),
    ("money", "subtract", r"\b(?:left|remain\w*|still)\b", "the money left"),
    ("money", "subtract", r"\bchange\b", "the change"),
    ("money", "subtract", r"\b(?:more|less|difference|cheaper)\b", "the difference in money"),
    ("money", "", r"\bsav(?:e|es|ed|ing|ings)\b", "the money saved"),
    ("money", "add multiply", rf"{_TOTAL}.*{_SPENT}|{_SPENT}.*{_TOTAL}", "the total cost"),
    ("money", "add multiply", rf"{_TOTAL}.*{_EARNED}|{_EARNED}.*{_TOTAL}", "the total earned"),
    ("money", "", _SPENT, "the cost"),
    ("money", "", _EARNED, "the money earned"),
    ("money", "add multiply", _TOTAL, "the total money"),
    ("age", "", "", "the age"),
    ("*", "subtract", r"\b(?:left|remain\w*|still)\b", "the {} left"),
    ("*", "subtract", r"\b(?:more|fewer|less|difference|\w+er than)\b", "the difference in the {}"),
    ("*", "add multiply", _TOTAL, "the total {}"),
    ("*", "divide", r"\b(?:average|mean)\b", "the average {}"),
    ("*", "", r"\bneed\w*\b", "the {} needed"),
    ("*", "divide", r"\b(?:per|each|every)\b", "the {} for each"),
    ("*", "", "", "the resulting {}"),
]
_ASIDE = re.compile(  # words that say what a result is not: "after the discount"
    r"\b(?:after|without|before|with|including|plus|minus|excluding) (?:\w+ ){0,2}?"
    r"(?:discount|tax|tip|commission|interest)\w*"
)


def _result(equation: Equation, operation: str) -> tuple[str, str, str]:
    """What an equation finds: its name, its kind, and its name with the solution's noun."""
    after = re.sub(r"^\s*-?\$?[\d,.]*\d\s*", "", equation.after)
    sentence = re.split(r"(?<=[.;])\s", equation.before)[-1] + " " + re.split(r"[.;]\s", after)[0]
    sentence = _ASIDE.sub("", sentence.lower())
    noun = noun_phrase(after)[0] or noun_beside(equation.value, equation.before)
    stated = rf"\$\s*$|\$ ?{equation.value}(?!\d)"  # "She paid $12 because 3*4=12"
    own = ""
    if equation.after.lstrip().startswith("$") or re.search(stated, equation.before):
        kind, counted = "money", "the amount of money"
    elif re.match(r"%|per ?cent", after):
        kind, counted = "percentage", "the percentage"
    elif re.match(r"years?[ -]old", after):
        kind, counted = "age", "the age"
    elif noun:
        kind, counted = kind_of(noun)
        own = f"number of {noun}" if kind in ("items", "people") else ""
    else:
        plain = f"the {RESULTS[operation]}"
        return plain, "", plain
    name = next(
        name
        for kinds, operations, words, name in _SENSES
        if kinds in ("*", kind)
        and (not operations or operation in operations)
        and re.search(words, sentence)
    )
    counted = counted.removeprefix("the ")
    return name.format(counted), kind, name.format(own or counted)


def _result_names(draft: _Draft) -> list[str]:
    """One name for each step's result; a noun, then a letter tells equal ones apart."""
    general = [step.result for step in draft.steps]
    bases = [s.specific if general.count(s.result) > 1 else s.result for s in draft.steps]
    names, seen = [], {}
    for base in bases:
        seen[base] = seen.get(base, -1) + 1
        if seen[base] > 25:
            raise ValueError(f"the solution of {draft.problem.id} has too many steps of one kind")
        letter = f" {chr(ord('A') + seen[base])}" if bases.count(base) > 1 else ""
        names.append(f"{base}{letter}")
    return names


def _problem_type(draft: _Draft) -> str:
    kinds = {draft.quantities[index].kind for index in draft.used}
    kinds |= {step.kind for step in draft.steps}
    operations = {step.operation for step in draft.steps}
    asked = draft.steps[-1].kind
    if asked in ("money", "age", "people"):
        domain = asked
    elif is_time(asked) or asked == "clock":
        domain = "time"
    elif is_unit(asked):
        domain = "measures"
    else:
        domain = next((kind for kind in ("money", "age", "people") if kind in kinds), "quantities")
    if any("average" in step.result for step in draft.steps):
        form = "average"
    elif "percentage" in kinds:
        form = "percentages"
    elif "fraction" in kinds:
        form = "fractions"
    elif "multiple" in kinds or "difference" in kinds:
        form = "comparison"
    elif operations <= {"add", "subtract"}:
        form = "totals and differences"
    elif operations >= {"divide", "multiply"}:
        form = "rates and shares"
    else:
        form = "equal shares" if "divide" in operations else "groups and totals"
    return f"{form} of {domain}"


def _approach(draft: _Draft) -> str:
    last = draft.steps[-1]
    if len(draft.steps) == 1:
        return "find the answer in a single step"
    if last.operation == "subtract" and re.search(r"\b(?:left|change|profit)\b", last.result):
        return "find what there is and what goes away, then subtract"
    return {
        "add": "find the parts, then add them up",
        "subtract": "find the amounts to compare, then take their difference",
        "multiply": "find the amount for each, then scale it up",
        "divide": "find the total, then divide it",
    }[last.operation]
