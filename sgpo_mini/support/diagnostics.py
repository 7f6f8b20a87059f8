"""Warnings during a run: completions cut off, steps without a signal, no completion right.

Each kind is reported once, in one sentence on standard error, early enough to stop the run.
"""

import sys
from collections import deque
from typing import NamedTuple

from torch import Tensor
from tqdm import tqdm

from ..config import Config

LATEST = 5  # steps considered together
MOST_CUT_OFF = 0.5  # warn from this share of cut-off completions
ENOUGH = 20  # completions before an evaluation warns


class _Step(NamedTuple):
    cut_off: tuple[float, ...]  # share of each group
    reward: float  # mean over all completions
    highest: float  # reward
    rewarded: bool  # was any reward other than 0?
    right: float  # share
    learnt: bool


class Diagnostics:
    """The warnings that a run has given, and its latest steps."""

    def __init__(self) -> None:
        self._told: set[str] = set()
        self._steps: deque[_Step] = deque(maxlen=LATEST)

    def tell(self, kind: str, sentence: str) -> None:
        """Write the sentence to standard error, unless this kind was already reported."""
        if kind not in self._told:
            self._told.add(kind)
            tqdm.write(f"sgpo_mini: {sentence}", file=sys.stderr)

    def answering(self, name: str, cut_off: int, of: int, max_new_tokens: int, done: bool) -> None:
        """Check how many completions of an evaluation were cut off so far."""
        if (done or of >= ENOUGH) and cut_off >= MOST_CUT_OFF * of:
            self.tell(
                f"cut off {name}",
                f"{name} evaluation: {cut_off / of:.0%} of {of} completions were cut off at "
                f"max_new_tokens={max_new_tokens} and count as wrong: raise it (--max-new-tokens), "
                "or use a student that ends its answers",
            )

    def answered(self, name: str, right: int, highest: float, right_reward: float) -> None:
        """Check after an evaluation whether any completion was right."""
        if not right and highest > 0:
            self.tell(
                f"nothing right {name}",
                f"{name} evaluation: no completion counted as right although rewards reached "
                f"{highest:.3g}: a completion is right from right_reward={right_reward:g}",
            )

    def after_step(
        self,
        number: int,
        rewards: Tensor,
        cut_off: tuple[float, ...],
        learnt: bool,
        config: Config,
        last: bool,
    ) -> None:
        """Check a training step: its rewards, and the share of each group that was cut off.

        `learnt`: whether there was any gradient. `last`: whether this is the run's last step.
        """
        self._steps.append(
            _Step(
                cut_off,
                rewards.mean().item(),
                rewards.max().item(),
                bool(rewards.any()),
                (rewards >= config.right_reward).float().mean().item(),
                learnt,
            )
        )
        count = len(self._steps)
        enough = count == LATEST or last
        groups = zip(*(step.cut_off for step in self._steps), strict=True)
        cut_off = [sum(group) / count for group in groups]
        silent = sum(not step.learnt for step in self._steps)
        when = f"up to step {number}"
        if min(cut_off) == 1 or (enough and max(cut_off) >= MOST_CUT_OFF):
            self.tell(
                "cut off",
                f"{when}, {_shares(cut_off)} were cut off at max_new_tokens="
                f"{config.max_new_tokens} and earned 0, and {silent} of {count} steps had nothing "
                "to learn: raise it (--max-new-tokens), or use a student that ends its answers",
            )
        elif enough and silent == count:
            self.tell("no signal", f"{when}, {self._without_signal(cut_off, config)}")
        highest = max(step.highest for step in self._steps)
        rewarded = any(step.rewarded for step in self._steps)
        if enough and rewarded and not any(step.right for step in self._steps):
            self.tell("nothing right", f"{when}, {_nothing_right(count, highest, config)}")

    def _without_signal(self, cut_off: list[float], config: Config) -> str:
        count = len(self._steps)
        reward = sum(step.reward for step in self._steps) / count
        why = ["every group's rewards are all equal"] if config.autonomous_grpo else []
        if config.group_sizes()[1] and config.strategy_distillation:
            why.append("nothing is distilled")
        way = "use easier problems, a student that was warmed up on solutions, larger groups or a "
        way += "higher temperature"
        if all(step.right == 1 for step in self._steps):
            way = "every completion is right, so use harder problems, or stop here"
        return (
            f"{count} of {count} steps had nothing to learn: {' and '.join(why)} (mean reward "
            f"{reward:.3g}; {_shares(cut_off)} were cut off): {way}"
        )


def _shares(cut_off: list[float]) -> str:
    if len(cut_off) == 1:
        return f"{cut_off[0]:.0%} of the completions"
    return f"{cut_off[0]:.0%} of the autonomous and {cut_off[1]:.0%} of the guided completions"


def _nothing_right(steps: int, highest: float, config: Config) -> str:
    effect = "p_auto stays 0"
    if config.method == "sgpo":
        effect = "p_guide stays 0 and SGPO distils nothing"
    elif config.method == "hpt":
        effect = "HPT imitates the given solution of every problem"
    latest = f"{steps} steps" if steps > 1 else "1 step"
    return (
        f"no completion of {latest} counted as right although rewards reached {highest:.3g}, so "
        f"{effect}: a completion is right from right_reward={config.right_reward:g}; set it to "
        "what your reward gives a right completion"
    )
