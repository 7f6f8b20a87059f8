"""The checks of notebook 00: the adaptive weight, and the tokens that δ keeps."""

from collections.abc import Callable

import torch

from ..losses import adaptive_weight, distillation_loss
from .checking import Wrong, answer_of, exercise, kept_of, number_of


@exercise
def check_adaptive_weight(function: Callable) -> str:
    """Exercise: α(q) of one problem, `f(p_auto, p_guide, alpha0=0.5, gamma=0.1, alpha_max=0.8)`."""
    formula = "α0 · (p_guide - p_auto + γ) / (p_auto + γ)"
    cases = (
        # p_auto, p_guide, options, hint
        (0.5, 0.75, {}, f"the formula is {formula}"),
        (0.0, 0.5, {}, "it must not exceed α_max"),
        (0.75, 0.25, {}, "the strategy hurts here, so the weight is 0, not negative"),
        (0.0, 0.0, {}, f"γ is in numerator and denominator: {formula}"),
        (1.0, 1.0, {}, f"γ is in numerator and denominator: {formula}"),
        (0.2, 0.4, {"alpha0": 1.0, "gamma": 0.2, "alpha_max": 2.0}, "use the arguments' values"),
        (0.25, 0.75, {"alpha_max": 0.3}, "use the arguments' values"),
    )
    for p_auto, p_guide, options, hint in cases:
        shown = "".join(f", {name}={value}" for name, value in options.items())
        call = f"f(p_auto={p_auto}, p_guide={p_guide}{shown})"
        number = number_of(answer_of(function, call, p_auto, p_guide, **options), call)
        shares = torch.tensor([[p_auto], [p_guide]], dtype=torch.float64)
        expected = adaptive_weight(*shares, **options).item()
        if not abs(number - expected) < 1e-4:
            raise Wrong(f"{call} returned {number:.4g}, not {expected:.4g}; {hint}")
    return "high where only the strategy helps, 0 where it hurts, never above α_max"


@exercise
def check_kept_tokens(function: Callable) -> str:
    """Exercise: True where L_KD^clip keeps a token, `f(kl (B, T), mask (B, T), delta) -> (B, T)`.

    The loss has a gradient only at the kept tokens.
    """
    kl = torch.tensor([[0.2, 1.5, 0.0, 1.0, 0.7, 0.3], [3.0, 0.1, 2.0, 0.4, 0.9, 5.0]])
    mask = torch.tensor([[1.0, 1.0, 1.0, 1.0, 0.0, 0.0], [1.0, 1.0, 1.0, 1.0, 1.0, 0.0]])
    leaves = {delta: kl.clone().requires_grad_() for delta in (1.0, 2.0, None)}
    with torch.enable_grad():
        for delta, leaf in leaves.items():
            distillation_loss(leaf, mask, delta).sum().backward()
    for delta, leaf in leaves.items():
        call = f"f(kl, mask, delta={delta})"
        answer = answer_of(function, call, kl.clone(), mask.clone(), delta)
        kept = kept_of(answer, kl.shape, call)
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
        raise Wrong(f"{call} {verb} the token with KL {value:g} and mask {inside:d}; {why}")
    return "the completion's tokens with a KL of at most delta, and all of them without delta"
