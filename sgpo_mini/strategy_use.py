"""Did it use the strategy? The plan that a mini-GSM solution follows, against the true one.

A right answer says little: a solution can follow the strategy and slip in a sum. So the sequence of
operations is read from the solution's equations, and what is asked is: is it the true plan; given
that it is, is the answer right; and which family's plan is it when it is not.
"""

import ast
import re
from collections.abc import Collection
from dataclasses import dataclass

from .evaluation import Evaluation
from .mini_gsm import FAMILIES, plan_names, read_quantities, true_plan
from .problems import Problem

SIGNS = {"add": "+", "subtract": "−", "multiply": "×", "divide": "÷"}
# Columns of `plan_confusion` beside the plans of the families.
UNREADABLE, ANOTHER = "unreadable", "another"

_OPERATIONS = {ast.Add: "add", ast.Sub: "subtract", ast.Mult: "multiply", ast.Div: "divide"}
_EQUATION = re.compile(r"([0-9+*/() -]{3,200}) = ([0-9]+)")


@dataclass(frozen=True)
class StrategyUse:
    """Shares over N completions; `calculation_accuracy` is None where no plan was right."""

    plan_accuracy: float  # the plan is the true one
    calculation_accuracy: float | None  # the answer is right, given that the plan is
    unreadable: float  # no plan can be read


def read_solution_plan(completion: str, problem: Problem) -> tuple[str, ...] | None:
    """The plan that a solution follows, in the form of `Problem.plan`; None where none is readable.

    Each line before the answer is an equation, of one step ("4 * 7 = 28") or several
    ("(4 * 7 + 3) * 2 = 62"), that starts from the story's first quantity or from the result *as
    stated* on the line before, and brings in quantities of the story, each once. Results may be
    wrong: they are calculation, not plan. Of two quantities with the same number the one is taken
    that the true plan would use. Raises ValueError where the question is none of mini-GSM's.
    """
    (start, _), *quantities = read_quantities(problem.question)
    running, plan, used = start, [], set()
    for line in completion.strip().split("\n"):
        if line.startswith("####"):
            break
        equation = _EQUATION.fullmatch(line.strip())
        chain = equation and _chain(equation[1])
        if not chain or chain[0] != running:
            return None
        for operation, number in chain[1]:
            fitting = [i for i, (q, _) in enumerate(quantities) if q == number and i not in used]
            if not fitting:
                return None
            names = {i: f"{operation} {quantities[i][1].role}" for i in fitting}
            due = problem.plan[len(plan) : len(plan) + 1]
            chosen = next((i for i in fitting if names[i] in due), fitting[0])
            used.add(chosen)
            plan.append(names[chosen])
        running = int(equation[2])
    return tuple(plan) or None


def measure_use(evaluation: Evaluation, leave_out: Collection[str] = ()) -> StrategyUse:
    """Plan accuracy and calculation accuracy of an evaluation, without some families.

    Raises ValueError where a problem has no plan, or nothing is left.
    """
    count = followed = right = unreadable = 0
    for problem, plan, correct in _read(evaluation):
        if problem.family in leave_out:
            continue
        count += 1
        unreadable += plan is None
        if plan == problem.plan:
            followed += 1
            right += correct
    if not count:
        raise ValueError("there are no solutions to read plans from")
    return StrategyUse(followed / count, right / followed if followed else None, unreadable / count)


def plan_confusion(evaluation: Evaluation) -> dict[str, dict[str, int]]:
    """How many solutions of each family follow which plan: counts[family][plan].

    A plan is here its sequence of operations alone ("×+−"), because only that can be another
    family's: which quantities it uses is in `measure_use`. One that is no family's counts as
    "another". Raises ValueError where a problem has no plan.
    """
    known = set(family_plans().values())
    counts: dict[str, dict[str, int]] = {}
    for problem, plan, _ in _read(evaluation):
        told = UNREADABLE if plan is None else signs_of(plan)
        told = told if told in known or plan is None else ANOTHER
        row = counts.setdefault(problem.family, {})
        row[told] = row.get(told, 0) + 1
    return counts


def family_plans() -> dict[str, str]:
    """Every family's true sequence of operations, as signs."""
    return {
        name: signs_of(plan_names(family, true_plan(family))) for name, family in FAMILIES.items()
    }


def signs_of(plan: tuple[str, ...]) -> str:
    """The operations of a plan as signs: ("multiply the amount", "add the tip") -> "×+"."""
    return "".join(SIGNS[step.partition(" ")[0]] for step in plan)


def _read(evaluation: Evaluation):
    """(problem, plan or None, whether the answer is right) of every completion."""
    rows = zip(evaluation.problems, evaluation.completions, evaluation.correct, strict=True)
    for problem, completions, correct in rows:
        if not problem.plan:
            raise ValueError(f"the problem {problem.id!r} has no plan to compare with")
        for completion, is_right in zip(completions, correct, strict=True):
            yield problem, read_solution_plan(completion, problem), is_right


def _chain(expression: str) -> tuple[int, list[tuple[str, int]]] | None:
    """(first number, [(operation, number), ...]) of an expression that is worked off from the left.

    None for any other: one whose second operand is itself an expression. Not read by
    `equations.parse_expression`, which takes what people write too: "4(2)", signs, "007".
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
