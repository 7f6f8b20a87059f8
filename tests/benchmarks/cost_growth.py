"""How the cost of our step grows with problems, rollouts, completion length and vocabulary.

    python tests/benchmarks/cost_growth.py

SGPO's step with the shipped student's shape, one size changed at a time. Lengths are forced and
every second completion is right, so that nothing can be left out; and equal completions are not
computed once, for how many there are depends on the student. CPU time of one thread, which is what
the step takes on an idle machine. Writes sgpo_mini/results/cost-growth.json and .png;
`--draw` draws the committed numbers again.
"""

import argparse
import json
from pathlib import Path

import torch
from against_trl import machine
from in_turn import Stopwatch
from our_worker import a_step, as_if_finished, compute_equals_again
from transformers import Qwen2Config, Qwen2ForCausalLM

from sgpo_mini import methods, plots
from sgpo_mini.config import Config
from sgpo_mini.mini_gsm.world import make_problems
from sgpo_mini.student import Student, load_student
from sgpo_mini.training import batch_of_step

RESULTS = Path(__file__).parents[2] / "sgpo_mini" / "results" / "cost-growth.json"
USUAL = {"problems a step": 8, "rollouts a problem": 12, "tokens a completion": 24}
USUAL |= {"tokens in the vocabulary": 499}
VALUES = {
    "problems a step": (2, 4, 8, 16),
    "rollouts a problem": (6, 12, 24, 48),
    "tokens a completion": (8, 16, 32, 64),
    "tokens in the vocabulary": (499, 5_000, 30_000, 152_000),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--draw", action="store_true")
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args()
    if options.draw:
        costs = json.loads(options.out.read_text(encoding="utf-8"))["costs"]
    else:
        torch.set_num_threads(1)
        methods.sample = as_if_finished(methods.sample)
        compute_equals_again()
        costs = {
            size: grown([{**USUAL, size: value} for value in VALUES[size]], size, options.rounds)
            for size in VALUES
        }
        result = {"command": "python tests/benchmarks/cost_growth.py", "usual": USUAL}
        result["machine"] = machine()
        result |= {"clock": "CPU seconds of one thread", "costs": costs}
        options.out.write_text(json.dumps(result) + "\n", encoding="utf-8")
    figure = plots.cost_growth(costs, "seconds of one thread")
    plots.save(figure, options.out.with_suffix(".png"), dpi=200)


def grown(steps: list[dict], size: str, rounds: int) -> dict[str, list]:
    """{"rollout", "update": [(value of the size, CPU seconds of every round)]}"""
    costs = {"rollout": [], "update": []}
    for step in steps:
        watch, seconds = Stopwatch(), {"rollout": [], "update": []}
        do = prepared(step, watch)
        for _ in range(rounds + 1):
            watch.seconds.clear()
            do()
            whole, rollout = (watch.seconds[part][1] for part in ("step", "rollout"))
            seconds["rollout"].append(round(rollout, 4))
            seconds["update"].append(round(whole - rollout, 4))
        for part in costs:
            costs[part].append((step[size], seconds[part][1:]))  # the first was warm-up
        print(step, {part: min(row[1:]) for part, row in seconds.items()}, flush=True)
    return costs


def prepared(step: dict, watch: Stopwatch):
    student = a_student(step["tokens in the vocabulary"])
    problems = batch_of_step(make_problems("train"), step["problems a step"], seed=0, step=0)
    guided = step["rollouts a problem"] // 3  # the paper's 8 and 4
    config = Config(
        autonomous_rollouts=step["rollouts a problem"] - guided,
        guided_rollouts=guided,
        max_new_tokens=step["tokens a completion"],
        learning_rate=1e-12,  # the same student in every round
    )
    do = a_step(watch, student, config)
    return lambda: do(problems)


def a_student(vocabulary: int) -> Student:
    """The shipped student, or its shape with random weights and another vocabulary."""
    student = load_student("tiny")
    if vocabulary != USUAL["tokens in the vocabulary"]:
        settings = student.model.config.to_dict() | {"vocab_size": vocabulary}
        torch.manual_seed(0)
        student.model = Qwen2ForCausalLM(Qwen2Config(**settings)).eval()
    student.stop_ids = (vocabulary,)  # no token: every completion runs to the limit
    return student


if __name__ == "__main__":
    main()
