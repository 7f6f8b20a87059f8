"""The settings of the tiny student, chosen on `validation`: four tries a method.

    python tests/benchmarks/choose_settings.py

Four learning rates for GRPO, and for SFT, LUFFY and HPT with each kind of given solution; for SGPO
two rates with two δ each. GRPO and SGPO once more on the hard chains. The seed is none of those
that are compared later. A try is judged by its greedy accuracy on `validation`; `test` and the
transfer splits stay closed. Prints one line a try and writes all to
sgpo_mini/results/settings.json.
"""

import argparse
import json
from pathlib import Path

from sgpo_mini.config import IMITATING, Config
from sgpo_mini.mini_gsm.pretraining import MAX_NEW_TOKENS, SFT_SETTINGS, STEPS_OF_TRAINING
from sgpo_mini.study.evaluations import mean, read_answers
from sgpo_mini.study.runs import compare
from sgpo_mini.study.sampled import SAMPLES
from sgpo_mini.support.files import read_json

RESULTS = Path(__file__).parents[2] / "sgpo_mini" / "results" / "settings.json"
RATES = (2e-4, 4e-4, 6e-4, 9e-4)
SGPO_RATES, DELTAS = (4e-4, 6e-4), (1.0, 4.0)
OWN_FORM, HARD = {"given_solution": "solution"}, {"split": "hard"}
VARIANTS: dict[str, dict] = {"grpo": {}, "grpo-hard": HARD, "sgpo": {}, "sgpo-hard": HARD}
IMITATIONS = {"sft": SFT_SETTINGS, "luffy": {}, "hpt": {}}
VARIANTS |= IMITATIONS | {f"{n}-own-form": IMITATIONS[n] | OWN_FORM for n in IMITATING}
GRID = [
    (name, rate, delta)
    for name in VARIANTS
    for rate in (SGPO_RATES if name.startswith("sgpo") else RATES)
    for delta in (DELTAS if name.startswith("sgpo") else (1.0,))
]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", default="runs/settings")
    parser.add_argument("--student", default="tiny")
    parser.add_argument("--seed", type=int, default=100)
    options = parser.parse_args()
    settings = {"steps": STEPS_OF_TRAINING, "max_new_tokens": MAX_NEW_TOKENS}
    settings["student"] = options.student
    configs = {
        f"{name}-{rate:g}-{delta:g}": Config(
            method=name.split("-")[0],
            learning_rate=rate,
            delta=delta,
            **settings | VARIANTS[name],
        )
        for name, rate, delta in GRID
    }
    compare(configs, [options.seed], options.out, ["validation"])
    rows = []
    for name, config in configs.items():
        folder = Path(options.out) / f"{name}-{options.seed}"
        row = {"method": config.method, "split": config.split}
        row["learning_rate"] = config.learning_rate
        row["delta"] = config.delta if config.method == "sgpo" else None
        row["given_solution"] = config.given_solution if config.method in IMITATING else None
        for guided in (False, True):
            answers = read_answers(folder, "validation", guided)
            row["guided" if guided else "unguided"] = round(answers.accuracy, 4)
        right = read_json(folder / "answers" / "validation.json", "remove the run")["right"]
        row[f"unguided avg@{SAMPLES}"] = round(mean(right) / SAMPLES, 4)
        rows.append(row)
        print(row, flush=True)
    result = {"command": "python tests/benchmarks/choose_settings.py", "seed": options.seed}
    result |= {"steps": STEPS_OF_TRAINING, "measured on": "validation", "tries": rows}
    RESULTS.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
