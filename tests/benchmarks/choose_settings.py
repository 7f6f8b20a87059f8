"""The settings of mini-GSM's tiny student, chosen on `validation`: four tries for each method.

    python tests/benchmarks/choose_settings.py --out runs/settings

Four learning rates for GRPO, and for SFT, LUFFY and HPT with each kind of given solution; for SGPO
two rates with two δ each. The seed (or several) is none of those that are compared later. Prints
one line a try and writes all to sgpo_mini/results/settings.json. `test` and the transfer splits
stay closed.
"""

import argparse
import json
from pathlib import Path

from sgpo_mini.config import IMITATING
from sgpo_mini.mini_gsm.pretraining import MAX_NEW_TOKENS, SFT_SETTINGS, STEPS_OF_TRAINING
from sgpo_mini.mini_gsm.world import make_problems
from sgpo_mini.study.evaluations import SURE_AND_WRONG, hard_families, mean, read_answers, values_of
from sgpo_mini.study.runs import compare
from sgpo_mini.training import Config

RESULTS = Path(__file__).parents[2] / "sgpo_mini" / "results" / "settings.json"
RATES = (1e-4, 1.5e-4, 2e-4, 3e-4)
OWN_FORM = {"given_solution": "solution"}
VARIANTS = {"grpo": {}, "sft": SFT_SETTINGS, "luffy": {}, "hpt": {}}
VARIANTS |= {f"{name}-own-form": VARIANTS[name] | OWN_FORM for name in IMITATING}
GRID = [(name, rate, 1.0) for name in VARIANTS for rate in RATES]
GRID += [("sgpo", rate, delta) for rate in (1e-4, 2e-4) for delta in (1.0, 4.0)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", default="runs/settings")
    parser.add_argument("--seeds", type=int, nargs="+", default=[100])
    parser.add_argument("--steps", type=int, default=STEPS_OF_TRAINING)
    options = parser.parse_args()
    configs = {
        f"{name}-{rate:g}-{delta:g}": Config(
            method=name.removesuffix("-own-form"),
            learning_rate=rate,
            delta=delta,
            steps=options.steps,
            max_new_tokens=MAX_NEW_TOKENS,
            **VARIANTS.get(name, {}),
        )
        for name, rate, delta in GRID
    }
    compare(configs, options.seeds, options.out, ["validation"])
    fair = {problem.family for problem in make_problems("validation")} - SURE_AND_WRONG
    hard = hard_families("tiny")
    rows = []
    for name, config in configs.items():
        row = {"method": config.method, "learning_rate": config.learning_rate}
        row["delta"] = config.delta if config.method == "sgpo" else None
        row["given_solution"] = config.given_solution if config.method in IMITATING else None
        for guided in (False, True):
            prompt = "guided" if guided else "unguided"
            for families, ending in ((fair, ""), (hard, "_hard")):
                row[prompt + ending] = [
                    round(mean(values_of(read_answers(folder, "validation", guided), families)), 4)
                    for folder in (Path(options.out) / f"{name}-{seed}" for seed in options.seeds)
                ]
        rows.append(row)
        print(row, flush=True)
    result = {"command": "python tests/benchmarks/choose_settings.py", "seeds": options.seeds}
    result |= {"steps": options.steps, "split": "validation", "tries": rows}
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
