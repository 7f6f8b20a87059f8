"""The checks of notebook 04: GRPO's loss, and how large a group must be."""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from ..losses import grpo_loss
from .checking import Wrong, all_equal, answer_of, exercise, gradients_of, number_of, numbers_of


@exercise
def check_grpo_loss(function: Callable) -> str:
    """Exercise: GRPO's loss of a batch, `f(logps, old_logps, advantages, mask, low, high) -> ()`.

    As `grpo_loss`: (B, T) each, advantages (B,), no gradient to `old_logps`.
    """
    ratios = torch.tensor([[1.0, 1.5, 0.5], [0.5, 7.0, 7.0], [1.5, 1.25, 7.0], [0.75, 1.0, 1.1]])
    mask = torch.tensor([[1.0, 1, 1], [1, 0, 0], [1, 1, 0], [1, 1, 1]])
    advantages = torch.tensor([1.5, -0.5, 0.5, -1.5])
    told = torch.tensor([[-2.0], [-1.0], [-3.0], [-2.0]]).expand(4, 3)
    for low, high in ((0.2, 0.28), (0.3, 0.1)):
        call = f"f(logps, old_logps, advantages, mask, low={low}, high={high})"
        with torch.enable_grad():
            old = told.clone().requires_grad_()
            logps = (ratios.log() + old).detach().requires_grad_()
            given = logps, old, advantages.clone(), mask.clone()
            answer = answer_of(function, call, *given, low, high)
            loss = numbers_of(answer, torch.Size([]), call, "for the whole batch")
            if not loss.requires_grad:
                raise Wrong(f"{call} has no gradient: detach old_logps alone")
            gradient, to_old = gradients_of(loss, (logps, old), call)
            expected = grpo_loss(logps, old, advantages, mask, low, high)
            (to_logps,) = gradients_of(expected, (logps,), call)
        if not (all_equal(loss, expected) and all_equal(gradient, to_logps)):
            batch = logps.detach(), ratios, advantages, mask
            raise Wrong(f"{call}: {_why_another_loss(loss, *batch, low, high)}")
        if to_old.any():
            raise Wrong(f"{call}: old_logps get a gradient; detach them")
    return "the clip stops only what has moved far enough; short and long completions count alike"


def _why_another_loss(
    loss: Tensor,
    logps: Tensor,
    ratios: Tensor,
    advantages: Tensor,
    mask: Tensor,
    low: float,
    high: float,
) -> str:
    """The likeliest mistake behind a wrong loss."""

    def mistaken(low=low, high=high, pick=torch.minimum, inside=mask, total=None) -> Tensor:
        plain, cut = ratios * advantages[:, None], ratios.clamp(1 - low, 1 + high)
        each = -pick(plain, cut * advantages[:, None]) * inside
        return each.sum() / total if total else (each.sum(1) / inside.sum(1)).mean()

    def linear(values: Tensor) -> Tensor:
        return -(values * advantages[:, None] * mask).sum(1).div(mask.sum(1)).mean()

    divide = "divide each completion's sum by mask.sum(1), its own number of tokens"
    mistakes = (
        (mistaken(), "the loss is right, but not its gradient; detach old_logps alone"),
        (-mistaken(), "an optimizer goes down, so put a minus before the objective"),
        (mistaken(pick=torch.maximum), "min takes the smaller of the products, this the larger"),
        (mistaken(pick=lambda plain, cut: cut), "take the min of the clipped and plain products"),
        (mistaken(pick=lambda plain, cut: plain), "the clip is missing"),
        (mistaken(high=low), "the upper end of the clip is 1 + high"),
        (mistaken(low=high), "the lower end of the clip is 1 - low"),
        (mistaken(low=0.2, high=0.28), "low and high are arguments"),
        (mistaken(total=mask.sum()), f"this is one mean over all tokens; {divide}"),
        (mistaken(total=mask.numel()), f"this divides by T; {divide}"),
        (mistaken(total=len(mask)), f"this is a sum over tokens; {divide}"),
        (mistaken(total=1.0), f"this is a sum over all; {divide}, then take the mean"),
        (4 * mistaken(), "this is a sum over completions; take their mean"),
        (mistaken(inside=torch.ones_like(mask)), "padding counts; multiply by the mask"),
        (linear(ratios.log()), "the ratio is exp(logps - old_logps); exp is missing"),
        (linear(logps), "this is -A log π; the loss needs the ratio to old_logps"),
    )  # fmt: skip
    for value, why in mistakes:
        if all_equal(loss, value):
            return why
    return f"the loss is {loss.item():.4g}, not {mistaken().item():.4g}"


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
