"""The checks of notebook 02: the reader's own strategy, and wrong strategies for a control."""

import random
import re
from collections.abc import Callable
from dataclasses import replace

from ..mini_gsm.world import make_problems
from ..problems import Problem
from ..strategies import Strategy, leaks
from ..strategy_sources.step_forms import read_operations
from .checking import Wrong, answer_of, exercise, shortened

PEARS = Problem(
    "pears",
    "Omar picks 6 baskets of 12 pears each. He gives 16 pears to a school and packs the rest in "
    "bags of 8 pears. How many bags does he fill?",
    "7",
)


@exercise
def check_own_strategy(function: Callable) -> str:
    """Exercise: a strategy for the problem PEARS in the form of `Strategy.text`, `f(question)`."""
    call = "f(question)"
    text = answer_of(function, call, PEARS.question)
    if not isinstance(text, (str, Strategy)):
        raise Wrong(f"{call} returned {shortened(text)}, which is not text")
    try:
        strategy = text if isinstance(text, Strategy) else Strategy.parse(text)
    except ValueError as error:
        raise Wrong(str(error)) from None
    if found := leaks(strategy, PEARS):
        told = ", ".join(found)
        raise Wrong(f"it leaks {told}; say what a number stands for, not the number")
    if named := re.search(r"(?i)\b(?:omar|pears?)\b", strategy.text):
        raise Wrong(f"it names {named[0]!r}; it must fit every problem of this kind")
    operations, right = read_operations(strategy), ("multiply", "subtract", "divide")
    if operations == right:
        return "multiply, subtract, divide, without numbers and names: it fits the next story too"
    told = ", ".join(operations) or "no operation"
    if sorted(operations) == sorted(right):
        why = "these operations are right, but their order is wrong"
    elif not operations:
        why = "begin a step with its verb, such as 'Add'"
    else:
        why = "solve the story yourself, and write one step per operation"
    raise Wrong(f"its steps say {told}; {why}")


@exercise
def check_wrong_strategies(function: Callable) -> str:
    """Exercise: for each problem another family's, and different, strategy, `f(problems)`."""
    families: dict[str, list] = {}
    for problem in make_problems("composed"):
        families.setdefault(problem.family, []).append(problem)
    first, second, third, fourth = list(families.values())[:4]  # three problems each
    mixed = first + second + third[:1] + fourth[:2]
    random.Random(1).shuffle(mixed)
    twin = [replace(problem, strategy=first[0].strategy) for problem in second[:2]]
    worded = [replace(p, strategy=f"{p.strategy}\n- Check the result") for p in third[:2]]
    cases = (
        ("four families in their order", first + second + third + fourth),
        ("families mixed, of unequal size", mixed),
        ("two families that share a strategy", first[:2] + twin + fourth[:1]),
        ("a family with two strategies", third[2:] + worded + fourth[:1]),
    )
    for about, problems in cases:
        call = f"f(problems) with {about}"
        given = answer_of(function, call, list(problems))
        if not isinstance(given, (list, tuple)) or len(given) != len(problems):
            kind = f"{len(given)} items" if isinstance(given, (list, tuple)) else shortened(given)
            raise Wrong(
                f"{call} returned {kind}; return one strategy per problem, {len(problems)} in all"
            )
        for problem, strategy in zip(problems, given, strict=True):
            owners = {other.family for other in problems if other.strategy == strategy}
            if not owners:
                raise Wrong(f"{call} gave {shortened(strategy)}, which is no problem's strategy")
            if strategy == problem.strategy:
                raise Wrong(
                    f"{call} gave {problem.id} the text of its own strategy; compare the texts"
                )
            if problem.family in owners:
                raise Wrong(f"{call} gave {problem.id} a strategy of its own family")
    return "every problem has the strategy of another family"
