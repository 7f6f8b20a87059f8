"""Can the exams of mini-GSM be passed, and what does a student know before it trains?

    python tests/benchmarks/ceilings.py --student FOLDER [--control] [--out FILE]

For each split, on draws with other numbers than its fixed problems: the rule reader, a random
fitting plan (chance), the student guided and unguided, and the student after SFT on the true
step-by-step solutions of the training chains (the ceiling), unguided. Unguided is greedy and, as
the mean probability of a right answer, avg@16 at temperature 1. Intervals are over families. In the
control world (`--control`) nothing can transfer, so SFT should gain nothing on the transfer splits.
"""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

import torch

from sgpo_mini.evaluation import Evaluation, evaluate
from sgpo_mini.mini_gsm.plans import fitting_plans
from sgpo_mini.mini_gsm.pretraining import MAX_NEW_TOKENS, over_families
from sgpo_mini.mini_gsm.reading import read_plan
from sgpo_mini.mini_gsm.world import TRANSFER_SPLITS, draw_problems, families_of, make_problems
from sgpo_mini.student import Student, load_student
from sgpo_mini.supervised import warm_up

EXAMS = ("validation", "reworded", *TRANSFER_SPLITS)  # `test` has validation's kind of chains
AIMS = {"composed": 0.8, "new_pairs": 0.8, "longer": 0.8, "unseen": 0.6}
BATCH_SIZE, LEARNING_RATE = 32, 3e-4


def by_rule(split: str, control: bool) -> dict[str, list[float]]:
    """The share of stories whose plan the rule reads, and that of a random plan that fits."""
    reader: dict[str, list[float]] = {}
    for problem in draw_problems(split, seed=1, control=control):
        right = float(read_plan(problem.question) == problem.plan)
        reader.setdefault(problem.family, []).append(right)
    families = families_of(split, control)
    chance = {f.name: [1 / len(fitting_plans(f.shape))] for f in families}
    return {"rule reader": over_families(reader), "chance": over_families(chance)}


def answers(student: Student, split: str, control: bool, **settings: object) -> Evaluation:
    problems = draw_problems(split, seed=1, control=control)
    return evaluate(student, problems, max_new_tokens=MAX_NEW_TOKENS, **settings)


def measured(student: Student, split: str, control: bool, samples: int) -> dict[str, list[float]]:
    """Unguided accuracy: greedy, and the mean of some samples a problem."""
    greedy = answers(student, split, control)
    sampled = answers(student, split, control, samples=samples, temperature=1.0)
    return {
        "unguided": over_families(greedy.by_family()),
        f"unguided avg@{samples}": over_families(sampled.by_family()),
    }


def main(arguments: Sequence[str] | None = None) -> dict:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--student", required=True, help="a folder with a pretrained student")
    parser.add_argument("--control", action="store_true", help="in the control world")
    parser.add_argument("--epochs", type=int, default=2, help="of SFT on the training chains")
    parser.add_argument("--samples", type=int, default=16, help="a problem, at temperature 1")
    parser.add_argument("--splits", nargs="+", choices=EXAMS, default=EXAMS)
    parser.add_argument("--out", default="", help="a JSON file for the numbers")
    options = parser.parse_args(arguments)
    control, samples = options.control, options.samples
    student = load_student(options.student, device="cpu")
    rows: dict[str, dict[str, list[float]]] = {}
    for split in options.splits:
        guided = answers(student, split, control, guided=True)
        rows[split] = by_rule(split, control) | {"guided": over_families(guided.by_family())}
        rows[split] |= measured(student, split, control, samples)
        print(split, json.dumps(rows[split]), flush=True)
    warm_up(
        student,
        make_problems("train", control),
        epochs=options.epochs,
        batch_size=BATCH_SIZE,
        learning_rate=LEARNING_RATE,
    )
    for split in options.splits:
        after = measured(student, split, control, samples)
        rows[split] |= {name.replace("unguided", "ceiling"): row for name, row in after.items()}
        aim = "" if control or split not in AIMS else f"aim {AIMS[split]:.0%}"
        print(split, json.dumps(after), aim, flush=True)
    settings = {"student": options.student, "control": control, "epochs": options.epochs}
    settings |= {"batch_size": BATCH_SIZE, "learning_rate": LEARNING_RATE}
    settings["threads"] = torch.get_num_threads()
    told = {"settings": settings, "splits": rows}
    if options.out:
        Path(options.out).write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")
    return told


if __name__ == "__main__":
    main()
