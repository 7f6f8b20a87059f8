"""Strategies drawn from a teacher: which questions, which of its candidates, and the store.

The paper (arXiv:2606.24064) says what is done: a strong model answers each problem, from its answer
five candidate strategies are drawn, a second prompt scores each on four criteria, the best is kept.
It leaves open, and this is ours:
- the wording of the prompts, and the four criteria (1 to 5 each, their mean counts);
- an answer of the teacher that ends in a wrong number is asked for again, then the problem fails;
- a candidate that leaks, is not in English (the leak check reads no other language) or holds markup
  is never kept, so it is not scored; of equal scores the earlier candidate wins;
- a candidate whose scores can't be read twice, or whose scoring the teacher refuses, is left out;
  where that is so of all, the problem fails: none is kept without a score;
- a problem that the teacher refuses (too long for it) fails; where it refuses all, the run stops.
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
from .teacher_store import Outcome, Store, stage_of
from .teachers import LONGEST_REPLY, NotAccepted, Prompt, Reply, Teacher, open_teacher

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
    retry_failed: bool = False,
    temperature: float = 0.7,
    max_new_tokens: int = 2048,
) -> dict[str, Strategy]:
    """Draw a strategy for each problem from a teacher and keep them in the store `out`, by id.

    `teacher` is what `open_teacher` takes or gives. With `with_solutions` the teacher does not
    answer: the given (expert) solution is used. `parallel` problems are worked on side by side, one
    request each. Problems that the store has, or that failed before, are not asked again (with
    `retry_failed` the failed ones are, and a model run here draws anew): the same call goes on with
    a run that was stopped or killed. The module's text says what the paper leaves open. A bar is
    shown; `teacher_store.summary` tells what came of it.

    Raises ValueError for input that can't be used, a store that another run has included, and
    RuntimeError where the teacher is down or refuses every request; what is finished is in the
    store by then, and what was refused for that reason does not count as failed.
    Source: SGPO (arXiv:2606.24064), "Strategy extraction".
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
                if teacher.most_parallel == 1:  # a model in this process: Ctrl-C stops it at once
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
        """What `read` makes of the replies, by name; one that it refuses is asked for once more.

        A request that the teacher refuses gives nothing; NotAccepted where it refuses them all.
        """
        values: dict[str, Value] = {}
        refused: dict[str, NotAccepted] = {}
        for again in ("", ", again"):
            names = [name for name in asked if name not in values and name not in refused]
            if again:  # without chance the same reply would come again
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
            self.outcome.refuse(name, f"was refused: {error}", "")
        return {name: values[name] for name in asked if name in values}

    def _replies(self, asked: dict[str, Prompt], temperature: float) -> list[Reply | NotAccepted]:
        """A reply for each, those that the store remembers included."""
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
            except NotAccepted as error:  # in place of the next reply; an equal prompt fares alike
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
