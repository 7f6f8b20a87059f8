"""Many problems side by side, and when to stop: where the teacher is down, or refuses them all."""

import queue
import sys
import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from tqdm import tqdm

from ..problems import Problem
from .teacher_store import Outcome, Store
from .teachers import Unanswered

UNANSWERED_LIMIT = 3  # problems in a row without any answer: the teacher is down
# Problems in a row that are refused: it is the command that the teacher refuses, not the problems.
REFUSED_LIMIT = 5  # where it has accepted nothing of the kind
REFUSED_LATER_LIMIT = 20


@dataclass
class Progress:
    """What came of one problem after another, and when to stop: where no request can succeed.

    A refused problem has failed once the teacher accepts another request of that stage; until then
    it may be the command that is refused.
    """

    store: Store
    bar: tqdm
    unanswered: list[Unanswered] = field(default_factory=list)  # in a row
    refused: dict[str, list[Outcome]] = field(default_factory=dict)  # in a row, by stage
    answered: Counter[str] = field(default_factory=Counter)  # when the last of those came

    def take(self, result: Outcome | Unanswered) -> None:
        """Note a result; raises RuntimeError where there is no sense in going on."""
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
        """All are through; raises RuntimeError where none was answered, or all were refused."""
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
            f"in {self.store.path}, and the same command goes on with the others"
        )

    def _refuses(self, in_a_row: list[Outcome]) -> RuntimeError:
        return RuntimeError(
            f"{in_a_row[-1].reason}, and so for all of the last {len(in_a_row)} problems asked; "
            "none of them counts as failed: correct the command (--max-new-tokens, "
            f"--teacher-model), and it goes on with {self.store.path}"
        )


def side_by_side(
    work: Callable[[Problem], Outcome],
    problems: list[Problem],
    parallel: int,
    stopping: threading.Event,
    take: Callable[[Outcome | Unanswered], None],
) -> None:
    """Work on the problems in `parallel` threads; stops where `take` raises, or on Ctrl-C.

    Replies that are under way are waited for and kept; a second Ctrl-C leaves at once.
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

    # Daemons: a second Ctrl-C need not wait for a server that is silent.
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
        print("\nwaiting for the replies under way (Ctrl-C again: at once)", file=sys.stderr)
        raise
    finally:
        stopping.set()
        for thread in threads:
            thread.join()
