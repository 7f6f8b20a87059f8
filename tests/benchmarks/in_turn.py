"""Two processes that work in turn: one piece of work a request, answered with what it cost.

Both sides of `against_trl.py` import this file, so it imports nothing outside the standard library.
"""

import json
import os
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class Stopwatch:
    def __init__(self):
        self.seconds = defaultdict(lambda: [0.0, 0.0])  # part of the work -> wall and CPU time

    @contextmanager
    def measured(self, part: str) -> Iterator[None]:
        """Add what happens inside to a part's wall and CPU time (of all threads)."""
        wall, cpu = time.perf_counter(), time.process_time()
        yield
        times = self.seconds[part]
        times[0] += time.perf_counter() - wall
        times[1] += time.process_time() - cpu


class Worker(Stopwatch):
    """The worker's end. What libraries print goes to standard error and disturbs no answer."""

    def __init__(self):
        super().__init__()
        self._answers = os.fdopen(os.dup(1), "w")
        os.dup2(2, 1)
        self.job = json.loads(sys.stdin.readline())

    def requests(self) -> Iterator[dict]:
        for line in sys.stdin:
            self.seconds.clear()
            yield json.loads(line)

    def answer(self, **values) -> None:
        answer = {"seconds": dict(self.seconds), **memory(), **values}
        print(json.dumps(answer), file=self._answers, flush=True)


def memory() -> dict[str, int]:
    """Resident bytes now and at their peak since `forget_peak`. Linux alone.

    getrusage's ru_maxrss won't do: a child begins with its parent's.
    """
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    lines = dict(line.split(":", 1) for line in status.splitlines())
    sizes = {"memory": "VmRSS", "peak_memory": "VmHWM"}
    return {name: 1024 * int(lines[key].split()[0]) for name, key in sizes.items()}


def forget_peak() -> None:
    Path("/proc/self/clear_refs").write_text("5", encoding="utf-8")


class Process:
    """The other end: starts a worker, asks it, waits for its answer."""

    def __init__(self, python: str, script: Path, job: dict, environment: dict[str, str]):
        pipe = subprocess.PIPE
        self._command = [python, str(script)]
        environment = os.environ | environment
        self._process = subprocess.Popen(
            self._command, stdin=pipe, stdout=pipe, text=True, env=environment, encoding="utf-8"
        )
        self._send(job)

    def ask(self, **request) -> dict:
        self._send(request)
        return self.answer()

    def _send(self, request: dict) -> None:
        print(json.dumps(request), file=self._process.stdin, flush=True)

    def answer(self) -> dict:
        """What it has to say; once it has started, what it tells about itself."""
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"a worker has died: {' '.join(self._command)}")
        return json.loads(line)

    def __enter__(self) -> "Process":
        return self

    def __exit__(self, *error) -> None:
        self._process.stdin.close()
        self._process.wait()
