"""The checks of notebook 09: a paired interval, and LUFFY's gradient."""

import math
from collections.abc import Callable

import torch

from ..losses import group_advantages, policy_shaping_loss
from ..support.intervals import confidence_interval
from .checking import Wrong, answer_of, exercise, number_of, values_of


@exercise
def check_paired_interval(function: Callable) -> str:
    """Exercise: the 95 % t interval of second - first over five seeds, paired by seed.

    `f(first, second) -> (low, high)`.
    """
    quantile = 2.776
    for first, second in (
        ([70.0, 74.0, 69.0, 73.0, 74.0], [76.0, 79.0, 76.0, 80.0, 79.0]),
        ([0.5, 0.7, 0.6, 0.4, 0.55], [0.45, 0.75, 0.35, 0.5, 0.4]),
        ([10.0, 20.0, 30.0, 40.0, 50.0], [12.0, 22.0, 32.0, 42.0, 52.0]),
    ):
        call = f"f({first}, {second})"
        values = values_of(answer_of(function, call, list(first), list(second)), call)
        if values.shape != (2,):
            raise Wrong(f"{call} returned {(*values.shape,)} numbers, not two: (low, high)")
        low, high = values.tolist()
        gaps = [b - a for a, b in zip(first, second, strict=True)]
        expected = confidence_interval(gaps, over="seeds")
        if max(abs(low - expected[0]), abs(high - expected[1])) < 1e-3:
            continue
        middle, half = sum(gaps) / 5, (expected[1] - expected[0]) / 2
        alone = [confidence_interval(values, over="seeds") for values in (first, second)]
        unpaired = math.hypot(*((b - a) / 2 for a, b in alone))
        near = {
            "return (low, high), not (high, low)": (middle + half, middle - half),
            "the difference is second - first": (-middle - half, -middle + half),
            "divide the standard deviation by √5: you need the error of a mean of five":
                (middle - half * math.sqrt(5), middle + half * math.sqrt(5)),
            "divide by n - 1 in the standard deviation, not by n":
                (middle - half * math.sqrt(0.8), middle + half * math.sqrt(0.8)),
            "with five seeds use the t quantile 2.776, not 1.96 of the normal distribution":
                (middle - half * 1.96 / quantile, middle + half * 1.96 / quantile),
            "with five seeds there are four degrees of freedom: 2.776, not 2.571":
                (middle - half * 2.571 / quantile, middle + half * 2.571 / quantile),
            "the quantile 2.776 is missing":
                (middle - half / quantile, middle + half / quantile),
            "this is not paired: take the difference of each seed first":
                (middle - unpaired, middle + unpaired),
            "this is not paired (2.306 is for two groups): take the difference of each seed first":
                (middle - unpaired * 2.306 / quantile, middle + unpaired * 2.306 / quantile),
        }  # fmt: skip
        shown = f"({expected[0]:.4g}, {expected[1]:.4g})"
        why = "mean of the differences ± 2.776 · std / √5, std with n - 1"
        for said, (a, b) in near.items():
            if max(abs(low - a), abs(high - b)) < 1e-3:
                why = said
                break
        raise Wrong(f"{call} returned ({low:.4g}, {high:.4g}), not {shown}; {why}")
    return "the mean difference ± 2.776 standard errors"


@exercise
def check_luffy_gradient(function: Callable) -> str:
    """Exercise: d loss / d log π of one token of LUFFY's given solution.

    `f(p, right, own, shaping=0.1)`: the token has probability p, and `right` of the `own` rollouts
    beside the given solution are correct.
    """
    for p, right, own, options in (
        (0.2, 1, 3, {}),
        (0.1, 0, 11, {}),
        (0.01, 3, 11, {}),
        (0.9, 3, 11, {}),
        (0.5, 11, 11, {}),
        (0.2, 5, 7, {"shaping": 0.3}),
    ):
        shown = "".join(f", {name}={value}" for name, value in options.items())
        call = f"f(p={p}, right={right}, own={own}{shown})"
        number = number_of(answer_of(function, call, p, right, own, **options), call)
        shaping = options.get("shaping", 0.1)
        rewards = torch.tensor([[1.0] * right + [0.0] * (own - right) + [1.0]], dtype=torch.float64)
        advantage = group_advantages(rewards, in_deviations=False)[0, -1:]
        with torch.enable_grad():
            logp = torch.tensor([[p]], dtype=torch.float64).log().requires_grad_()
            loss = policy_shaping_loss(logp, advantage, torch.ones_like(logp), shaping)
            loss.sum().backward()
        expected = logp.grad.item()
        if abs(number - expected) < 1e-5:
            continue
        a, push = advantage.item(), shaping * p / (p + shaping) ** 2
        f, own_mean, paper = p / (p + shaping), 1 - right / own, 0.1 * p / (p + 0.1) ** 2
        scaled = group_advantages(rewards)[0, -1].item()
        why = "it is -A · shaping · p / (p + shaping)²"
        for said, wrong in (
            ("the sign is wrong: gradient descent must raise a good token", a * push),
            ("A is reward - mean; LUFFY does not divide by the standard deviation", -scaled * push),
            ("the mean is over the whole group, including the given solution", -own_mean * push),
            ("the advantage is missing", -push),
            ("this is the derivative by p; for log p, multiply by p", -a * push / p),
            ("this is the loss, not its derivative", -a * f),
            ("this is SFT's gradient times A; the derivative of f is missing", -a),
            ("this is plain importance sampling: f(x) = x / (x + shaping), not x", -a * p),
            ("use the argument `shaping`", -a * paper),
        ):
            if abs(number - wrong) < 1e-5:
                why = said
                break
        raise Wrong(f"{call} returned {number:.4g}, not {expected + 0:.4g}; {why}")
    return "largest for tokens near p = shaping, and 0 once every rollout is correct"
