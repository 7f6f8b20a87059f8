"""The checks of notebook 10: a reward with many correct answers, and a split by town."""

import json
import random
from collections.abc import Callable
from itertools import permutations

from ..problems import Problem
from .checking import Wrong, answer_of, exercise, number_of, shortened

LAUNDRY = Problem(
    "laundry",
    "Wash before you dry, dry before you fold; sort whenever you like. In which order?",
    json.dumps(
        {"tasks": ["sort", "wash", "dry", "fold"], "before": [["wash", "dry"], ["dry", "fold"]]}
    ),
)


def _pays(order: list[str], problem: Problem) -> float:
    """The correct reward of an order of tasks."""
    known = json.loads(problem.answer)
    if sorted(order) != sorted(known["tasks"]):
        return 0.0
    return float(all(order.index(a) < order.index(b) for a, b in known["before"]))


@exercise
def check_order_reward(function: Callable) -> str:
    """Exercise: the reward of an order of tasks, `f(text, problem) -> 0.0 or 1.0`.

    The order comes after the last ####, separated by commas; `problem.answer` is JSON with all
    "tasks" and the pairs "before". Every order that has each task once and keeps all pairs earns 1.
    """
    other = Problem(
        "garden",
        "Dig before plant, plant before water; rake whenever you like.",
        json.dumps(
            {"tasks": ["water", "plant", "dig", "rake"], "before": [["dig", "plant"],
             ["plant", "water"]]}
        ),
    )  # fmt: skip
    cases = [
        (f"#### {', '.join(order)}", problem, _pays(list(order), problem), "")
        for problem in (LAUNDRY, other)
        for order in permutations(json.loads(problem.answer)["tasks"])
    ]
    right, wrong = "sort, wash, dry, fold", "sort, dry, wash, fold"
    cases += [
        ("#### fold, dry", LAUNDRY, 0.0, "tasks are missing; each task must be there once"),
        ("#### wash, fold", LAUNDRY, 0.0, "a task is missing, so its pairs are not kept"),
        ("####", LAUNDRY, 0.0, "an empty order breaks no pair, but its tasks are missing"),
        (f"#### dry, {right}", LAUNDRY, 0.0, "each task once: a repeated one is early and late"),
        (f"#### {right}, dry", LAUNDRY, 0.0, "each task once: a repeated one is early and late"),
        (f"#### {right}, rest", LAUNDRY, 0.0, "rest is not a task of this problem"),
        (f"#### {wrong}\n#### {right}", LAUNDRY, 1.0, "the last #### decides"),
        (
            f"#### {right}\n#### {wrong}",
            LAUNDRY,
            0.0,
            "the last #### decides, even if an earlier one is correct",
        ),
        (
            "#### wash, wash, dry, fold",
            LAUNDRY,
            0.0,
            "each task once: one is repeated and another is missing",
        ),
        ("#### wash, dry, fold, rest", LAUNDRY, 0.0, "rest is not a task of this problem"),
        (right, LAUNDRY, 0.0, "without #### there is no answer"),
        (f"First the sorting.\n#### {right}", LAUNDRY, 1.0, "the text before #### does not matter"),
    ]
    for text, problem, expected, hint in cases:
        call = f"f({text!r}, {problem.id})"
        number = number_of(answer_of(function, call, text, problem), call)
        if number != expected:
            plain = "each task is there and every pair kept" if expected else "a pair is broken"
            raise Wrong(f"{call} returned {number:g}, not {expected:g}; {hint or plain}")
    return "it accepts every order with each task once and each pair kept, and no other text"


@exercise
def check_held_out(function: Callable) -> str:
    """Exercise: hold out whole towns, `f(problems, share) -> (train, held_out)`.

    A town is `problem.answer`, which is all that the verifier knows. `share` is the share of the
    towns; the same towns must be held out whatever the order of the problems.
    """
    towns = [json.dumps({"goal": [3, 3], "closed": [number]}) for number in range(20)]
    problems = [
        Problem(f"walk-{name}-{number}", f"To the {name}? Closed: {number}.", town)
        for number, town in enumerate(towns)
        for name in ("bank", "park", "tower")
    ]
    shuffled = random.Random(1).sample(problems, len(problems))
    held_before = None
    for given, share in ((problems, 0.25), (shuffled, 0.25), (problems, 0.5)):
        call = f"f({len(problems)} problems, {share})"
        answer = answer_of(function, call, list(given), share)
        try:
            train, held = (list(side) for side in answer)
            kinds = {type(p) for p in train + held}
        except Exception:
            raise Wrong(f"{call} returned {shortened(answer)}, not (train, held_out)") from None
        if kinds - {Problem}:
            raise Wrong(f"{call} returned something other than problems")
        ids = sorted(p.id for p in train + held)
        if ids != sorted(p.id for p in problems):
            lost = len(problems) - len(set(ids))
            why = f"{lost} are missing" if lost else "some are there twice"
            raise Wrong(f"{call}: every problem must be on one side, but {why}")
        both = {p.answer for p in train} & {p.answer for p in held}
        if both:
            raise Wrong(
                f"{call}: {len(both)} of 20 towns are on both sides, so the test measures "
                "memory; draw towns, not problems"
            )
        count = len({p.answer for p in held})
        if count != round(20 * share):
            raise Wrong(
                f"{call} holds out {count} of 20 towns, not {round(20 * share)}; held_out is second"
            )
        if share == 0.25 and held_before not in (None, {p.answer for p in held}):
            raise Wrong(
                f"{call} holds out other towns if the same problems come in another order or the "
                "call is repeated; sort the towns, and draw with a fixed seed"
            )
        held_before = {p.answer for p in held}
    return "no town on both sides, no problem lost, and the same towns whatever the order"
