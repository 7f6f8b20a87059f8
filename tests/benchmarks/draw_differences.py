"""Draw the committed differences between SGPO and GRPO over seeds: five-seeds.png.

python tests/benchmarks/draw_differences.py
"""

import json
from pathlib import Path

from sgpo_mini import plots

RESULTS = Path(__file__).parents[2] / "sgpo_mini" / "results"


def main() -> None:
    rows = json.loads((RESULTS / "five-seeds.json").read_text(encoding="utf-8"))
    differences = {
        f"{row['label']}, {'guided' if row['guided'] else 'unguided'}": row["per_seed"]
        for row in rows
        if not row["guided"] and "sure" not in row["label"]
    }
    plots.save(plots.seed_differences(differences), RESULTS / "five-seeds.png")


if __name__ == "__main__":
    main()
