"""Running many problems in parallel, and stopping when the teacher is down or rejects them all."""

import queue
import sys
import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from tqdm import tqdm

from ..problems import Problem
from .teacher_protocol import Unanswered
from .teacher_store import Outcome, Store

UNANSWERED_LIMIT = 3  # problems in a row without an answer: the teacher is down
# So many rejected problems in a row mean that the fault is in the command, not in the problems.
REFUSED_LIMIT = 5  # if the teacher has accepted no request of that stage so far
REFUSED_LATER_LIMIT = 20  # if it has


@dataclass
class Progress:
    """Collects the outcomes, and stops the run when no request can succeed.

    A rejected problem counts as failed as soon as the teacher accepts another request of the same
    stage. Until then the fault may be in the command.
    """

    store: Store
    bar: tqdm
    unanswered: list[Unanswered] = field(default_factory=list)  # in a row
    refused: dict[str, list[Outcome]] = field(default_factory=dict)  # in a row, by stage
    answered: Counter[str] = field(default_factory=Counter)  # replies by stage at the last outcome

    def take(self, result: Outcome | Unanswered) -> None:
        """Record a result; raises RuntimeError if the run should stop."""
        now = Counter(self.store.answered)
        for stage in self.refused:
            if now[stage] > self.answered[stage]:
                self._fail(stage)
        if now != self.answered:
            self.unanswered.clear()
        if isinstance(result, Unanswered):
            self.unanswered.append(result)
            if len(self.unanswered) == UNANSWERED_LIMIT:
                raise self._down()
        elif stage := result.refused_at:
            in_a_row = self.refused.setdefault(stage, [])
            in_a_row.append(result)
            if len(in_a_row) == (REFUSED_LATER_LIMIT if now[stage] else REFUSED_LIMIT):
                raise self._refuses(in_a_row)
        else:
            self.bar.update()
        self.answered = now

    def end(self) -> None:
        """Finish; raises RuntimeError if no request was answered or all were rejected."""
        for stage, in_a_row in self.refused.items():
            if self.store.answered[stage]:
                self._fail(stage)
            elif in_a_row:
                raise self._refuses(in_a_row)
        if self.unanswered and not self.store.answered:
            raise self._down()

    def _fail(self, stage: str) -> None:
        for outcome in self.refused[stage]:
            self.store.finish(outcome)
            self.bar.update()
        self.refused[stage].clear()

    def _down(self) -> RuntimeError:
        finished = len(self.store.kept | self.store.failures.keys())
        return RuntimeError(
            f"the teacher does not answer: {self.unanswered[-1]}; {finished} problems are finished "
            f"in {self.store.path}; run the same command later to continue"
        )

    def _refuses(self, in_a_row: list[Outcome]) -> RuntimeError:
        return RuntimeError(
            f"{in_a_row[-1].reason}; this happened with all of the last {len(in_a_row)} problems "
            "asked, and none of them counts as failed; correct the command (--max-new-tokens, "
            f"--teacher-model) and run it again to continue {self.store.path}"
        )


def side_by_side(
    work: Callable[[Problem], Outcome],
    problems: list[Problem],
    parallel: int,
    stopping: threading.Event,
    take: Callable[[Outcome | Unanswered], None],
) -> None:
    """Work on the problems in `parallel` threads; stops when `take` raises, or on Ctrl-C.

    Replies in progress are awaited and kept; a second Ctrl-C stops at once.
    """
    waiting, results = queue.SimpleQueue(), queue.SimpleQueue()
    for problem in problems:
        waiting.put(problem)

    def run() -> None:
        while not stopping.is_set():
            try:
                problem = waiting.get_nowait()
            except queue.Empty:
                return
            try:
                results.put(work(problem))
            except Unanswered as error:
                results.put(error)
            except BaseException as error:
                results.put(error)
                stopping.set()

    # Daemon threads, so that a second Ctrl-C need not wait for a silent server.
    threads = [threading.Thread(target=run, daemon=True) for _ in range(parallel)]
    for thread in threads:
        thread.start()
    try:
        for _ in problems:
            result = results.get()
            if isinstance(result, BaseException) and not isinstance(result, Unanswered):
                raise result
            take(result)
    except KeyboardInterrupt:
        print("\nwaiting for the replies in progress (Ctrl-C again stops at once)", file=sys.stderr)
        raise
    finally:
        stopping.set()
        for thread in threads:
            thread.join()
