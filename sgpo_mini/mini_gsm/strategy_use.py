"""Did the student use the strategy? The plan of a mini-GSM solution, compared with the true one.

A wrong answer says little, because a solution can follow the strategy and make an arithmetic error.
So we read the sequence of operations from the solution's equations and ask three things: is it the
true plan; if so, is the answer right; if not, which family has these operations.
"""

import ast
import re
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from functools import cache

from ..evaluation import Evaluation
from ..problems import Problem
from .plans import true_plan
from .reading import read_quantities
from .world import FAMILIES, plan_names

SIGNS = {"add": "+", "subtract": "−", "multiply": "×", "divide": "÷"}
# What a solution did; if it followed another family's operations, their signs ("×+") instead.
OWN = "own plan"
OTHER_QUANTITIES = "same operations, other quantities"
NO_FAMILY = "operations of no family"
# Why a solution has no plan.
NOT_FITTING = "a quantity twice or not in the story"
UNREADABLE = "no chain of equations"

_OPERATIONS = {ast.Add: "add", ast.Sub: "subtract", ast.Mult: "multiply", ast.Div: "divide"}
# The limits allow far longer numbers than mini-GSM's, and far shorter ones than Python can read.
_EQUATION = re.compile(r"([0-9+*/() -]{3,200}?) *= *([0-9]{1,50})")
_quantities_of = cache(read_quantities)  # many completions answer the same question


@dataclass(frozen=True)
class Reading:
    """The plan that a solution follows, in the form of `Problem.plan`, or why it has none."""

    plan: tuple[str, ...] | None
    reason: str = ""  # NOT_FITTING or UNREADABLE if there is no plan


@dataclass(frozen=True)
class StrategyUse:
    """What N completions did, as shares of N that add up to 1 (except `calculation_accuracy`)."""

    plan_accuracy: float  # the true plan
    other_quantities: float  # the true operations in order, on other quantities
    other_operations: float
    not_fitting: float  # a quantity is used twice or is not in the story
    unreadable: float
    calculation_accuracy: float | None  # share of right answers among those with the true plan


def read_solution_plan(completion: str, problem: Problem) -> Reading:
    """The plan that a solution follows, read from its equations up to the line `#### N`.

    Each line must be an equation of one step ("4 * 7 = 28") or several ("(4 * 7 + 3) * 2 = 62"). It
    starts from the story's first quantity or from the result *stated* on the line before, and uses
    each quantity of the story at most once. Wrong results, and an `#### N` that contradicts the
    last equation, are arithmetic errors and don't change the plan. If two quantities have the same
    number, the one that the true plan would use is assumed. Raises ValueError if the question is
    not one of mini-GSM's.
    """
    (start, _), *quantities = _quantities_of(problem.question)
    running, plan, used = start, [], set()
    for line in completion.split("\n"):
        if line.startswith("####"):
            break
        if not line.strip():
            continue
        equation = _EQUATION.fullmatch(line.strip())
        chain = equation and _chain(equation[1])
        if not chain:
            return Reading(None, UNREADABLE)
        if chain[0] != running:
            # A new chain starts, from an unused quantity of the story or from any other number.
            free = {q for i, (q, _) in enumerate(quantities) if i not in used}
            return Reading(None, UNREADABLE if chain[0] in free else NOT_FITTING)
        for operation, number in chain[1]:
            fitting = [i for i, (q, _) in enumerate(quantities) if q == number and i not in used]
            if not fitting:
                return Reading(None, NOT_FITTING)
            names = {i: f"{operation} {quantities[i][1].role}" for i in fitting}
            due = problem.plan[len(plan) : len(plan) + 1]
            chosen = next((i for i in fitting if names[i] in due), fitting[0])
            used.add(chosen)
            plan.append(names[chosen])
        running = int(equation[2])
    return Reading(tuple(plan)) if plan else Reading(None, UNREADABLE)


def whose_plan(completion: str, problem: Problem) -> str:
    """What a solution did: OWN, OTHER_QUANTITIES, NOT_FITTING, UNREADABLE, or its operations.

    Raises ValueError if the problem has no plan or its question is not one of mini-GSM's.
    """
    if not problem.plan:
        raise ValueError(
            f"the problem {problem.id!r} has no plan to compare with; use problems of mini-GSM"
        )
    reading = read_solution_plan(completion, problem)
    if reading.plan is None:
        return reading.reason
    if reading.plan == problem.plan:
        return OWN
    signs = signs_of(reading.plan)
    return OTHER_QUANTITIES if signs == signs_of(problem.plan) else signs


def measure_use(evaluation: Evaluation, leave_out: Collection[str] = ()) -> StrategyUse:
    """The shares of completions that follow the true plan or do something else.

    The families in `leave_out` don't count. Raises ValueError if a problem has no plan or no
    completion is left.
    """
    told = solutions(evaluation)
    return use_of([(did, right) for problem, did, right in told if problem.family not in leave_out])


def use_of(told: Sequence[tuple[str, bool]]) -> StrategyUse:
    """The shares of N solutions, given (what it did, as in `whose_plan`; is its answer right).

    Raises ValueError if there are no solutions.
    """
    if not told:
        raise ValueError("there are no solutions to read plans from; give at least one")
    counts = Counter(did for did, _ in told)
    own = [right for did, right in told if did == OWN]
    kinds = (OWN, OTHER_QUANTITIES, NOT_FITTING, UNREADABLE)
    plan, quantities, not_fitting, unreadable = (counts[kind] / len(told) for kind in kinds)
    return StrategyUse(
        plan_accuracy=plan,
        other_quantities=quantities,
        other_operations=(len(told) - sum(counts[kind] for kind in kinds)) / len(told),
        not_fitting=not_fitting,
        unreadable=unreadable,
        calculation_accuracy=sum(own) / len(own) if own else None,
    )


def plan_confusion(evaluation: Evaluation) -> dict[str, dict[str, int]]:
    """How many solutions of each family followed whose plan: counts[family][what they did].

    OWN means that every operation and quantity is the true plan's. A solution can follow another
    family only in its operations, because that family's quantities aren't in the story. So signs
    ("×+") stand for all families with these operations, and NO_FAMILY for operations that no
    family has. Raises ValueError if a problem has no plan.
    """
    known = {*family_signs().values(), OWN, OTHER_QUANTITIES, NOT_FITTING, UNREADABLE}
    counts: dict[str, Counter[str]] = {}
    for problem, did, _ in solutions(evaluation):
        counts.setdefault(problem.family, Counter())[did if did in known else NO_FAMILY] += 1
    return {family: dict(row) for family, row in counts.items()}


def family_signs() -> dict[str, str]:
    """Every family's true sequence of operations, as signs."""
    return {
        name: signs_of(plan_names(family, true_plan(family))) for name, family in FAMILIES.items()
    }


def signs_of(plan: tuple[str, ...]) -> str:
    """The operations of a plan as signs: ("multiply the amount", "add the tip") -> "×+"."""
    return "".join(SIGNS[step.partition(" ")[0]] for step in plan)


def solutions(evaluation: Evaluation) -> Iterator[tuple[Problem, str, bool]]:
    """(problem, what it did as in `whose_plan`, whether the answer is right) of each completion.

    Raises ValueError as `whose_plan` does.
    """
    rows = zip(evaluation.problems, evaluation.completions, evaluation.correct, strict=True)
    for problem, completions, correct in rows:
        for completion, is_right in zip(completions, correct, strict=True):
            yield problem, whose_plan(completion, problem), is_right


def _chain(expression: str) -> tuple[int, list[tuple[str, int]]] | None:
    """(first number, [(operation, number), ...]) of an expression that is evaluated from the left.

    None if a right operand is itself an expression. `equations.parse_expression` is more lenient
    ("4(2)", signs, "007"), so it can't replace this reader.
    """
    try:
        node = ast.parse(expression.strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None
    steps: list[tuple[str, int]] = []
    while isinstance(node, ast.BinOp):
        operation = _OPERATIONS.get(type(node.op))
        if operation is None or not isinstance(node.right, ast.Constant):
            return None
        steps.append((operation, node.right.value))
        node = node.left
    return (node.value, steps[::-1]) if isinstance(node, ast.Constant) and steps else None
