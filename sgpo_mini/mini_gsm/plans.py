"""Plans: which ones fit a family of stories, which one is true, and numbers that don't reveal it.

Which plans *fit* a story follows from the units alone, by one rule for every family: quantities in
the same unit can be added or subtracted, a bare number can multiply or divide, a rate ("pens per
box") can multiply what it is a rate of. A quantity can be left out; the others are used in the
order told, and the result has the unit that the question asks for.

Numbers are drawn so that *every* fitting plan gives positive whole numbers and every wrong plan a
wrong answer. So the numbers never reveal the plan.
"""

import operator
import random
from functools import cache
from itertools import product

from .stories import CLAUSES, Clause, Family

LARGEST = 100  # the largest number of any story or solution; the tiny student memorises the sums

OPERATIONS = {
    "add": operator.add,
    "subtract": operator.sub,
    "multiply": operator.mul,
    "divide": operator.truediv,
}
OPPOSITE = {"add": "subtract", "subtract": "add", "multiply": "divide", "divide": "multiply"}
SYMBOLS = {"add": "+", "subtract": "-", "multiply": "*", "divide": "/"}

# A plan is a sequence of steps: (operation, index of the clause in the family's story).
Plan = tuple[tuple[str, int], ...]


@cache
def fitting_plans(family: Family) -> tuple[Plan, ...]:
    """Every plan that the units of the family's quantities allow, in a fixed order."""
    return compute_fitting_plans(family)


def compute_fitting_plans(family: Family) -> tuple[Plan, ...]:
    """`fitting_plans` without its cache, for practice stories: there are too many of them."""
    plans: list[tuple[Plan, str]] = [((), CLAUSES[family.start].unit)]
    for index, name in enumerate(family.clauses):
        plans += [  # the plans without this clause stay
            ((*plan, (operation, index)), new_unit)
            for plan, unit in plans
            for operation, new_unit in allowed_operations(unit, CLAUSES[name])
        ]
    return tuple(plan for plan, unit in plans if plan and unit == family.asks)


def allowed_operations(unit: str, clause: Clause) -> list[tuple[str, str]]:
    """The operations that a clause allows on an amount in `unit`, each with its result's unit."""
    if clause.unit == unit:
        return [("add", unit), ("subtract", unit)]
    if clause.unit == "number":
        return [("multiply", unit), ("divide", unit)]
    made, _, of = clause.unit.partition(" per ")
    return [("multiply", made)] if of == unit else []


def true_plan(family: Family) -> Plan:
    """The plan that the story tells: its clauses in order, each with its own operation."""
    operations = [(CLAUSES[name].operation, index) for index, name in enumerate(family.clauses)]
    return tuple(step for step in operations if step[0] != "ignore")


def taught_plan(family: Family, generator: random.Random) -> Plan:
    """The plan of an unguided pretraining solution, drawn uniformly from those that fit.

    The two "sure and wrong" families are the exception. They always teach the same wrong plan: the
    true one with its last operation reversed.
    """
    if family.sure_and_wrong:
        *first, (operation, index) = true_plan(family)
        return (*first, (OPPOSITE[operation], index))
    return generator.choice(fitting_plans(family))


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


def _usable(family: Family, numbers: tuple[int, ...]) -> bool:
    """Whether all fitting plans work and only the true one gives the right answer."""
    results: dict[Plan, int] = {(): numbers[0]}
    for plan in fitting_plans(family):  # plans share their first steps, so each is computed once
        for length in range(1, len(plan) + 1):
            if plan[:length] not in results:
                operation, index = plan[length - 1]
                result = OPERATIONS[operation](results[plan[: length - 1]], numbers[index + 1])
                if result != int(result) or not 1 <= result <= LARGEST:
                    return False
                results[plan[:length]] = int(result)
    answers = [results[plan] for plan in fitting_plans(family)]
    return answers.count(results[true_plan(family)]) == 1


@cache
def number_tuples(family: Family) -> tuple[tuple[int, ...], ...]:
    """Up to 600 usable number tuples of a family, shuffled; evaluation uses the first ones."""
    ranges = [CLAUSES[name].numbers for name in (family.start, *family.clauses)]
    generator = random.Random(f"numbers {family.name}")
    size = 1
    for numbers in ranges:
        size *= len(numbers)
    if size <= 60_000:
        candidates = list(product(*ranges))
        generator.shuffle(candidates)
    else:
        drawn = (tuple(generator.choice(r) for r in ranges) for _ in range(60_000))
        candidates = list(dict.fromkeys(drawn))
    usable = []
    for numbers in candidates:
        if _usable(family, numbers):
            usable.append(numbers)
            if len(usable) == 600:
                break
    return tuple(usable)
