"""Are the first steps of committed runs still the same, bit for bit?

    python tests/benchmarks/first_steps.py [--steps 10] [ROW ...]

trains each row of the committed comparison (default: sgpo and grpo, seed 0, one thread) for
some steps and compares the log with the committed one, field by field. Another processor may round
differently; on the machine that made the runs every number is equal.
"""

import argparse
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

from sgpo_mini import load_student, make_problems, train
from sgpo_mini.strategy_sources.controls import CONTROLS
from sgpo_mini.study.packed_runs import read_packed
from sgpo_mini.study.rows import ROWS, config_of
from sgpo_mini.support.files import read_rows

COMMITTED = Path(__file__).parents[2] / "sgpo_mini" / "results" / "comparison" / "student-0"


def differences(row: str, steps: int) -> list[str]:
    """What differs in the first steps of a row's run with seed 0: "step 3: kl 0.1 -> 0.2"."""
    problems = make_problems("train")
    if control := ROWS[row].control:
        problems = CONTROLS[control](problems, 0)
    with TemporaryDirectory() as folder:
        config = replace(config_of(row, steps=steps), threads=1, out=folder, evaluate_every=0)
        train(load_student("tiny", device="cpu"), problems, replace(config, early_stop=0))
        now = read_rows(Path(folder) / "metrics.jsonl")
    committed = read_packed(COMMITTED, f"{row}-0").metrics[:steps]
    return [
        f"step {then['step']}: {name} {value!r} -> {after.get(name)!r}"
        for then, after in zip(committed, now, strict=True)
        for name, value in then.items()
        if name != "validation_accuracy" and after.get(name) != value
    ]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("rows", nargs="*", default=["sgpo", "grpo"])
    parser.add_argument("--steps", type=int, default=10)
    options = parser.parse_args()
    for row in options.rows:
        found = differences(row, options.steps)
        print(f"{row}: {options.steps} steps, {len(found)} numbers differ", *found[:5], sep="\n  ")
