"""Strategies that should not help: a gain that they give too is not the strategies' gain."""

import random
from collections.abc import Sequence
from dataclasses import replace

from ..config import Config
from ..problems import Problem
from .measure import contentless, shuffled


def wrong_strategies(problems: Sequence[Problem], share: float, seed: int = 0) -> list[Problem]:
    """The problems, of which a share, drawn by the seed, has the strategy of another family.

    share 1 is the shuffled control. Raises ValueError where there is no other strategy to give.
    """
    number = round(share * len(problems))
    drawn = set(random.Random(f"wrong {seed}").sample(range(len(problems)), number))
    others = shuffled(problems, seed) if drawn else problems
    return [others[i] if i in drawn else problem for i, problem in enumerate(problems)]


def with_control(problems: Sequence[Problem], config: Config) -> list[Problem]:
    """The problems with the strategies that the configuration's control gives them, if it has one.

    Raises ValueError as `wrong_strategies` does.
    """
    if config.contentless_strategies:
        return [replace(p, strategy=contentless(p.strategy)) for p in problems]
    return wrong_strategies(problems, config.wrong_strategies, config.seed)
