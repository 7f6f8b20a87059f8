"""Unguided accuracy on `test` by family, over the seeds of a comparison, as a Markdown table.

    python tests/benchmarks/accuracy_by_family.py --runs runs/five --seeds 5

Beside each family how many plans fit it. Means over seeds, and the difference paired by seed with
its 95 % t interval; then the same over families in which every quantity counts. Also written to
sgpo_mini/results/five-seeds-by-family.json.
"""

import argparse
import json
from pathlib import Path

from sgpo_mini.mini_gsm.plans import fitting_plans, true_plan
from sgpo_mini.mini_gsm.world import FAMILIES
from sgpo_mini.study.evaluations import SURE_AND_WRONG, hard_families, mean, read_answers
from sgpo_mini.support.intervals import confidence_interval

RESULT = Path(__file__).parents[2] / "sgpo_mini" / "results" / "five-seeds-by-family.json"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", default="runs/five")
    parser.add_argument("--seeds", type=int, default=5)
    options = parser.parse_args()
    runs = {
        name: [_by_family(Path(options.runs) / folder) for folder in folders]
        for name, folders in {
            "base": ["base"],
            "grpo": [f"grpo-{seed}" for seed in range(options.seeds)],
            "sgpo": [f"sgpo-{seed}" for seed in range(options.seeds)],
        }.items()
    }
    table = ["| family | plans that fit | base | grpo | sgpo | sgpo - grpo |", "| --- " * 6 + "|"]
    result = {}
    for family in runs["base"][0]:
        base, grpo, sgpo = ([run[family] for run in runs[name]] for name in runs)
        gaps = [after - before for before, after in zip(grpo, sgpo, strict=True)]
        low, high = confidence_interval(gaps, over="seeds")
        result[family] = {"base": base[0], "grpo": grpo, "sgpo": sgpo}
        cells = [f"`{family}`", str(len(fitting_plans(FAMILIES[family])))]
        cells += [f"{mean(values) * 100:.0f}" for values in (base, grpo, sgpo)]
        cells += [f"{mean(gaps) * 100:+.0f} ({low * 100:+.0f} to {high * 100:+.0f})"]
        table.append("| " + " | ".join(cells) + " |")
    print("\n".join(table))
    ignoring = {n for n, f in FAMILIES.items() if len(true_plan(f)) < len(f.clauses)}
    groups = {"fair families in which every quantity counts": set(result) - SURE_AND_WRONG}
    groups["hard families in which every quantity counts"] = hard_families("tiny")
    for title, families in groups.items():
        gaps = [
            mean([result[f]["sgpo"][i] - result[f]["grpo"][i] for f in families - ignoring])
            for i in range(options.seeds)
        ]
        low, high = confidence_interval(gaps, over="seeds")
        count = len(families - ignoring)
        print(f"{count} {title}: {mean(gaps) * 100:+.1f} ({low * 100:+.1f} to {high * 100:+.1f})")
    RESULT.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


def _by_family(folder: Path) -> dict[str, float]:
    families = read_answers(folder, "test", guided=False).by_family()
    return {name: mean(values) for name, values in families.items()}


if __name__ == "__main__":
    main()
