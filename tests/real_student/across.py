"""SGPO beside GRPO over the seeds of several studies, each with a warm-up of its own.

    python tests/real_student/across.py sgpo_mini/results/real-student*/

Prints a table: greedy accuracy on `test` alone and with the strategy, and right rollouts without a
strategy in the last quarter of training. In per cent; the last line has the mean of SGPO - GRPO
over all seeds with its 95 % interval (Student's t). Runs that are not complete are left out.
"""

import json
import sys
from pathlib import Path

from tables import (
    ORDER,
    by_problem,
    complete_logs,
    estimate,
    is_there,
    part_of,
    right_until,
    table,
)

from sgpo_mini.study.evaluations import mean

MEASURES = ("alone", "guided", "training")
PROMPTS = {"alone": "unguided", "guided": "guided"}


def across(studies: list[Path]) -> str:
    head, rows, gaps = ["study", "seed"], [], {name: [] for name in MEASURES}
    for name in MEASURES:
        before = ["warm"] if name in PROMPTS else []
        head += [f"{name}: {who}" for who in (*before, *ORDER[:2], "sgpo - grpo")]
    for study in studies:
        settings = json.loads((study / "settings.json").read_text(encoding="utf-8"))
        for seed in settings["seeds"]:
            values = {name: values_of(study, seed, name, settings["steps"]) for name in MEASURES}
            if any(values.values()):
                cells = [study.name, seed]
                for name, found in values.items():
                    empty = [""] * (4 if name in PROMPTS else 3)
                    gap = [found[-1] - found[-2]] if found else []
                    gaps[name] += gap
                    cells += [f"{100 * value:.1f}" for value in (*found, *gap)] or empty
                rows.append(cells)
    last = ["mean", ""]
    for name, found in gaps.items():
        told = estimate(found, "seeds") if found else ""
        last += [""] * (3 if name in PROMPTS else 2) + [told]
    return table(head, [*rows, last])


def values_of(study: Path, seed: int, name: str, steps: int) -> list[float]:
    """The warm student's (not in training), GRPO's and SGPO's value; nothing where one lacks."""
    if name in PROMPTS:
        whose = ("warm", *(f"{method}-{seed}" for method in ORDER[:2]))
        paths = [study / f"answers/{who}-greedy/{PROMPTS[name]}.jsonl" for who in whose]
        if not all(map(is_there, paths)):
            return []
        return [mean([mean(row) for row in by_problem(path).values()]) for path in paths]
    logs = complete_logs(study, seed, steps)
    return [right_until(log, steps, part_of(steps)) for log in logs]


if __name__ == "__main__":
    print(across(list(map(Path, sys.argv[1:]))))
