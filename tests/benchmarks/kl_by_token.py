"""Where in a solution the strategy shifts the student: how much of the KL its largest tokens hold.

    python tests/benchmarks/kl_by_token.py

The shipped student, before training; on every `validation` problem four guided samples, of the
right ones the reachable target, and its KL token by token, without δ. Writes, for each target, the
share of its KL that the largest tenth of its tokens holds (rounded up: 2 of 15) to
sgpo_mini/results/kl-by-token.json.
"""

import argparse
import json
import math
from pathlib import Path

import torch

from sgpo_mini.config import Config
from sgpo_mini.methods import choose_targets
from sgpo_mini.mini_gsm.pretraining import MAX_NEW_TOKENS
from sgpo_mini.mini_gsm.world import make_problems
from sgpo_mini.problems import numeric_reward
from sgpo_mini.rollout import rewards_of, sample, strategy_kl
from sgpo_mini.student import load_student
from sgpo_mini.support.intervals import confidence_interval

RESULTS = Path(__file__).parents[2] / "sgpo_mini" / "results" / "kl-by-token.json"
GROUP, BATCH = 4, 20


@torch.no_grad()
def main() -> None:
    argparse.ArgumentParser(description=__doc__.splitlines()[0]).parse_args()
    student = load_student("tiny")
    problems = make_problems("validation")
    torch.manual_seed(0)
    shares, largest = [], []
    for start in range(0, len(problems), BATCH):
        some = problems[start : start + BATCH]
        autonomous = [student.prompt_ids(p.question) for p in some]
        guided = [student.prompt_ids(p.question, p.strategy) for p in some]
        drawn = sample(student, guided, GROUP, max_new_tokens=MAX_NEW_TOKENS)
        correct = rewards_of(drawn, some, numeric_reward) == 1
        targets = choose_targets(student, autonomous, drawn, correct, Config())
        kl = strategy_kl(student, guided, autonomous, targets)  # (B, T)
        for row, length in zip(kl, targets.mask.sum(dim=1).long().tolist(), strict=True):
            ordered = row[:length].sort(descending=True).values
            few = math.ceil(length / 10)
            shares.append(round((ordered[:few].sum() / ordered.sum()).item(), 4))
            largest.append(ordered[0].item())
    mean, interval = sum(shares) / len(shares), confidence_interval(shares)
    above = sum(value > 1 for value in largest) / len(largest)
    print(
        f"{len(shares)} targets: the largest tenth of the tokens holds {mean:.1%} of the KL "
        f"({interval[0]:.1%} to {interval[1]:.1%}); {above:.1%} have a token above 1 nat"
    )
    result = {"command": "python tests/benchmarks/kl_by_token.py", "share": shares}
    RESULTS.write_text(
        json.dumps(result | {"with_a_token_above_1_nat": round(above, 4)}) + "\n", encoding="utf-8"
    )


if __name__ == "__main__":
    main()
