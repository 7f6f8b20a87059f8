"""A step of either training loop: taken where it is finite, finished where Ctrl-C is pressed."""

import math
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from tqdm import tqdm

from ..student import Student

FAILURES_IN_A_ROW = 5


@contextmanager
def finishing_steps(out: str) -> Iterator[list[int]]:
    """Ctrl-C lets the step in progress be finished: the list that this yields is empty until then.

    The loop inside then has to stop; KeyboardInterrupt follows, which says how to go on with the
    run in `out`. A second Ctrl-C stops at once.
    """
    interrupts: list[int] = []

    def remember(number, frame):
        if interrupts:
            raise KeyboardInterrupt
        interrupts.append(number)
        print("\nfinishing this step, then stopping (Ctrl-C again: at once)", file=sys.stderr)

    try:
        before = signal.signal(signal.SIGINT, remember)
    except ValueError:  # not the main thread: Ctrl-C is somebody else's
        yield interrupts
        return
    try:
        yield interrupts
    finally:
        signal.signal(signal.SIGINT, before)
    if interrupts:
        how = f"go on with --resume --out {out}" if out else "nothing was saved (no --out)"
        raise KeyboardInterrupt(f"stopped; {how}")


def gradient_scaler(student: Student) -> torch.amp.GradScaler:
    """float16 overflows and underflows: the loss is scaled up until it overflows. Else idle."""
    half = student.compute_dtype == torch.float16
    return torch.amp.GradScaler(student.device.type, enabled=half)


def take_step(
    optimizer: torch.optim.Optimizer, scaler: torch.amp.GradScaler, loss: float, max_norm: float
) -> tuple[float, bool]:
    """Step on the gradient there is: (its norm before clipping, whether all was finite).

    Where loss or gradient is not finite, the weights stay as they are.
    """
    scaler.unscale_(optimizer)
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    norm = torch.nn.utils.clip_grad_norm_(parameters, max_norm).item()
    # A gradient that overflowed because of the scale is no failure: `step` leaves it out.
    finite = math.isfinite(norm) or scaler.get_scale() > 1
    finite = finite and math.isfinite(loss)
    if finite:
        scaler.step(optimizer)
    scaler.update()
    optimizer.zero_grad()
    return norm, finite


def count_step(state: dict, step: int, finite: bool) -> None:
    """Count in a run's state the steps that were left out; the first in a row is told."""
    state["skipped"] += not finite
    state["skipped_in_a_row"] = 0 if finite else state["skipped_in_a_row"] + 1
    if state["skipped_in_a_row"] == 1:
        told = f"step {step} is left out, because its loss or gradient is not finite"
        tqdm.write(told, file=sys.stderr)


def refuse_failures(state: dict) -> None:
    """Raise RuntimeError where five steps in a row were left out."""
    if state["skipped_in_a_row"] >= FAILURES_IN_A_ROW:
        raise RuntimeError(
            f"the loss or its gradient was not finite in {FAILURES_IN_A_ROW} steps in a row, so "
            "the run stopped; its checkpoints hold finite weights. Try a smaller learning rate "
            "(--learning-rate)"
        )
