"""The checks of notebook 10: a reward that takes many answers, and a split that holds out towns."""

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
    """What an order of tasks should earn."""
    known = json.loads(problem.answer)
    if sorted(order) != sorted(known["tasks"]):
        return 0.0
    return float(all(order.index(a) < order.index(b) for a, b in known["before"]))


@exercise
def check_order_reward(function: Callable) -> str:
    """Exercise: the reward of an order of tasks, `f(text, problem) -> 0.0 or 1.0`.

    The order stands after the last ####, with commas between; `problem.answer` is JSON with all
    "tasks" and the pairs "before". Every order that has each task once and keeps all pairs is paid.
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
        ("#### fold, dry", LAUNDRY, 0.0, "tasks are left out, so no pair of them can be broken"),
        ("#### wash, fold", LAUNDRY, 0.0, "a pair with a task left out isn't kept"),
        ("####", LAUNDRY, 0.0, "an empty order has broken no pair, and done nothing"),
        (f"#### dry, {right}", LAUNDRY, 0.0, "each task once: a repeated one is early and late"),
        (f"#### {right}, dry", LAUNDRY, 0.0, "each task once: a repeated one is early and late"),
        (f"#### {right}, rest", LAUNDRY, 0.0, "rest is no task of this problem"),
        (f"#### {wrong}\n#### {right}", LAUNDRY, 1.0, "the last #### decides"),
        (f"#### {right}\n#### {wrong}", LAUNDRY, 0.0, "the last #### decides, not the best one"),
        (
            "#### wash, wash, dry, fold",
            LAUNDRY,
            0.0,
            "each task once: one twice hides one left out",
        ),
        ("#### wash, dry, fold, rest", LAUNDRY, 0.0, "rest is no task of this problem"),
        (right, LAUNDRY, 0.0, "without #### nothing is stated"),
        (f"First the sorting.\n#### {right}", LAUNDRY, 1.0, "what stands before #### is no matter"),
    ]
    for text, problem, expected, hint in cases:
        call = f"f({text!r}, {problem.id})"
        number = number_of(answer_of(function, call, text, problem), call)
        if number != expected:
            plain = "every pair is kept, and each task done" if expected else "a pair is broken"
            raise Wrong(f"{call} returned {number:g}, not {expected:g}; {hint or plain}")
    return "every order that does each task once and keeps each pair, and no other text"


@exercise
def check_held_out(function: Callable) -> str:
    """Exercise: hold out whole towns, `f(problems, share) -> (train, held_out)`.

    A town is all that the verifier knows, `problem.answer`. The share is that of the towns; the
    same problems are held out whatever the order they come in.
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
            raise Wrong(f"{call} gave back something else than problems")
        ids = sorted(p.id for p in train + held)
        if ids != sorted(p.id for p in problems):
            lost = len(problems) - len(set(ids))
            why = f"{lost} are lost" if lost else "some are there twice"
            raise Wrong(f"{call}: every problem is on one side, and here {why}")
        both = {p.answer for p in train} & {p.answer for p in held}
        if both:
            raise Wrong(
                f"{call}: {len(both)} of 20 towns are on both sides, so the student has met them; "
                "draw towns, not problems"
            )
        count = len({p.answer for p in held})
        if count != round(20 * share):
            raise Wrong(
                f"{call} holds out {count} of 20 towns, not {round(20 * share)}; held_out second"
            )
        if share == 0.25 and held_before not in (None, {p.answer for p in held}):
            raise Wrong(
                f"{call} holds out other towns when the same problems come in another order or a "
                "second time; sort the towns, and draw with a fixed seed"
            )
        held_before = {p.answer for p in held}
    return "no town on both sides, nothing lost, and the same towns whatever the order"
