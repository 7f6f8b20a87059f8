"""Plans: which ones fit a chain of clauses, and numbers that don't reveal the true one.

Which plans *fit* follows from the units alone, by one rule for all families: a quantity that counts
things can be added, subtracted or left out, a bare number can multiply, divide or be left out, and
the amount in each box must multiply the number of boxes. Quantities are used in the order told.
Three clauses with three ways each give 26 plans (at least one quantity is used); after boxes, whose
amount always counts, 27.

Numbers are drawn so that *every* fitting plan gives positive whole numbers and every wrong plan a
wrong answer. So the numbers never reveal the plan.
"""

import operator
import random
from collections.abc import Iterable
from functools import cache
from itertools import product
from math import prod

import torch

LARGEST = 64  # the largest number of any story or solution; the tiny student memorises the sums
POOL = 2400  # number tuples of a shape

OPERATIONS = {
    "add": operator.add,
    "subtract": operator.sub,
    "multiply": operator.mul,
    "divide": operator.truediv,
}
SYMBOLS = {"add": "+", "subtract": "-", "multiply": "*", "divide": "/"}

# What a quantity of each kind can do; "" leaves it out.
WAYS = {
    "change": ("", "add", "subtract"),
    "scale": ("", "multiply", "divide"),
    "each": ("multiply",),
}
_RANGES = {"change": range(2, 10), "scale": range(2, 5), "each": range(2, 10)}

Shape = tuple[str, ...]  # the kinds of a chain's clauses
# A plan is a sequence of steps: (operation, index of the clause in the family's story).
Plan = tuple[tuple[str, int], ...]


def intermediate_results(plan: Plan, numbers: tuple[int, ...]) -> list[int] | None:
    """The amount after each step; None if one is not a whole number from 1 to LARGEST."""
    running, results = numbers[0], []
    for operation, index in plan:
        running = OPERATIONS[operation](running, numbers[index + 1])
        if running != int(running) or not 1 <= running <= LARGEST:
            return None
        running = int(running)  # division gave a float
        results.append(running)
    return results


@cache
def fitting_plans(shape: Shape) -> tuple[Plan, ...]:
    """Every plan that the units of a chain's quantities allow, in a fixed order."""
    chosen = product(*(WAYS[kind] for kind in shape))
    plans = (tuple((way, i) for i, way in enumerate(ways) if way) for ways in chosen)
    return tuple(plan for plan in plans if plan)


def all_plans_work(shape: Shape, numbers: tuple[int, ...]) -> bool:
    """Whether every fitting plan gives whole numbers from 1 to LARGEST at each step."""
    reached = {numbers[0]}
    for kind, number in zip(shape, numbers[1:], strict=True):
        if kind == "change":
            reached |= {amount - number for amount in reached} | {a + number for a in reached}
        elif kind == "each":
            reached = {amount * number for amount in reached}
        elif any(amount % number for amount in reached):
            return False
        else:
            reached |= {amount // number for amount in reached} | {a * number for a in reached}
        if min(reached) < 1 or max(reached) > LARGEST:
            return False
    return True


@cache
def number_tuples(shape: Shape) -> tuple[tuple[int, ...], ...]:
    """Up to POOL number tuples for which every fitting plan of a shape works, shuffled."""
    generator = random.Random(f"numbers {shape}")
    first = range(2, 10) if "each" in shape else range(8, 49)
    ranges = [first, *(_RANGES[kind] for kind in shape)]
    if prod(map(len, ranges)) <= 60_000:
        candidates: Iterable[tuple[int, ...]] = list(product(*ranges))
        generator.shuffle(candidates)
    else:
        candidates = (tuple(map(generator.choice, ranges)) for _ in range(100_000))
    working: dict[tuple[int, ...], None] = {}
    for numbers in candidates:
        if all_plans_work(shape, numbers):
            working[numbers] = None
        if len(working) == POOL:
            break
    return tuple(working)


@cache
def _answers(shape: Shape) -> torch.Tensor:
    """The answer of each plan (columns, as in `fitting_plans`) with each number tuple (rows)."""
    numbers = torch.tensor(number_tuples(shape))
    answers = []
    for plan in fitting_plans(shape):
        running = numbers[:, 0]
        for operation, index in plan:
            other = numbers[:, index + 1]
            running = (
                running // other if operation == "divide" else OPERATIONS[operation](running, other)
            )
        answers.append(running)
    return torch.stack(answers, dim=1)


@cache
def revealing_nothing(shape: Shape, truth: Plan) -> tuple[bool, ...]:
    """For each number tuple of a shape: does only the true plan give the right answer?"""
    answers = _answers(shape)
    right = answers[:, [fitting_plans(shape).index(truth)]]
    return tuple(((answers == right).sum(dim=1) == 1).tolist())
