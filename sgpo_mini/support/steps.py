"""A step of either training loop: skipped if not finite, finished on Ctrl-C, and timed."""

import math
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from tqdm import tqdm

from ..student import Student

FAILURES_IN_A_ROW = 5


@contextmanager
def finishing_steps(out: str) -> Iterator[list[int]]:
    """Delay Ctrl-C until the step in progress is finished; yields a list that is empty until then.

    The loop inside must stop when the list is not empty. KeyboardInterrupt follows and says how to
    resume the run in `out`. A second Ctrl-C stops at once.
    """
    interrupts: list[int] = []

    def remember(number, frame):
        if interrupts:
            raise KeyboardInterrupt
        interrupts.append(number)
        print("\nfinishing this step, then stopping (Ctrl-C again: at once)", file=sys.stderr)

    try:
        before = signal.signal(signal.SIGINT, remember)
    except ValueError:  # only the main thread can handle Ctrl-C
        yield interrupts
        return
    try:
        yield interrupts
    finally:
        signal.signal(signal.SIGINT, before)
    if interrupts:
        how = f"continue with --resume --out {out}" if out else "nothing was saved (no --out)"
        raise KeyboardInterrupt(f"stopped; {how}")


def gradient_scaler(student: Student) -> torch.amp.GradScaler:
    """Scales the loss in float16, where small gradients underflow; otherwise does nothing."""
    half = student.compute_dtype == torch.float16
    return torch.amp.GradScaler(student.device.type, enabled=half)


def take_step(
    optimizer: torch.optim.Optimizer, scaler: torch.amp.GradScaler, loss: float, max_norm: float
) -> tuple[float, bool]:
    """Apply the accumulated gradient: (its norm before clipping, whether all was finite).

    If the loss or gradient is not finite, the weights stay unchanged.
    """
    scaler.unscale_(optimizer)
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    norm = torch.nn.utils.clip_grad_norm_(parameters, max_norm).item()
    # A gradient that overflows because of the scale is no failure: `scaler.step` skips it.
    finite = math.isfinite(norm) or scaler.get_scale() > 1
    finite = finite and math.isfinite(loss)
    if finite:
        scaler.step(optimizer)
    scaler.update()
    optimizer.zero_grad()
    return norm, finite


def count_step(state: dict, step: int, finite: bool) -> None:
    """Count skipped steps in a run's state; reports the first in a row."""
    state["skipped"] += not finite
    state["skipped_in_a_row"] = 0 if finite else state["skipped_in_a_row"] + 1
    if state["skipped_in_a_row"] == 1:
        told = f"step {step} is skipped: its loss or gradient is not finite"
        tqdm.write(told, file=sys.stderr)


def refuse_failures(state: dict) -> None:
    """Raise RuntimeError if five steps in a row were skipped."""
    if state["skipped_in_a_row"] >= FAILURES_IN_A_ROW:
        raise RuntimeError(
            f"the loss or its gradient was not finite in {FAILURES_IN_A_ROW} steps in a row, so "
            "the run stopped; its checkpoints hold finite weights. Try a smaller learning rate "
            "(--learning-rate)"
        )


def timings_of(begin: float, sampled: float, tokens: int, device: torch.device) -> dict:
    """A row of `timings.jsonl`: seconds, sampled tokens and peak memory in bytes.

    The step began at `begin` and finished sampling at `sampled`, both from `time.perf_counter`.
    """
    now = time.perf_counter()
    timings = {"seconds": now - begin, "rollout_seconds": sampled - begin}
    timings |= {"update_seconds": now - sampled, "sampled_tokens": tokens}
    timings["sampled_tokens_per_second"] = tokens / (sampled - begin)
    timings["peak_memory_bytes"] = _peak_memory(device)
    return timings


def _peak_memory(device: torch.device) -> int | None:
    """The GPU's peak, else the process's; None on Windows, which doesn't report it."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    try:
        import resource
    except ImportError:
        return None
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
