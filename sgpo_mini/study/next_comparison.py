"""The comparison in the next world: which rows each student is trained by, and in which folder.

Three students are trained by GRPO and SGPO, on the training chains and on the hard ones, the first
also by every other row, and a student of the control world by GRPO and SGPO. Each student has one
folder of packed runs (`packed_runs`).
"""

from collections.abc import Sequence
from pathlib import Path

from .next_rows import EVALUATED, NEXT_ROWS, next_config
from .packed_runs import pack_run
from .runs import compare
from .worlds import CONTROL_WORLD, NEXT

COMPARED, HARD = ("grpo", "sgpo"), ("hard-grpo", "hard-sgpo")
EQUAL_TIME = "grpo-equal-time"


def run_students(out: str | Path, students: Sequence[str], seeds: Sequence[int]) -> None:
    """Train students 0, 1, ... in out/student-0, ...; finished runs are not repeated.

    Raises what `runs.compare` raises.
    """
    for number, student in enumerate(students):
        _run(Path(out) / f"student-{number}", (*COMPARED, *HARD), student, seeds)


def run_rows(out: str | Path, student: str, seeds: Sequence[int], rows: Sequence[str]) -> None:
    """Train student 0 by some rows of `NEXT_ROWS`, in out/student-0."""
    _run(Path(out) / "student-0", rows, student, seeds)


def run_control(out: str | Path, student: str, seeds: Sequence[int]) -> None:
    """Train the control world's student in out/control, where nothing can transfer."""
    _run(Path(out) / "control", COMPARED, student, seeds, CONTROL_WORLD)


def _run(
    out: Path, rows: Sequence[str], student: str, seeds: Sequence[int], data: str = NEXT
) -> None:
    compare(
        {name: next_config(name, student, data) for name in rows},
        seeds,
        out,
        EVALUATED,
        controls={name: NEXT_ROWS[name].control for name in rows},
        when_done=lambda run: pack_run(run, out),
    )
