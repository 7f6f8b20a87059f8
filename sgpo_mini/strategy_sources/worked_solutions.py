"""Strategies from worked solutions, with no model: GSM8K's calculation notes put into words.

`equations` reads the operations of the solution, `quantities` names the numbers of the question,
`operands` decides what each operand means, `result_names` names each result, and `step_forms`
writes the sentences. This file puts them together: one step for each operation or chain of equal
operations, then the problem type and the approach.
"""

import re

from ..problems import Problem
from ..strategies import Strategy, leaks
from .equations import Equation, read_equations
from .nouns import is_time, is_unit
from .operands import Draft, Step, operand
from .quantities import label, question_quantities
from .result_names import distinct_names, name_result
from .step_forms import RESULTS, TWICE, read_operations, read_steps, read_structure, write_step
from .subquestions import require_short, strategy_from_subquestions

__all__ = [
    "read_operations",
    "read_steps",
    "read_structure",
    "strategy_from_solution",
    "strategy_from_subquestions",
]


def strategy_from_solution(problem: Problem) -> Strategy:
    """The strategy that a worked solution follows: its operations on quantities named in words.

    Reads GSM8K's notes `<<48/2=24>>` and equations that are written out (see `read_equations`). In
    a solution with notes, a calculation without one becomes a step "Take R as the sum of ...".
    Raises ValueError with the reason if the solution can't be read or the strategy would leak.
    """
    require_short(problem)
    draft = Draft(problem, question_quantities(problem.question))
    equations = read_equations(problem)
    any_noted = any(equation.noted for equation in equations)
    for equation in equations:  # without any notes, the written-out equations are the plan
        _add_steps(draft, equation, described=any_noted and not equation.noted)
    names = distinct_names(draft.steps, problem.id)
    places = {label(q, draft.quantities): q.position for q in draft.quantities if q.value}
    steps = []
    for step, name in zip(draft.steps, names, strict=True):
        operands = step.operands
        if step.operation in ("add", "multiply"):  # sorted, so that equal plans read the same
            operands = sorted(operands, key=lambda o, s=step: _rank(o, s.operation, places))
        operands = [names[o] if isinstance(o, int) else o for o in operands]
        steps.append(write_step(step.operation, operands, name, step.described))
    strategy = Strategy(_problem_type(draft), _approach(draft), tuple(steps))
    if found := leaks(strategy, problem):
        raise ValueError(f"the strategy of {problem.id} would give {', '.join(found)} away")
    return strategy


def _add_steps(draft: Draft, equation: Equation, described: bool) -> None:
    """Add the equation's steps to the draft; a chain such as a + b + c becomes one step."""
    operations = equation.operations
    name, kind, specific = name_result(equation, operations[-1].name)
    step_of: dict[int, int] = {}  # index of the equation's operation -> index of its step
    for index, operation in enumerate(operations):
        chained = (
            operation.name != "divide"
            and index > 0
            and operation.left == index - 1
            and operations[index - 1].name == operation.name
            and TWICE not in draft.steps[-1].operands
        )
        if not chained:
            draft.steps.append(Step(operation.name, [], described))
        step = draft.steps[-1]
        for side in (operation.right,) if chained else (operation.left, operation.right):
            if isinstance(side, int):
                step.operands.append(step_of[side])
            else:
                meaning = operand(draft, side, operation.name, step.operands, equation, kind)
                step.operands.append(meaning)
        if step.operation == "multiply" and step.operands[0] == TWICE:
            step.operands.append(step.operands.pop(0))
        step.result = step.specific = f"the {RESULTS[operation.name]}"
        step_of[index] = len(draft.steps) - 1
    step.result, step.kind, step.specific = name, kind, specific
    step.values = (equation.value, equation.exact)


def _rank(operand: str | int, operation: str, places: dict[str, int]) -> tuple[float, int]:
    """Sort key for the operands of a sum or product: counts before rates, givens before results."""
    place = operand if isinstance(operand, int) else places.get(operand, 10**9)
    if isinstance(operand, int) or operation == "add":
        return 0.5 * isinstance(operand, int), place
    if operand == TWICE:
        return 9, place
    for rank, words in enumerate(["each|per", "multiple", "per cent|percentage|fraction"], start=1):
        if re.search(rf"\b(?:{words})\b", operand):
            return rank, place
    return (0 if operand in places else 5), place


def _problem_type(draft: Draft) -> str:
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


def _approach(draft: Draft) -> str:
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
