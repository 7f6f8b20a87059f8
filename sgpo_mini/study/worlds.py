"""The worlds of a comparison: mini-GSM, and beside it the next one until it takes its place."""

from collections.abc import Sequence

from ..config import Config
from ..mini_gsm import pretraining, world
from ..mini_gsm_next import pretraining as next_pretraining
from ..mini_gsm_next import world as next_world
from ..problems import Problem
from ..strategy_sources.controls import CONTROLS

NEXT, CONTROL_WORLD = "mini-gsm-next", "mini-gsm-next-control"  # values of `Config.data`


def is_next(data: str) -> bool:
    """Whether a world is the next one or its control world."""
    return data in (NEXT, CONTROL_WORLD)


def problems_in(data: str, split: str) -> tuple[Problem, ...]:
    """The fixed problems of a split; ValueError, naming the splits, if there is none such."""
    if is_next(data):
        return next_world.make_problems(split, data == CONTROL_WORLD)
    return world.make_problems(split)


def checksum_in(data: str, split: str) -> str:
    """SHA-256 of the problems of a split."""
    if is_next(data):
        return next_world.checksum(split, data == CONTROL_WORLD)
    return world.checksum(split)


def longest_completion(data: str) -> int:
    """The length limit of an evaluation, in tokens."""
    return (next_pretraining if is_next(data) else pretraining).MAX_NEW_TOKENS


def training_problems(config: Config, change: str) -> Sequence[Problem]:
    """The problems that a run trains on, after the change that its row asks for."""
    problems = problems_in(config.data, config.split)
    return CONTROLS[change](problems, config.seed) if change else problems
