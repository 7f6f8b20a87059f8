"""How many CPU threads a command should use on a machine that may do other work.

Threads that share a core with another process wait for each other, spinning: on two cores, one of
them busy, a step of the shipped student took 3.6 s in the median and up to 26 s with two threads,
and 0.5 s with one (`results/speed.md`).
"""

import os
import time
from pathlib import Path

import torch

_STAT = Path("/proc/stat")


def idle_threads(seconds: float = 0.3) -> int:
    """As many threads as torch would use, less one for each core that is busy now; at least one.

    Looks at the cores for some seconds. Where the system does not tell (it is not Linux), torch's
    number.
    """
    most = torch.get_num_threads()
    before = _times() if most > 1 else {}
    if not before:
        return most
    time.sleep(seconds)
    after = _times()
    busy = sum(_is_busy(before[core], after[core]) for core in before.keys() & after.keys())
    return max(1, min(most, len(before) - busy))


def _times() -> dict[int, tuple[int, int]]:
    """(idle, all) clock ticks of each core that this process may use; {} if they can't be read."""
    try:
        lines = _STAT.read_text(encoding="utf-8").split("\n")
        usable = os.sched_getaffinity(0)
    except (OSError, AttributeError):
        return {}
    found = {}
    for line in lines:
        name, *ticks = line.split() or [""]
        if name.startswith("cpu") and name[3:].isdigit() and int(name[3:]) in usable:
            numbers = [int(tick) for tick in ticks]
            found[int(name[3:])] = numbers[3] + numbers[4], sum(numbers[:8])
    return found


def _is_busy(before: tuple[int, int], after: tuple[int, int]) -> bool:
    """Whether a core was idle for less than half of the time."""
    idle, total = after[0] - before[0], after[1] - before[1]
    return total > 0 and idle < total / 2
