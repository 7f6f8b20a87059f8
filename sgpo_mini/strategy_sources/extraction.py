"""Strategies drawn from a teacher: what it is asked, and which of its candidates is kept.

The paper (arXiv:2606.24064) gives the procedure: a strong model solves each problem, five candidate
strategies are drawn from its solution, a second prompt scores each on four criteria, and the best
one is kept. The paper leaves the following open; these are our choices:
- the wording of the prompts, and the four criteria (1 to 5 each; the mean decides);
- if the teacher's solution ends in a wrong number, it is asked for once more, then the problem
  fails;
- a candidate that leaks, has markup, or is not in English (the leak check reads only English) is
  dropped before scoring; of two equal scores the earlier candidate wins;
- a candidate is dropped if its scores can't be read in two tries or the teacher rejects the scoring
  request; if no candidate is left, the problem fails, because none is kept without a score;
- a problem whose requests the teacher rejects (too long) fails; if it rejects all, the run stops.
"""

import os
import threading
import zlib
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from tqdm import tqdm

from ..problems import Problem
from ..strategies import Strategy, leaks, load_strategies
from ..support.files import locked
from .extraction_run import Progress, side_by_side
from .teacher_prompts import (
    drawing_prompt,
    read_scores,
    read_solution,
    read_strategy,
    scoring_prompt,
    solving_prompt,
)
from .teacher_protocol import LONGEST_REPLY, NotAccepted, Prompt, Reply, Teacher
from .teacher_store import Outcome, Store, stage_of
from .teachers import open_teacher

Value = TypeVar("Value")


class _Stopped(Exception):
    """The run is stopping: this problem is left unfinished."""


def extract_strategies(
    problems: Sequence[Problem],
    teacher: Teacher | str,
    out: str | os.PathLike[str],
    *,
    candidates: int = 5,
    parallel: int = 8,
    with_solutions: bool = False,
    retry_failed: bool = False,
    temperature: float = 0.7,
    max_new_tokens: int = 2048,
) -> dict[str, Strategy]:
    """Draw a strategy for each problem from a teacher and keep them in the file `out`, by id.

    `teacher` is a name for `open_teacher` or a Teacher. With `with_solutions` the teacher need not
    solve the problems: the given expert solution (else the solution) is used. Up to `parallel`
    problems are processed at once, with one request each. Problems that are finished or failed
    before are skipped, so the same call resumes a run that was stopped or killed. With
    `retry_failed` the failed ones are tried again, and a local model then samples new replies. A
    progress bar is shown; `teacher_store.summary` reports the outcome.

    Raises ValueError for invalid input and for a store that another run is using, RuntimeError if
    the teacher is down or rejects every request. Finished problems are in the store by then, and
    problems rejected for that reason don't count as failed.
    Source: SGPO (arXiv:2606.24064), "Strategy extraction"; the choices in this module's docstring.
    """
    problems, out = list(problems), Path(out)
    _check(problems, out, candidates, parallel, with_solutions)
    with locked(out.with_suffix(".lock"), out):
        store = Store(out)
        finished = store.kept if retry_failed else store.kept | store.failures.keys()
        todo = [problem for problem in problems if problem.id not in finished]
        if todo:
            teacher = open_teacher(teacher) if isinstance(teacher, str) else teacher
            stopping = threading.Event()

            def pause(seconds: float) -> None:
                if stopping.wait(seconds):
                    raise _Stopped

            def work(problem: Problem) -> Outcome:
                outcome = Outcome(problem.id, teacher.name)
                questions = _Questions(store, teacher, temperature, max_new_tokens, pause, outcome)
                _extract(problem, questions, candidates, with_solutions)
                if not outcome.refused_at:
                    store.finish(outcome)
                return outcome

            done = len(problems) - len(todo)
            with tqdm(total=len(problems), initial=done, desc="strategies") as bar:
                progress = Progress(store, bar)
                if teacher.most_parallel == 1:  # no threads, so that Ctrl-C stops it at once
                    for problem in todo:
                        progress.take(work(problem))
                else:
                    parallel = min(parallel, teacher.most_parallel)
                    side_by_side(work, todo, parallel, stopping, progress.take)
                progress.end()
    found = load_strategies(out) if out.exists() and out.stat().st_size else {}
    return {problem.id: found[problem.id] for problem in problems if problem.id in found}


def _check(
    problems: list[Problem], out: Path, candidates: int, parallel: int, with_solutions: bool
) -> None:
    if out.suffix != ".jsonl":
        raise ValueError(f"the store must be a file that ends in .jsonl, not {str(out)!r}")
    if candidates < 1 or parallel < 1:
        told = f"{candidates} and {parallel}"
        raise ValueError(f"candidates and parallel must be at least 1, not {told}")
    if not problems:
        raise ValueError("there are no problems to draw strategies for; give at least one")
    name, times = Counter(problem.id for problem in problems).most_common(1)[0]
    if times > 1:
        raise ValueError(f"{times} problems have the id {name!r}; make the ids unique")
    without = [p.id for p in problems if not (p.expert_solution or p.solution).strip()]
    if with_solutions and without:
        raise ValueError(
            f"{len(without)} problems, such as {without[0]!r}, have no solution to draw from; add "
            "their solutions, or let the teacher solve the problems (without --with-solutions)"
        )


# One problem.


@dataclass
class _Questions:
    """Asks the teacher about one problem; records every reply in the store and the outcome."""

    store: Store
    teacher: Teacher
    temperature: float
    max_new_tokens: int
    pause: Callable[[float], None]
    outcome: Outcome

    def ask(
        self, asked: dict[str, Prompt], read: Callable[[str], Value], temperature: float
    ) -> dict[str, Value]:
        """The replies parsed by `read`, by name; one that it can't read is asked for once more.

        A request that the teacher rejects has no value. Raises NotAccepted if it rejects all.
        """
        values: dict[str, Value] = {}
        refused: dict[str, NotAccepted] = {}
        for again in ("", ", again"):
            names = [name for name in asked if name not in values and name not in refused]
            if again:  # at temperature 0 the same reply would come again
                temperature = temperature or self.temperature
            replies = self._replies({name + again: asked[name] for name in names}, temperature)
            for name, reply in zip(names, replies, strict=True):
                if isinstance(reply, NotAccepted):
                    refused[name] = reply
                    continue
                try:
                    if len(reply.text) > LONGEST_REPLY:
                        raise ValueError(f"is longer than {LONGEST_REPLY} characters")
                    if reply.cut:
                        raise ValueError("was cut off at the limit of --max-new-tokens")
                    values[name] = read(reply.text)
                except ValueError as error:
                    if again:
                        self.outcome.refuse(name, str(error), reply.text)
        if len(refused) == len(asked):
            self.outcome.refused_at = stage_of(next(iter(asked)))
            raise next(iter(refused.values()))
        for name, error in refused.items():
            self.outcome.refuse(name, f"was rejected: {error}", "")
        return {name: values[name] for name in asked if name in values}

    def _replies(self, asked: dict[str, Prompt], temperature: float) -> list[Reply | NotAccepted]:
        """A reply for each prompt, from the store if it has one, else from the teacher."""
        known: dict[str, Reply | NotAccepted] = self.store.replies_to(self.outcome.id)
        while missing := [name for name in asked if name not in known]:
            attempt = self.store.failures[self.outcome.id]
            drawn_by = f"{self.outcome.id} {missing[0]}" + (f" {attempt}" if attempt else "")
            new = self.teacher.replies(
                [asked[name] for name in missing],
                temperature=temperature,
                max_new_tokens=self.max_new_tokens,
                seed=zlib.crc32(drawn_by.encode()),
                pause=self.pause,
            )
            try:
                for name, reply in zip(missing, new, strict=True):
                    known[name] = reply
                    self.store.remember(self.outcome.id, name, reply)
            except NotAccepted as error:  # in place of the next reply; it holds for equal prompts
                prompt = asked[next(name for name in missing if name not in known)]
                known |= {n: error for n in missing if n not in known and asked[n] == prompt}
        replies = [known[name] for name in asked]
        came = [reply for reply in replies if isinstance(reply, Reply)]
        self.outcome.requests += len(came)
        self.outcome.tokens += sum(reply.tokens for reply in came)
        return replies


def _extract(
    problem: Problem, questions: _Questions, candidates: int, with_solutions: bool
) -> None:
    """The paper's stages for one problem: solve, draw, score; fills in `questions.outcome`."""
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
