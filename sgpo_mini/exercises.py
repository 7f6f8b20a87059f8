"""The checks behind the notebooks' exercises.

A check calls the reader's function, prints one line that says what is wrong or right, and returns
whether it is solved. It raises nothing, whatever the function does; only Ctrl-C gets through. What
is right is asked of the package's own functions.
"""

import math
from collections.abc import Callable
from contextlib import redirect_stdout
from functools import wraps
from io import StringIO

import torch
from torch import Tensor

from .losses import adaptive_weight, distillation_loss, grpo_loss

Check = Callable[[Callable], bool]


class _Wrong(Exception):
    """What a check has to say to the reader."""


class _Unsolved(_Wrong):
    """The reader's function is still the stub."""


def _check(find_mistake: Callable[[Callable], str]) -> Check:
    """Make a check of a function that returns the praise, or raises _Wrong with the mistake."""

    @wraps(find_mistake)
    def check(function: Callable) -> bool:
        try:
            praise = find_mistake(function)
        except _Unsolved as why:
            print(f"not solved yet: {why}")
        except _Wrong as mistake:
            print(f"not right yet: {mistake}")
        else:
            print(f"right: {praise}")
            return True
        return False

    return check


def _answer(function: Callable, call: str, *arguments, **options):
    """What the reader's function returns; `call` says how it was called."""
    if not callable(function):
        raise _Wrong(f"give the function itself, not {_short(function)}")
    try:
        with redirect_stdout(StringIO()):  # a print for finding a mistake is no part of the answer
            answer = function(*arguments, **options)
    except NotImplementedError:
        raise _Unsolved("the function raises NotImplementedError") from None
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # SystemExit too
        raise _Wrong(f"{call} raised {type(error).__name__}: {_short(error, str)}") from None
    if answer is None or answer is ...:
        raise _Unsolved(f"{call} returned {answer}")
    return answer


def _short(value, show: Callable = repr) -> str:
    """A value on one line of at most 80 characters, even if it can't be shown."""
    try:
        text = " ".join(show(value).split())
    except Exception:
        return f"an object of type {type(value).__name__}"
    return text if len(text) <= 80 else f"{text[:77]}..."


def _number(answer, call: str) -> float:
    try:
        if not isinstance(answer, str | bytes):
            return float(answer)
    except Exception:
        pass
    raise _Wrong(f"{call} returned {_short(answer)}, which is no number")


@_check
def check_adaptive_weight(function: Callable) -> str:
    """Exercise: α(q) of one problem, `f(p_auto, p_guide, alpha0=0.5, gamma=0.1, alpha_max=0.8)`."""
    formula = "α0 · (p_guide - p_auto + γ) / (p_auto + γ)"
    cases = (
        # p_auto, p_guide, what else is given, what to think of
        (0.5, 0.75, {}, f"the formula is {formula}"),
        (0.0, 0.5, {}, "it must not exceed α_max"),
        (0.75, 0.25, {}, "the strategy harms here, so the weight is 0, never below"),
        (0.0, 0.0, {}, f"γ belongs above and below the line: {formula}"),
        (1.0, 1.0, {}, f"γ belongs above and below the line: {formula}"),
        (0.2, 0.4, {"alpha0": 1.0, "gamma": 0.2, "alpha_max": 2.0}, "use the arguments' values"),
        (0.25, 0.75, {"alpha_max": 0.3}, "use the arguments' values"),
    )
    for p_auto, p_guide, options, hint in cases:
        shown = "".join(f", {name}={value}" for name, value in options.items())
        call = f"f(p_auto={p_auto}, p_guide={p_guide}{shown})"
        number = _number(_answer(function, call, p_auto, p_guide, **options), call)
        shares = torch.tensor([[p_auto], [p_guide]], dtype=torch.float64)
        expected = adaptive_weight(*shares, **options).item()
        if not abs(number - expected) < 1e-4:
            raise _Wrong(f"{call} returned {number:.4g}, not {expected:.4g}; {hint}")
    return "high where only the strategy helps, 0 where it harms, never above α_max"


@_check
def check_kept_tokens(function: Callable) -> str:
    """Exercise: True where L_KD^clip keeps a token, `f(kl (B, T), mask (B, T), delta) -> (B, T)`.

    A kept token is one that the loss has a gradient for.
    """
    kl = torch.tensor([[0.2, 1.5, 0.0, 1.0, 0.7, 0.3], [3.0, 0.1, 2.0, 0.4, 0.9, 5.0]])
    mask = torch.tensor([[1.0, 1.0, 1.0, 1.0, 0.0, 0.0], [1.0, 1.0, 1.0, 1.0, 1.0, 0.0]])
    leaves = {delta: kl.clone().requires_grad_() for delta in (1.0, 2.0, None)}
    with torch.enable_grad():
        for delta, leaf in leaves.items():
            distillation_loss(leaf, mask, delta).sum().backward()
    for delta, leaf in leaves.items():
        call = f"f(kl, mask, delta={delta})"
        answer = _answer(function, call, kl.clone(), mask.clone(), delta)
        kept = _kept(answer, kl.shape, call)
        expected = leaf.grad != 0
        if torch.equal(kept, expected):
            continue
        row, place = (kept != expected).nonzero()[0].tolist()
        value, inside = kl[row, place].item(), bool(mask[row, place])
        if not inside:
            why = "it is padding (mask 0)"
        elif delta is None:
            why = "with delta=None every token of the completion is kept"
        elif value == delta:
            why = "a KL of exactly delta is not above it"
        else:
            why = f"its KL is {'above' if value > delta else 'not above'} delta"
        verb = "keeps" if kept[row, place] else "drops"
        raise _Wrong(f"{call} {verb} the token with KL {value:g} and mask {inside:d}; {why}")
    return "the completion's tokens whose KL is not above delta, and all of them without delta"


def _kept(answer, shape: torch.Size, call: str) -> Tensor:
    """The answer as a tensor of truth values; 0 and 1 will do as well."""
    try:
        kept = torch.as_tensor(answer).detach().cpu()
        if kept.shape != shape:
            what = f"shape {(*kept.shape,)}, not {(*shape,)}: one truth value a token"
            raise _Wrong(f"{call} returned {what}")
        if not ((kept == 0) | (kept == 1)).all():
            raise _Wrong(f"{call} returned other values than True and False (or 1 and 0)")
        return kept.bool()
    except _Wrong:
        raise
    except Exception:
        raise _Wrong(f"{call} returned {_short(answer)}, which is no tensor") from None


@_check
def check_group_size(function: Callable) -> str:
    """Exercise: the fewest tries with which at least `share` of the groups have a signal, `f(p,
    share)`, at a pass rate p above 0 and below 1."""
    for p, share in ((0.01, 0.5), (0.1, 0.5), (0.5, 0.9), (0.9, 0.5), (0.99, 0.077), (0.5, 0.75)):
        call = f"f(p={p}, share={share})"
        number = _number(_answer(function, call, p, share), call)
        expected = 2
        while 1 - p**expected - (1 - p) ** expected < share:
            expected += 1
        if number == expected:
            continue
        wrong = f"{call} returned {number:g}, not {expected}"
        if math.isfinite(number) and number != int(number):
            raise _Wrong(f"{wrong}; a group has a whole number of tries")
        one_sided = next(size for size in range(1, expected + 1) if (1 - p) ** size <= 1 - share)
        if number in (one_sided, max(one_sided, 2)):
            why = "a group of right tries alone has no signal either"
        elif number == expected + 1:
            why = "one try fewer would do; `at least` allows equality"
        elif number == expected - 1:
            why = "that is one try short: round up"
        else:
            why = "the share of groups with a signal is 1 - p^G - (1 - p)^G"
        raise _Wrong(f"{wrong}; {why}")
    return "rare successes need large groups, and so do rare failures"


@_check
def check_clipped_gradient(function: Callable) -> str:
    """Exercise: d loss / d log π of one token, `f(ratio, advantage, clip_low=0.2, clip_high=0.28)`.

    The loss is `grpo_loss` of a group of one rollout of one token.
    """
    inside = "inside the range the gradient is that of -advantage · ratio"
    left_out = "it has already moved far enough the way the advantage points"
    back = "a clip that would stop it from coming back does nothing: min takes the worse of the two"
    cases = (
        # ratio, advantage, what else is given, what to think of
        (1.0, 1.5, {}, "at ratio 1 it is -advantage: a step downhill raises a good token"),
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
        (1.2, 0.0, {}, "an advantage of 0 teaches nothing"),
    )
    for ratio, advantage, options, hint in cases:
        shown = "".join(f", {name}={value}" for name, value in options.items())
        call = f"f(ratio={ratio}, advantage={advantage}{shown})"
        number = _number(_answer(function, call, ratio, advantage, **options), call)
        with torch.enable_grad():
            logp = torch.tensor([[ratio]], dtype=torch.float64).log().requires_grad_()
            one, zero = torch.ones_like(logp), torch.zeros_like(logp)
            grpo_loss(logp, zero, advantage * one[0], one, **options).backward()
        expected = logp.grad.item()
        if not abs(number - expected) < 1e-4:
            raise _Wrong(f"{call} returned {number:.4g}, not {expected + 0:.4g}; {hint}")
    return "nothing once a token has moved far enough, and always a way back"
