"""Controls: strategies that should not help. If they help too, the gain has another cause.

A control changes the problems before `train` or `evaluate` is called; both are unaware of it.
"""

import random
import re
from collections.abc import Callable, Sequence
from dataclasses import replace

from ..problems import Problem

# The words of a contentless strategy. Every student knows them, because every prompt has them.
FILLER = ("the", "problem", "step", "by", "step", "and", "the", "answer")

_LABEL = re.compile(r"(?i)\s*(?:problem type:|approach:|steps:|[-*•])?")
_WORD = re.compile(r"\w+|[^\w\s]")  # a punctuation mark is a token of a word-level tokenizer


def wrong_strategies(problems: Sequence[Problem], share: float, seed: int = 0) -> list[Problem]:
    """The problems; a share of them, drawn by the seed, gets the strategy of another family.

    Raises ValueError if the share is not in [0, 1] or no other family has a different strategy.
    """
    if not 0 <= share <= 1:
        raise ValueError(f"the share of wrong strategies must lie between 0 and 1, not {share}")
    number = round(share * len(problems))
    drawn = set(random.Random(f"wrong {seed}").sample(range(len(problems)), number))
    others = shuffled(problems, seed) if drawn else problems
    return [others[i] if i in drawn else problem for i, problem in enumerate(problems)]


def contentless_strategies(problems: Sequence[Problem]) -> list[Problem]:
    """The problems, each with a strategy of the same length that says nothing."""
    return [replace(problem, strategy=contentless(problem.strategy)) for problem in problems]


def half_of_the_strategies(problems: Sequence[Problem], seed: int = 0) -> list[Problem]:
    """The problems; those of half of the families, drawn by the seed, lose their strategy."""
    families = sorted({problem.family for problem in problems})
    without = set(random.Random(f"half {seed}").sample(families, len(families) // 2))
    return [replace(p, strategy="") if p.family in without else p for p in problems]


# The controls that the study's rows name: (problems, seed of the run) -> the problems to train on.
CONTROLS: dict[str, Callable[[Sequence[Problem], int], list[Problem]]] = {
    "shuffled": lambda problems, seed: wrong_strategies(problems, 1.0, seed),
    "wrong-25": lambda problems, seed: wrong_strategies(problems, 0.25, seed),
    "wrong-50": lambda problems, seed: wrong_strategies(problems, 0.5, seed),
    "contentless": lambda problems, seed: contentless_strategies(problems),
    "half": half_of_the_strategies,
}


def shuffled(problems: Sequence[Problem], seed: int = 0) -> list[Problem]:
    """The problems, each with a strategy drawn from another family and different from its own.

    A problem without a family counts as a family of its own. Raises ValueError if a problem can't
    be given a different strategy.
    """
    generator = random.Random(seed)

    def differs(other: Problem, problem: Problem) -> bool:
        same_family = problem.family and other.family == problem.family
        return not same_family and other.strategy != problem.strategy

    given = []
    for problem in problems:
        # Almost always one of 20 draws fits; comparing all pairs of a large data set takes minutes.
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
    """A text of the same form that says nothing: filler replaces every word except the labels.

    The numbers of lines, words and punctuation marks stay the same, so the number of tokens is
    about the same.
    """
    lines = []
    for line in strategy.split("\n"):
        label = _LABEL.match(line)[0]
        words = len(_WORD.findall(line[len(label) :]))
        filler = [FILLER[index % len(FILLER)] for index in range(words)]
        lines.append(" ".join([*([label] if label else []), *filler]))
    return "\n".join(lines)
