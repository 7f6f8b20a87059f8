"""Train rows of the comparison, from one student or from several.

Three students are trained by GRPO and SGPO, on the training chains and on the hard ones, the first
also by every other row, and a student of the control world by GRPO and SGPO. Each student has one
folder of packed runs (`packed_runs`).
"""

from collections.abc import Sequence
from pathlib import Path

from ..mini_gsm.world import CONTROL, DATA
from .packed_runs import pack_run
from .rows import EVALUATED, ROWS, config_of
from .runs import compare

COMPARED, HARD = ("grpo", "sgpo"), ("hard-grpo", "hard-sgpo")
EQUAL_TIME = "grpo-equal-time"


def run_rows(
    out: Path,
    rows: Sequence[str],
    student: str,
    seeds: Sequence[int],
    steps: int | None = None,
    data: str = DATA,
) -> None:
    """Run rows of `rows.ROWS` that are not finished in out/NAME-SEED, and pack each finished run.

    `steps` replaces the number of steps of every row. Raises ValueError, before anything starts, if
    a row is unknown, and what `runs.compare` raises.
    """
    compare(
        {name: config_of(name, student, steps, data) for name in rows},
        seeds,
        out,
        EVALUATED,
        controls={name: ROWS[name].control for name in rows},
        when_done=lambda run: pack_run(run, out),
    )


def run_students(out: str | Path, students: Sequence[str], seeds: Sequence[int]) -> None:
    """Train students 0, 1, ... in out/student-0, ...; finished runs are not repeated.

    Raises what `runs.compare` raises.
    """
    for number, student in enumerate(students):
        run_rows(Path(out) / f"student-{number}", (*COMPARED, *HARD), student, seeds)


def run_control(out: str | Path, student: str, seeds: Sequence[int]) -> None:
    """Train the control world's student in out/control, where nothing can transfer."""
    run_rows(Path(out) / "control", COMPARED, student, seeds, data=CONTROL)
