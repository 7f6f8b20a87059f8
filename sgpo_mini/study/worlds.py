"""The worlds of a comparison: mini-GSM, and the control world in which nothing can transfer."""

from collections.abc import Sequence

from ..config import Config
from ..mini_gsm.world import CONTROL, checksum, make_problems
from ..problems import Problem
from ..strategy_sources.controls import CONTROLS


def problems_in(data: str, split: str) -> tuple[Problem, ...]:
    """The fixed problems of a split; ValueError, naming the splits, if there is none such."""
    return make_problems(split, data == CONTROL)


def checksum_in(data: str, split: str) -> str:
    """SHA-256 of the problems of a split."""
    return checksum(split, data == CONTROL)


def training_problems(config: Config, change: str) -> Sequence[Problem]:
    """The problems that a run trains on, after the change that its row asks for."""
    problems = problems_in(config.data, config.split)
    return CONTROLS[change](problems, config.seed) if change else problems
