"""Does SGPO learn as well through TRL as in our loop? 60 steps on mini-GSM, several seeds of each.

    python tests/benchmarks/scale_learning.py

Needs the extra `scale`. Each run ends with the accuracy on `validation`: greedy, and the mean of
four samples at temperature 1. TRL's accuracy is asked to lie within the seed-to-seed spread of
ours: no further from our mean than the 95 % prediction interval of one more seed, t · s ·
sqrt(1 + 1/n). Writes sgpo_mini/results/scale-learning.json after every run and goes on with what
the file has.
"""

import argparse
import json
import math
import statistics
import tempfile
from pathlib import Path

import torch
from trl import __version__ as TRL_VERSION

from sgpo_mini.config import Config
from sgpo_mini.evaluation import evaluate
from sgpo_mini.mini_gsm.pretraining import MAX_NEW_TOKENS, settings_for
from sgpo_mini.mini_gsm.world import make_problems
from sgpo_mini.scale.train import main as trl_main
from sgpo_mini.student import load_student
from sgpo_mini.support.intervals import _T_QUANTILES
from sgpo_mini.training import train

RESULTS = Path(__file__).parents[2] / "sgpo_mini" / "results" / "scale-learning.json"
STEPS, OURS, THEIRS = 60, 5, 2


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--seeds", type=int, nargs=2, default=[OURS, THEIRS], help="ours, TRL's")
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args()
    torch.set_num_threads(1)
    results = {"command": "python tests/benchmarks/scale_learning.py", "steps": options.steps}
    results |= {"versions": {"trl": TRL_VERSION, "torch": torch.__version__}}
    results |= {"start": {}, "ours": {}, "trl": {}}
    if options.out.exists():
        results |= json.loads(options.out.read_text(encoding="utf-8"))
    if not results["start"]:
        results["start"] = measured("tiny")
    ours, theirs = options.seeds
    for seed in range(max(ours, theirs)):
        for side, runs, run in (("trl", theirs, run_trl), ("ours", ours, run_ours)):
            if seed < runs and str(seed) not in results[side]:
                with tempfile.TemporaryDirectory() as folder:
                    run(seed, options.steps, folder)
                    results[side][str(seed)] = measured(f"{folder}/student")
                options.out.write_text(
                    json.dumps(results | verdict(results), indent=1) + "\n", encoding="utf-8"
                )
                print(side, seed, results[side][str(seed)], flush=True)
    print(json.dumps(verdict(results), indent=1))


def run_ours(seed: int, steps: int, folder: str) -> None:
    settings = settings_for("mini-gsm", "sgpo") | {"steps": steps, "seed": seed, "out": folder}
    train(load_student("tiny"), list(make_problems("train")), Config(**settings))


def run_trl(seed: int, steps: int, folder: str) -> None:
    arguments = ["--steps", steps, "--seed", seed, "--threads", 1, "--out", folder]
    if trl_main([str(argument) for argument in arguments]):
        raise SystemExit("the run through TRL was refused")


def measured(student: str) -> dict[str, float]:
    """The accuracy on `validation`, greedy and sampled."""
    student, problems = load_student(student), make_problems("validation")
    how = {"greedy": {}, "sampled": {"samples": 4, "temperature": 1.0}}
    return {
        name: round(evaluate(student, problems, max_new_tokens=MAX_NEW_TOKENS, **more).accuracy, 4)
        for name, more in how.items()
    }


def verdict(results: dict) -> dict:
    """For each way to measure: our mean and spread, where one more seed would lie, where TRL's."""
    told = {}
    for name in ("greedy", "sampled"):
        ours = [run[name] for run in results["ours"].values()]
        theirs = [run[name] for run in results["trl"].values()]
        if len(ours) < 2 or not theirs:
            continue
        mean, deviation = statistics.mean(ours), statistics.stdev(ours)
        width = _T_QUANTILES[len(ours) - 2] * deviation * math.sqrt(1 + 1 / len(ours))
        told[name] = {
            "ours": [round(value, 4) for value in (mean, deviation)],
            "one_more_seed": [round(value, 4) for value in (mean - width, mean + width)],
            "trl": theirs,
            "within": all(abs(value - mean) <= width for value in theirs),
        }
    return {"verdict": told}


if __name__ == "__main__":
    main()
