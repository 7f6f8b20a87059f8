"""Strategies drawn from a teacher: which questions, which of its candidates, and the store.

The paper (arXiv:2606.24064) says what is done: a strong model answers each problem, from its answer
five candidate strategies are drawn, a second prompt scores each on four criteria, the best is kept.
It leaves open, and this is ours:
- the wording of the prompts, and the four criteria (1 to 5 each, their mean counts);
- an answer of the teacher that ends in a wrong number is asked for again, then the problem fails;
- a candidate that leaks, is not in English (the leak check reads no other language) or holds markup
  is never kept, so it is not scored; of equal scores the earlier candidate wins.
"""

import os
import queue
import sys
import threading
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from tqdm import tqdm

from .problems import Problem
from .strategies import Strategy, leaks, load_strategies
from .teacher_prompts import (
    drawing_prompt,
    read_scores,
    read_solution,
    read_strategy,
    scoring_prompt,
    solving_prompt,
)
from .teacher_store import Outcome, Store
from .teachers import LONGEST_REPLY, NotAccepted, Prompt, Reply, Teacher, Unanswered, open_teacher

UNANSWERED_LIMIT = 3  # problems in a row without any answer: the teacher is down

Value = TypeVar("Value")


class _Stopped(Exception):
    """The run is being stopped: this problem stays where it is."""


def extract_strategies(
    problems: Sequence[Problem],
    teacher: Teacher | str,
    out: str | os.PathLike[str],
    *,
    candidates: int = 5,
    parallel: int = 8,
    with_solutions: bool = False,
    temperature: float = 0.7,
    max_new_tokens: int = 2048,
) -> dict[str, Strategy]:
    """Draw a strategy for each problem from a teacher and keep them in the store `out`, by id.

    `teacher` is what `open_teacher` takes or gives. With `with_solutions` the teacher does not
    answer: the given (expert) solution is used. `parallel` problems are worked on side by side, one
    request each. Problems that the store has, or that failed before, are not asked again: the same
    call goes on with a run that was stopped or killed. The module's text says what the paper leaves
    open. A bar is shown; `teacher_store.summary` tells what came of it.

    Raises ValueError for input that can't be used, RuntimeError where the teacher is down or
    refuses; what is finished is in the store by then. Source: SGPO (arXiv:2606.24064), "Strategy
    extraction".
    """
    problems = list(problems)
    _check(problems, candidates, parallel, with_solutions)
    store = Store(Path(out))
    todo = [problem for problem in problems if problem.id not in store.finished]
    if todo:
        teacher = open_teacher(teacher) if isinstance(teacher, str) else teacher
        stopping = threading.Event()

        def pause(seconds: float) -> None:
            if stopping.wait(seconds):
                raise _Stopped

        def work(problem: Problem) -> None:
            outcome = Outcome(problem.id, teacher.name)
            questions = _Questions(store, teacher, temperature, max_new_tokens, pause, outcome)
            _extract(problem, questions, candidates, with_solutions)
            store.finish(outcome)

        with tqdm(total=len(problems), initial=len(problems) - len(todo), desc="strategies") as bar:
            if teacher.most_parallel == 1:  # a model in this process: Ctrl-C stops it at once
                for problem in todo:
                    work(problem)
                    bar.update()
            else:
                parallel = min(parallel, teacher.most_parallel)
                _side_by_side(work, todo, parallel, stopping, store, bar)
    found = load_strategies(out) if store.path.exists() and store.path.stat().st_size else {}
    return {problem.id: found[problem.id] for problem in problems if problem.id in found}


def _check(problems: list[Problem], candidates: int, parallel: int, with_solutions: bool) -> None:
    if candidates < 1 or parallel < 1:
        told = f"{candidates} and {parallel}"
        raise ValueError(f"candidates and parallel must be at least 1, not {told}")
    if not problems:
        raise ValueError("there are no problems to draw strategies for")
    name, times = Counter(problem.id for problem in problems).most_common(1)[0]
    if times > 1:
        raise ValueError(f"the id {name!r} is that of {times} problems; make ids unique")
    without = [p.id for p in problems if not (p.expert_solution or p.solution).strip()]
    if with_solutions and without:
        raise ValueError(
            f"{len(without)} problems, such as {without[0]!r}, have no solution to draw from; let "
            "the teacher answer them"
        )


# One problem.


@dataclass
class _Questions:
    """What is asked about one problem: every reply goes to the store and into the outcome."""

    store: Store
    teacher: Teacher
    temperature: float
    max_new_tokens: int
    pause: Callable[[float], None]
    outcome: Outcome

    def ask(
        self, asked: dict[str, Prompt], read: Callable[[str], Value], temperature: float
    ) -> dict[str, Value]:
        """What `read` makes of the replies, by name; one that it refuses is asked for once more."""
        values: dict[str, Value] = {}
        for again in ("", ", again"):
            names = [name for name in asked if name not in values]
            prompts = {name + again: asked[name] for name in names}
            if again:  # without chance the same reply would come again
                temperature = temperature or self.temperature
            for name, reply in zip(names, self._replies(prompts, temperature), strict=True):
                try:
                    if len(reply.text) > LONGEST_REPLY:
                        raise ValueError(f"is longer than {LONGEST_REPLY} characters")
                    if reply.cut:
                        raise ValueError("was cut off at the limit of --max-new-tokens")
                    values[name] = read(reply.text)
                except ValueError as error:
                    if again:
                        self.outcome.refuse(name, str(error), reply.text)
        return {name: values[name] for name in asked if name in values}

    def _replies(self, asked: dict[str, Prompt], temperature: float) -> Iterator[Reply]:
        known = self.store.replies_to(self.outcome.id)
        missing = {name: prompt for name, prompt in asked.items() if name not in known}
        if missing:
            new = self.teacher.replies(
                list(missing.values()),
                temperature=temperature,
                max_new_tokens=self.max_new_tokens,
                seed=zlib.crc32(f"{self.outcome.id} {next(iter(missing))}".encode()),
                pause=self.pause,
            )
            for name, reply in zip(missing, new, strict=True):
                known[name] = reply
                self.store.remember(self.outcome.id, name, reply)
        for name in asked:
            self.outcome.requests += 1
            self.outcome.tokens += known[name].tokens
            yield known[name]


def _extract(
    problem: Problem, questions: _Questions, candidates: int, with_solutions: bool
) -> None:
    """The paper's stages for one problem; what came of them is in `questions.outcome`."""
    outcome = questions.outcome
    try:
        solution = problem.expert_solution or problem.solution
        if not with_solutions:
            solution = questions.ask(
                {"solution": solving_prompt(problem)},
                lambda text: read_solution(text, problem),
                questions.temperature,
            ).get("solution", "")
            if not solution:
                outcome.reason = f"the teacher's solution {outcome.replies[-1]['reason']}"
                return
        names = [f"candidate {number}" for number in range(1, candidates + 1)]
        prompts = dict.fromkeys(names, drawing_prompt(problem, solution))
        drawn = questions.ask(prompts, read_strategy, questions.temperature)
        sound: dict[str, Strategy] = {}
        for name, strategy in drawn.items():
            if given_away := leaks(strategy, problem):
                outcome.leaks += 1
                outcome.refuse(name, f"leaks {', '.join(given_away)[:80]}", strategy.text)
            elif strategy not in sound.values():
                sound[name] = strategy
        prompts = {
            f"scores of {name}": scoring_prompt(problem, solution, strategy)
            for name, strategy in sound.items()
        }
        scores = questions.ask(prompts, read_scores, 0.0) if prompts else {}
    except NotAccepted as error:
        outcome.reason = str(error)
        return
    if scores:
        best = max(scores, key=lambda name: scores[name])  # the earliest of the best
        outcome.strategy = sound[best.removeprefix("scores of ")]
        outcome.score = scores[best]
    elif sound:
        outcome.reason = f"no scores could be read: the last {outcome.replies[-1]['reason']}"
    elif drawn:
        outcome.reason = f"no candidate is free of leaks: the last {outcome.replies[-1]['reason']}"
    else:
        outcome.reason = f"no candidate could be read: the last {outcome.replies[-1]['reason']}"


# Many problems.


def _side_by_side(
    work: Callable[[Problem], None],
    problems: list[Problem],
    parallel: int,
    stopping: threading.Event,
    store: Store,
    bar: tqdm,
) -> None:
    """Work on the problems in `parallel` threads; stops where the teacher is down, or on Ctrl-C.

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
    in_a_row, answered_before, last = 0, 0, None
    try:
        for _ in problems:
            result = results.get()
            if isinstance(result, Unanswered):
                in_a_row = in_a_row + 1 if store.answered == answered_before else 1
                answered_before, last = store.answered, result
                if in_a_row == UNANSWERED_LIMIT:
                    break
            elif isinstance(result, BaseException):
                raise result
            else:
                bar.update()
    except KeyboardInterrupt:
        print("\nwaiting for the replies under way (Ctrl-C again: at once)", file=sys.stderr)
        raise
    finally:
        stopping.set()
        for thread in threads:
            thread.join()
    if last and (in_a_row == UNANSWERED_LIMIT or not store.answered):
        raise RuntimeError(
            f"the teacher does not answer: {last}; {len(store.finished)} problems are finished in "
            f"{store.path}, and the same command goes on with the others"
        )
