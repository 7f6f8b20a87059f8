"""Strategies that should not help: a gain that they give too is not the strategies' gain.

A control changes the problems before `train` or `evaluate` is called; neither knows of it.
"""

import random
import re
from collections.abc import Callable, Sequence
from dataclasses import replace

from ..problems import Problem

# The words of the contentless text. Every student knows them: they are in every prompt.
FILLER = ("the", "problem", "step", "by", "step", "and", "the", "answer")

_LABEL = re.compile(r"(?i)\s*(?:problem type:|approach:|steps:|[-*•])?")
_WORD = re.compile(r"\w+|[^\w\s]")  # marks too: to a word-level tokenizer they are tokens


def wrong_strategies(problems: Sequence[Problem], share: float, seed: int = 0) -> list[Problem]:
    """The problems, of which a share, drawn by the seed, has another family's strategy.

    Raises ValueError where there is no other strategy to give, or the share is not in [0, 1].
    """
    if not 0 <= share <= 1:
        raise ValueError(f"the share of wrong strategies must lie between 0 and 1, not {share}")
    number = round(share * len(problems))
    drawn = set(random.Random(f"wrong {seed}").sample(range(len(problems)), number))
    others = shuffled(problems, seed) if drawn else problems
    return [others[i] if i in drawn else problem for i, problem in enumerate(problems)]


def contentless_strategies(problems: Sequence[Problem]) -> list[Problem]:
    """The problems, each with a strategy of equal length that says nothing."""
    return [replace(problem, strategy=contentless(problem.strategy)) for problem in problems]


# The controls that the study's rows name: (problems, seed of the run) -> the problems to train on.
CONTROLS: dict[str, Callable[[Sequence[Problem], int], list[Problem]]] = {
    "shuffled": lambda problems, seed: wrong_strategies(problems, 1.0, seed),
    "wrong-25": lambda problems, seed: wrong_strategies(problems, 0.25, seed),
    "wrong-50": lambda problems, seed: wrong_strategies(problems, 0.5, seed),
    "contentless": lambda problems, seed: contentless_strategies(problems),
}


def shuffled(problems: Sequence[Problem], seed: int = 0) -> list[Problem]:
    """The problems, each with a strategy that differs from its own, drawn from another family.

    A problem without a family counts as a family of its own. Raises ValueError where there is no
    other strategy to give.
    """
    generator = random.Random(seed)

    def differs(other: Problem, problem: Problem) -> bool:
        same_family = problem.family and other.family == problem.family
        return not same_family and other.strategy != problem.strategy

    given = []
    for problem in problems:
        # Most draws fit; looking at all pairs of a big data set would take minutes.
        drawn = generator.choices(problems, k=20)
        other = next((other for other in drawn if differs(other, problem)), None)
        if other is None:
            others = [other for other in problems if differs(other, problem)]
            if not others:
                raise ValueError(
                    f"no other family has a strategy that differs from that of {problem.id!r}, so "
                    "there is no control; measure on problems of several kinds"
                )
            other = generator.choice(others)
        given.append(replace(problem, strategy=other.strategy))
    return given


def contentless(strategy: str) -> str:
    """A text of the same form that says nothing: every word but the labels is replaced by filler.

    The number of lines, and of words and marks, stays: so does, about, that of tokens.
    """
    lines = []
    for line in strategy.split("\n"):
        label = _LABEL.match(line)[0]
        words = len(_WORD.findall(line[len(label) :]))
        filler = [FILLER[index % len(FILLER)] for index in range(words)]
        lines.append(" ".join([*([label] if label else []), *filler]))
    return "\n".join(lines)
