"""Did the student use the strategy? The plan of a mini-GSM solution, compared with the true one.

A wrong answer says little, because a solution can follow the strategy and make an arithmetic error.
So we read the plan from the solution's lines and ask: is it the true plan; if so, is the answer
right; if not, what is wrong with it?
"""

import ast
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache

from ..evaluation import Evaluation
from ..problems import Problem
from .reading import read_quantities

# What a solution did.
OWN = "the true plan"
WRONG_OPERATION = "the right sentences, a wrong operation or order"
IDLE_USED = "a sentence that plays no part is used"
LEFT_OUT = "a sentence that plays a part is left out"
NOT_FITTING = "a quantity twice or not in the story"
UNREADABLE = "no chain of equations"
KINDS = (OWN, WRONG_OPERATION, IDLE_USED, LEFT_OUT, NOT_FITTING, UNREADABLE)

_OPERATIONS = {ast.Add: "add", ast.Sub: "subtract", ast.Mult: "multiply", ast.Div: "divide"}
_LABEL = re.compile(r"([A-Z][a-z ]{2,40}) ([0-9]{1,9}): *(.*)")
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
    """What N completions did: shares of N by kind, in the order of KINDS, which add up to 1."""

    shares: dict[str, float]
    calculation_accuracy: float | None  # share of right answers among those with the true plan

    @property
    def plan_accuracy(self) -> float:
        """The share that follows the true plan."""
        return self.shares[OWN]


def read_solution_plan(completion: str, problem: Problem) -> Reading:
    """The plan that a solution follows, read from its lines up to the line `#### N`.

    A line tells what one sentence of the story does ("Amount found 5: 12 + 5 = 17" or "Amount found
    5: no change"), or it is an equation of one or several steps ("(12 + 5) * 2 = 34"). It starts
    from the story's first quantity or from the result *stated* on the line before, and uses each
    quantity of the story at most once. Wrong results, and an `#### N` that contradicts the last
    equation, are arithmetic errors and don't change the plan. A quantity is found by its number. If
    the story has the number twice, the line's label decides, or the true plan's next step. Raises
    ValueError if the question is not one of mini-GSM's.
    """
    (running, _), *quantities = _quantities_of(problem.question)
    plan: list[str] = []
    used: set[int] = set()
    for line in map(str.strip, completion.split("\n")):
        if line.startswith("####"):
            break
        if not line:
            continue
        free = {i for i in range(len(quantities)) if i not in used}
        if label := _LABEL.fullmatch(line):
            number, line = int(label[2]), label[3]
            free = {i for i in free if quantities[i][0] == number}
            # A trained student may call "expanded" by a verb it knows, so the number decides.
            free = {i for i in free if quantities[i][1].label == label[1]} or free
            if not free:
                return Reading(None, NOT_FITTING)
            if line == "no change":
                used.add(min(free))
                continue
        equation = _EQUATION.fullmatch(line)
        chain = equation and _chain(equation[1])
        if not chain:
            return Reading(None, UNREADABLE)
        if chain[0] != running:
            return Reading(None, NOT_FITTING)
        for operation, number in chain[1]:
            fitting = [i for i in sorted(free - used) if quantities[i][0] == number]
            if not fitting:
                return Reading(None, NOT_FITTING)
            names = {i: f"{operation} {quantities[i][1].role}" for i in fitting}
            due = problem.plan[len(plan) : len(plan) + 1]
            chosen = next((i for i in fitting if names[i] in due), fitting[0])
            used.add(chosen)
            plan.append(names[chosen])
        running = int(equation[2])
    return Reading(tuple(plan)) if plan else Reading(None, UNREADABLE)


def what_it_did(completion: str, problem: Problem) -> str:
    """What a solution did: one of KINDS.

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
    used, due = _roles(reading.plan), _roles(problem.plan)
    if used == due:
        return WRONG_OPERATION
    return IDLE_USED if used - due else LEFT_OUT


def _roles(plan: Sequence[str]) -> set[str]:
    """The quantities of a plan: {"the amount found"} for ("add the amount found",)."""
    return {step.partition(" ")[2] for step in plan}


def solutions(evaluation: Evaluation) -> Iterator[tuple[Problem, str, bool]]:
    """(problem, what it did, whether the answer is right) of each completion.

    Raises ValueError as `what_it_did` does.
    """
    rows = zip(evaluation.problems, evaluation.completions, evaluation.correct, strict=True)
    for problem, completions, correct in rows:
        for completion, is_right in zip(completions, correct, strict=True):
            yield problem, what_it_did(completion, problem), is_right


def measure_use(evaluation: Evaluation) -> StrategyUse:
    """The shares of completions that follow the true plan or do something else.

    Raises ValueError if a problem has no plan or there are no completions.
    """
    told = [(did, right) for _, did, right in solutions(evaluation)]
    if not told:
        raise ValueError("there are no solutions to read plans from; give at least one")
    counts = Counter(did for did, _ in told)
    own = [right for did, right in told if did == OWN]
    return StrategyUse(
        shares={kind: counts[kind] / len(told) for kind in KINDS},
        calculation_accuracy=sum(own) / len(own) if own else None,
    )


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
