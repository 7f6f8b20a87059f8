"""Finished runs of a comparison that are made up: which problems they solve is given by a rule."""

import json
from collections.abc import Callable
from pathlib import Path

from sgpo_mini.mini_gsm.world import DATA
from sgpo_mini.study.evaluations import answers_path
from sgpo_mini.study.rows import EVALUATED
from sgpo_mini.study.sampled import SAMPLES
from sgpo_mini.study.worlds import problems_in


def make_up(
    folder: Path, right: Callable[[int], bool], steps: int = 20, data: str = DATA, **logged
) -> None:
    """A finished run that solves the problems for which right(number in the split) is true.

    `logged` stands in every step of its log; without it the run has no log, as the base student.
    """
    for split in EVALUATED:
        problems = problems_in(data, split)
        solved = [bool(right(number)) for number, _ in enumerate(problems)]
        for guided in (False, True):
            path = answers_path(folder, split, guided)
            path.parent.mkdir(parents=True, exist_ok=True)
            rows = []
            for problem, is_right in zip(problems, solved, strict=True):
                row = {"id": problem.id, "correct": is_right, "truncated": False}
                row["completion"] = problem.solution if is_right else "#### 1"
                rows.append(json.dumps(row) + "\n")
            path.write_text("".join(rows), encoding="utf-8")
        sampled = {"right": [SAMPLES * is_right for is_right in solved]}
        sampled["true plan"] = [0.5 for _ in problems]
        path = folder / "answers" / f"{split}.json"
        path.write_text(json.dumps(sampled), encoding="utf-8")
    if logged:
        log = [{"step": step, **logged} for step in range(1, steps + 1)]
        times = [{"step": r["step"], "seconds": 0.5, "sampled_tokens": 100} for r in log]
        for name, made in (("metrics", log), ("timings", times)):
            (folder / f"{name}.jsonl").write_text(
                "".join(json.dumps(row) + "\n" for row in made), encoding="utf-8"
            )
    asked = {"config": {"early_stop": 0, "data": data}, "splits": EVALUATED, "weights": None}
    (folder / "evaluated.json").write_text(json.dumps({"asked": asked}), encoding="utf-8")
