"""The checks of notebook 04: how large a group must be, and the gradient of the clipped ratio."""

import math
from collections.abc import Callable

import torch

from ..losses import grpo_loss
from .checking import Wrong, answer_of, exercise, number_of


@exercise
def check_group_size(function: Callable) -> str:
    """Exercise: the smallest group size with which at least `share` of the groups have a signal.

    `f(p, share)`, for a pass rate p above 0 and below 1.
    """
    for p, share in ((0.01, 0.5), (0.1, 0.5), (0.5, 0.9), (0.9, 0.5), (0.99, 0.077), (0.5, 0.75)):
        call = f"f(p={p}, share={share})"
        number = number_of(answer_of(function, call, p, share), call)
        expected = 2
        while 1 - p**expected - (1 - p) ** expected < share:
            expected += 1
        if number == expected:
            continue
        wrong = f"{call} returned {number:g}, not {expected}"
        if math.isfinite(number) and number != int(number):
            raise Wrong(f"{wrong}; a group has a whole number of rollouts")
        one_sided = next(size for size in range(1, expected + 1) if (1 - p) ** size <= 1 - share)
        if number in (one_sided, max(one_sided, 2)):
            why = "a group in which every rollout is correct has no signal either"
        elif number == expected + 1:
            why = "one rollout fewer is enough; `at least` allows equality"
        elif number == expected - 1:
            why = "this is one rollout too few: round up"
        else:
            why = "the share of groups with a signal is 1 - p^G - (1 - p)^G"
        raise Wrong(f"{wrong}; {why}")
    return "rare successes need large groups, and so do rare failures"


@exercise
def check_clipped_gradient(function: Callable) -> str:
    """Exercise: d loss / d log π of one token, `f(ratio, advantage, clip_low=0.2, clip_high=0.28)`.

    The loss is `grpo_loss` of a group of one rollout of one token.
    """
    inside = "inside the range the gradient is that of -advantage · ratio"
    left_out = "the ratio is already past the clip range in the direction of the advantage"
    back = "min takes the worse of the two terms, so the clip never stops a ratio from coming back"
    cases = (
        # ratio, advantage, options, hint
        (1.0, 1.5, {}, "at ratio 1 it is -advantage: gradient descent must raise a good token"),
        (1.1, 2.0, {}, "d ratio / d log π is the ratio itself"),
        (0.9, -1.0, {}, inside),
        (1.5, 1.0, {}, left_out),
        (0.5, -1.0, {}, left_out),
        (0.5, 1.0, {}, back),
        (1.5, -1.0, {}, back),
        (1.25, 1.0, {}, f"the upper end is 1 + clip_high; {inside}"),
        (0.75, -1.0, {}, "the lower end is 1 - clip_low"),
        (1.25, 1.0, {"clip_high": 0.2}, "use the arguments' values"),
        (0.75, -1.0, {"clip_low": 0.3}, "use the arguments' values"),
        (1.2, 0.0, {}, "an advantage of 0 gives no gradient"),
    )
    for ratio, advantage, options, hint in cases:
        shown = "".join(f", {name}={value}" for name, value in options.items())
        call = f"f(ratio={ratio}, advantage={advantage}{shown})"
        number = number_of(answer_of(function, call, ratio, advantage, **options), call)
        with torch.enable_grad():
            logp = torch.tensor([[ratio]], dtype=torch.float64).log().requires_grad_()
            one, zero = torch.ones_like(logp), torch.zeros_like(logp)
            grpo_loss(logp, zero, advantage * one[0], one, **options).backward()
        expected = logp.grad.item()
        if not abs(number - expected) < 1e-4:
            raise Wrong(f"{call} returned {number:.4g}, not {expected + 0:.4g}; {hint}")
    return "0 once a token has moved far enough, and never 0 on the way back"
