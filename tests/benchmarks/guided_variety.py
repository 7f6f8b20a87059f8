"""What target selection can choose from: do the right guided trajectories of a problem differ?

    python tests/benchmarks/guided_variety.py

The shipped student, before training; four guided samples on every fourth `train` problem.
Prints, of the problems with at least two right ones, the share in which all of them are one text,
and the share in which the reachable target is another text than the first right one.
"""

import argparse

import torch

from sgpo_mini.config import Config
from sgpo_mini.methods import choose_targets
from sgpo_mini.mini_gsm.pretraining import MAX_NEW_TOKENS
from sgpo_mini.mini_gsm.world import make_problems
from sgpo_mini.problems import numeric_reward
from sgpo_mini.rollout import rewards_of, sample
from sgpo_mini.student import load_student

GROUP, BATCH = 4, 20


@torch.no_grad()
def main() -> None:
    argparse.ArgumentParser(description=__doc__.splitlines()[0]).parse_args()
    student = load_student("tiny")
    problems = make_problems("train")[::4]
    torch.manual_seed(0)
    several = alike = moved = 0
    for start in range(0, len(problems), BATCH):
        some = problems[start : start + BATCH]
        autonomous = [student.prompt_ids(p.question) for p in some]
        guided = [student.prompt_ids(p.question, p.strategy) for p in some]
        drawn = sample(student, guided, GROUP, max_new_tokens=MAX_NEW_TOKENS)
        correct = rewards_of(drawn, some, numeric_reward) == 1
        targets = choose_targets(student, autonomous, drawn, correct, Config())
        for row, target in zip(targets.rows.tolist(), targets.texts, strict=True):
            group = range(row * GROUP, (row + 1) * GROUP)
            right = [drawn.texts[i] for i in group if correct[row, i - row * GROUP]]
            if len(right) > 1:
                several += 1
                alike += len(set(right)) == 1
                moved += target != right[0]
    print(
        f"{several} problems with several right guided trajectories: {alike / several:.1%} have "
        f"one text alone; in {moved / several:.1%} the reachable target is not the first text"
    )


if __name__ == "__main__":
    main()
