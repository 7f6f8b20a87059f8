"""What greedy accuracy hides: how probable a right answer and the true plan are."""

import json
from collections.abc import Sequence
from pathlib import Path

import torch

from ..evaluation import evaluate
from ..mini_gsm.pretraining import MAX_NEW_TOKENS
from ..problems import Problem
from ..rollout import given_rollouts, score
from ..student import Student
from ..support.files import write_whole

SAMPLES = 4  # a problem, at temperature 1, without strategy
AT_ONCE = 128  # solutions


def measure_sampled(student: Student, problems: Sequence[Problem], path: Path) -> dict[str, list]:
    """Measure the student without strategies and write the result to `path` as JSON.

    For each problem, "right" is how many of SAMPLES completions are right, and "true plan" the
    probability of the step-by-step solution, which is the true plan's only one.
    """
    settings = {"samples": SAMPLES, "temperature": 1.0, "max_new_tokens": MAX_NEW_TOKENS}
    correct = evaluate(student, problems, **settings).correct
    told = {
        "right": [sum(row) for row in correct],
        "true plan": [round(p, 5) for p in solution_probabilities(student, problems)],
    }
    write_whole(path, json.dumps(told) + "\n")
    return told


@torch.no_grad()
def solution_probabilities(student: Student, problems: Sequence[Problem]) -> list[float]:
    """The probability of each problem's own solution after the prompt without strategy, (P,)."""
    found = []
    for start in range(0, len(problems), AT_ONCE):
        part = problems[start : start + AT_ONCE]
        solutions = given_rollouts(student, [p.solution for p in part], list(range(len(part))))
        logps = score(student, [student.prompt_ids(p.question) for p in part], solutions)  # (P, T)
        found += logps.sum(dim=1).exp().tolist()
    return found
