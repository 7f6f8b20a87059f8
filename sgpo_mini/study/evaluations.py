"""The saved answers of a comparison's runs."""

from collections.abc import Sequence
from pathlib import Path

from ..evaluation import Evaluation
from ..mini_gsm.world import DATA
from ..student import TINY_STUDENT
from ..support.files import read_rows
from .worlds import problems_in


def answers_path(folder: Path, split: str, guided: bool) -> Path:
    return folder / "answers" / f"{split}-{'guided' if guided else 'unguided'}.jsonl"


def read_answers(folder: Path, split: str, guided: bool, data: str = DATA) -> Evaluation:
    """The evaluation that a run saved; ValueError if its ids are not those of the split."""
    path = answers_path(folder, split, guided)
    rows, problems = read_rows(path), problems_in(data, split)
    if [row["id"] for row in rows] != [problem.id for problem in problems]:
        raise ValueError(f"{path} holds answers to other problems: run again with another --out")
    return Evaluation(
        problems=problems,
        completions=tuple((row["completion"],) for row in rows),
        correct=tuple((row["correct"],) for row in rows),
        truncated=tuple((row["truncated"],) for row in rows),
        guided=guided,
    )


def student_folder(name: str) -> Path:
    """The folder of a local student."""
    return TINY_STUDENT if name == "tiny" else Path(name)


def mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
