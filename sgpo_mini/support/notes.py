"""GSM8K's notes of the calculations in a solution, such as <<48/2=24>>."""

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import TypeVar

P = TypeVar("P")  # `Problem`, whose module stands on this one
NOTE = re.compile(r"<<[^<>\n]*>>")


def count_notes(solution: str) -> int:
    """How many calculations a solution notes."""
    return len(NOTE.findall(solution))


def without_notes(solution: str) -> str:
    """A solution without the notes of its calculations."""
    return NOTE.sub("", solution)


def solutions_to_learn(problems: Sequence[P], field: str, keep: bool) -> tuple[Sequence[P], bool]:
    """The problems, without notes in the given field unless `keep`; and whether any had notes."""
    noted = any(count_notes(getattr(problem, field)) for problem in problems)
    if noted and not keep:
        problems = [replace(p, **{field: without_notes(getattr(p, field))}) for p in problems]
    return problems, noted
