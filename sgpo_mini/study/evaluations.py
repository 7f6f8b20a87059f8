"""The saved answers of a comparison's runs, and how hard each family is for the base student."""

from collections.abc import Sequence
from pathlib import Path

from ..evaluation import Evaluation
from ..mini_gsm.world import FAMILIES
from ..problems import Problem
from ..student import TINY_STUDENT
from ..support.files import read_json, read_rows
from .worlds import problems_in

HARD_LIMIT = 0.1  # in a hard family, the base student solves at most one problem in ten
SURE_AND_WRONG = {family.name for family in FAMILIES.values() if family.sure_and_wrong}


def validation_problems(data: str = "mini-gsm") -> list[Problem]:
    """The problems of `validation` that training measures: not the sure and wrong families."""
    return [p for p in problems_in(data, "validation") if p.family not in SURE_AND_WRONG]


def answers_path(folder: Path, split: str, guided: bool) -> Path:
    return folder / "answers" / f"{split}-{'guided' if guided else 'unguided'}.jsonl"


def read_answers(folder: Path, split: str, guided: bool, data: str = "mini-gsm") -> Evaluation:
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


def base_difficulty(student_name: str) -> dict[str, float]:
    """The base student's unguided accuracy on each family, from 16 samples on `validation`.

    Read from `measured.json`, which `pretrain` writes beside the student; ValueError if missing.
    """
    path = student_folder(student_name) / "measured.json"
    if not path.is_file():
        raise ValueError(
            f"{path} is missing; it holds this student's accuracy on each family: give --student "
            "tiny, or the folder of a student that `python -m sgpo_mini pretrain` made"
        )
    return read_json(path, "pretrain the student again")["unguided_by_family"]


def hard_families(student_name: str) -> set[str]:
    """The families that the base student solves at most one time in ten."""
    measured = base_difficulty(student_name)
    return {name for name, share in measured.items() if share <= HARD_LIMIT} - SURE_AND_WRONG


def values_of(evaluation: Evaluation, families: set[str]) -> list[float]:
    """The accuracies of the problems in some families."""
    pairs = zip(evaluation.problems, evaluation.accuracies, strict=True)
    return [accuracy for problem, accuracy in pairs if problem.family in families]


def mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
