"""A student of mini-GSM that costs next to nothing: it knows every word and guesses the answer.

One layer, and completions of three tokens ("#### 12"), of which about one in thirty is right. Used
by the tests of what is run on mini-GSM, and by the processes that they start.
"""

import random
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path

import torch

from sgpo_mini.mini_gsm.pretraining import vocabulary_texts
from sgpo_mini.mini_gsm.stream import pretraining_stream
from sgpo_mini.problems import Problem
from sgpo_mini.student import Student, new_student, save_student
from sgpo_mini.supervised import pretrain


@cache
def quick_student() -> Student:
    """Shared by all tests of a session: train a copy."""
    torch.set_num_threads(1)
    student = new_student(vocabulary_texts(), layers=1, width=32)
    return pretrain(student, _guesses(), steps=150, batch_size=16, learning_rate=1e-2)


def _guesses() -> Iterator[Problem]:
    generator = random.Random(0)
    for problem in pretraining_stream(0):
        yield replace(problem, solution=f"#### {generator.randint(5, 24)}")


def save_quick_student(folder: Path) -> Path:
    save_student(quick_student(), folder)
    return folder
