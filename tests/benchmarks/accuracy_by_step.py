"""Validation accuracy while training, over the seeds of a comparison, as a Markdown table.

    python tests/benchmarks/accuracy_by_step.py --runs runs/five --seeds 5

Means over seeds, and the difference paired by seed with its 95 % t interval. Also written to
sgpo_mini/results/five-seeds-by-step.json.
"""

import argparse
import json
from pathlib import Path

from sgpo_mini.study.evaluations import mean
from sgpo_mini.support.files import read_rows
from sgpo_mini.support.intervals import confidence_interval

RESULT = Path(__file__).parents[2] / "sgpo_mini" / "results" / "five-seeds-by-step.json"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", default="runs/five")
    parser.add_argument("--seeds", type=int, default=5)
    options = parser.parse_args()
    curves: dict[str, list[dict[int, float]]] = {"grpo": [], "sgpo": []}
    for method, runs in curves.items():
        for seed in range(options.seeds):
            rows = read_rows(Path(options.runs) / f"{method}-{seed}" / "metrics.jsonl")
            measured = [row for row in rows if "validation_accuracy" in row]
            runs.append({row["step"]: row["validation_accuracy"] for row in measured})
    table = ["| step | grpo | sgpo | sgpo - grpo |", "| --- | --- | --- | --- |"]
    result = []
    for step in curves["grpo"][0]:
        grpo, sgpo = ([run[step] for run in curves[method]] for method in ("grpo", "sgpo"))
        gaps = [after - before for before, after in zip(grpo, sgpo, strict=True)]
        low, high = confidence_interval(gaps, over="seeds")
        result.append({"step": step, "grpo": grpo, "sgpo": sgpo})
        table.append(
            f"| {step} | {mean(grpo) * 100:.1f} | {mean(sgpo) * 100:.1f} | "
            f"{mean(gaps) * 100:+.1f} ({low * 100:+.1f} to {high * 100:+.1f}) |"
        )
    print("\n".join(table))
    RESULT.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
