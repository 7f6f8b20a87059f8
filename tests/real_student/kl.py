"""The KL by token of right guided completions: where does a strategy speak, what would δ mask?

A stage of run.py. Samples a group of guided completions for each validation problem; of the right
ones it takes SGPO's target, and its KL token by token, without δ. Writes counts, shares and three
targets with the KL of each token to a JSON file.
"""

import argparse
import json
import math
from itertools import pairwise
from pathlib import Path

import torch

from sgpo_mini.config import Config
from sgpo_mini.methods import choose_targets
from sgpo_mini.problems import load_gsm8k, numeric_reward
from sgpo_mini.rollout import rewards_of, sample, strategy_kl
from sgpo_mini.strategies import load_strategies, with_strategies
from sgpo_mini.student import load_student

EDGES = (0.0, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, math.inf)  # nats
BATCH, STRIPS = 8, 3


@torch.no_grad()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--student", required=True)
    parser.add_argument("--strategies", required=True)
    parser.add_argument("--temperature", type=float, required=True)
    parser.add_argument("--calculations", type=int, required=True)
    parser.add_argument("--limit", type=int, required=True)
    parser.add_argument("--max-new-tokens", type=int, required=True)
    parser.add_argument("--group", type=int, required=True)
    parser.add_argument("--dtype", default="auto")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    problems = load_gsm8k("validation", calculations=options.calculations)
    problems = with_strategies(problems, load_strategies(options.strategies))
    problems = [problem for problem in problems if problem.strategy][: options.limit]
    student = load_student(options.student, dtype=options.dtype)
    config = Config(temperature=options.temperature)
    values, tenths, strips = [], [], []
    several = alike = moved = right = 0
    for start in range(0, len(problems), BATCH):
        some = problems[start : start + BATCH]
        autonomous = [student.prompt_ids(p.question) for p in some]
        guided = [student.prompt_ids(p.question, p.strategy) for p in some]
        settings = {"max_new_tokens": options.max_new_tokens, "temperature": options.temperature}
        drawn = sample(student, guided, options.group, **settings)
        correct = rewards_of(drawn, some, numeric_reward) == 1
        right += int(correct.sum())
        targets = choose_targets(student, autonomous, drawn, correct, config)
        if targets is None:
            continue
        kl = strategy_kl(student, guided, autonomous, targets)  # (B, T)
        lengths = targets.mask.sum(dim=1).long().tolist()
        for i, (row, length) in enumerate(zip(targets.rows.tolist(), lengths, strict=True)):
            one = kl[i, :length].tolist()
            values += one
            few = sorted(one, reverse=True)[: math.ceil(length / 10)]
            tenths.append(sum(few) / max(sum(one), 1e-9))
            pieces = [student.tokenizer.decode([t]) for t in targets.tokens[i, :length].tolist()]
            strip = zip(pieces, one, strict=True)
            strips.append([[piece, round(value, 3)] for piece, value in strip])
            group = range(row * options.group, (row + 1) * options.group)
            texts = [drawn.texts[j] for j in group if correct[row, j - group.start]]
            if len(texts) > 1:
                several += 1
                alike += len(set(texts)) == 1
                moved += targets.texts[i] != texts[0]
    counts = [sum(a <= v < b for v in values) for a, b in pairwise(EDGES)]
    result = {
        "problems": len(problems),
        "right": right,
        "targets": len(tenths),
        "tokens": len(values),
        "edges": EDGES[:-1],
        "counts": counts,
        "above_1": sum(v > 1 for v in values) / max(len(values), 1),
        "kl_above_1": sum(v for v in values if v > 1) / max(sum(values), 1e-9),
        "largest_tenth": sum(tenths) / max(len(tenths), 1),
        "several_right": several,
        "one_text": alike,
        "target_not_first": moved,
        "strips": strips[:STRIPS],
    }
    text = json.dumps(result, ensure_ascii=False)
    options.out.write_text(text + "\n", encoding="utf-8")
    print({name: value for name, value in result.items() if name != "strips"})


if __name__ == "__main__":
    main()
