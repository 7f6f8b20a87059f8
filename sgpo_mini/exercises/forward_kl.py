"""The checks of notebook 05: the reverse KL, and the gradient of the forward KL."""

from collections.abc import Callable

import torch
from torch import Tensor

from ..losses import distillation_loss, forward_kl, reverse_kl
from .checking import Wrong, all_equal, answer_of, exercise, gradients_of, numbers_of

_LARGE = 200.0  # a logit at which the softmax of the others underflows


def _two_sides(shape: tuple[int, ...], seed: int) -> tuple[Tensor, Tensor]:
    """Random guided and autonomous logits, the same at every call."""
    generator = torch.Generator().manual_seed(seed)
    return tuple(1.5 * torch.randn(shape, generator=generator) for _ in range(2))


@exercise
def check_reverse_kl(function: Callable) -> str:
    """Exercise: KL(autonomous ‖ guided), `f(guided_logits (B, T, V), autonomous_logits) -> (B, T)`.

    In nats, and without a gradient to the guided side, as in the package.
    """
    call = "f(guided_logits, autonomous_logits)"
    each = "per token, the sum over the vocabulary"
    guided, autonomous = (side.requires_grad_() for side in _two_sides((2, 3, 5), seed=5))
    with torch.enable_grad():
        expected = reverse_kl(guided, autonomous)  # (B, T)
        gradient = torch.autograd.grad(expected.sum(), autonomous)[0]  # (B, T, V)
        values = numbers_of(
            answer_of(function, call, guided, autonomous), expected.shape, call, each
        )
        if not all_equal(values, expected):
            raise Wrong(f"{call} {_why_not_reverse(values, guided, autonomous)}")
        if not values.requires_grad:
            raise Wrong(f"{call} has no gradient; the autonomous side must learn")
        to_guided, to_autonomous = gradients_of(values, (guided, autonomous), call)
    if to_guided.abs().max() > 1e-6:
        raise Wrong(f"{call} sends a gradient to the guided side too; detach guided_logits")
    if not all_equal(to_autonomous, gradient):
        raise Wrong(
            f"{call} has the right value but a wrong gradient; do not detach the factor "
            "softmax(autonomous_logits)"
        )
    guided, autonomous = (_LARGE * torch.eye(5)[None, rows] for rows in ([0, 1], [0, 2]))
    expected = reverse_kl(guided, autonomous)
    hint = f" for logits of up to {_LARGE:g}; use torch.log_softmax, and add no small constant"
    answer = answer_of(function, call, guided.clone(), autonomous.clone())
    if not all_equal(numbers_of(answer, expected.shape, call, each, hint), expected):
        raise Wrong(f"{call} is wrong{hint}")
    return "the autonomous side weights the sum, and the guided side gets no gradient"


def _why_not_reverse(values: Tensor, guided: Tensor, autonomous: Tensor) -> str:
    guided, autonomous = guided.detach(), autonomous.detach()
    right, forward = reverse_kl(guided, autonomous), forward_kl(guided, autonomous)
    if all_equal(values, forward):
        return "is the forward KL; in the reverse KL, the autonomous side comes first"
    if all_equal(values, -right):
        return "has the wrong sign: use log(autonomous / guided); a KL is never below 0"
    if all_equal(values, right / guided.shape[-1]):
        return "takes the mean over the vocabulary; a KL is the sum"
    if all_equal(values, right / torch.tensor(2.0).log()):
        return "is in bits; take the natural logarithm for nats"
    place = f"{values.detach().flatten()[0].item():.4g}, not {right.flatten()[0].item():.4g}"
    return f"gives {place}, at the first token; sum a · log(a / g) over the vocabulary (dim=-1)"


@exercise
def check_kl_gradient(function: Callable) -> str:
    """Exercise: the gradient of L_KD, `f(guided_logits (B, T, V), autonomous_logits, mask)`.

    With respect to the autonomous logits, (B, T, V), without δ; the losses of the trajectories are
    summed.
    """
    call = "f(guided_logits, autonomous_logits, mask)"
    guided, autonomous = _two_sides((2, 4, 3), seed=6)
    mask = torch.tensor([[1.0, 1.0, 1.0, 1.0], [1.0, 1.0, 0.0, 0.0]])
    leaf = autonomous.clone().requires_grad_()
    with torch.enable_grad():
        distillation_loss(forward_kl(guided, leaf), mask, None).sum().backward()
        answer = answer_of(function, call, guided.clone(), autonomous.clone(), mask.clone())
    values = numbers_of(
        answer, leaf.shape, call, "for each token of the vocabulary, at each position"
    )
    values, expected = values.detach().cpu().to(leaf.dtype), leaf.grad
    if all_equal(values, expected):
        return "a − g, divided by the trajectory's own length, and 0 on padding"
    inside, length = mask.unsqueeze(-1), mask.sum(dim=1)[:, None, None]  # (B, T, 1), (B, 1, 1)
    difference = autonomous.softmax(-1) - guided.softmax(-1)  # (B, T, V)
    mistakes = (
        (-expected, "has the wrong sign: the gradient is a - g; a descent step subtracts it"),
        (difference / length, "is not 0 on padding (mask 0), which is not part of the loss"),
        (difference, "must divide by the length and be 0 on padding (mask 0)"),
        (difference * inside, "must divide by the trajectory's length: L_KD is a mean"),
        (difference * inside / 4, "divides all by T; each has its own length, mask.sum(dim=1)"),
        (
            difference * inside / 6,
            "divides by the tokens of the batch; use each trajectory's length",
        ),
        (expected / 2, "takes a mean over the trajectories; here their losses are summed"),
        ((autonomous - guided) * inside / length, "subtracts logits; a and g are probabilities"),
    )
    for mistake, why in mistakes:
        if all_equal(values, mistake):
            raise Wrong(f"{call} {why}")
    worst = (values - expected).abs().argmax()
    one, right = values.flatten()[worst].item(), expected.flatten()[worst].item()
    raise Wrong(
        f"{call} holds {one:.4g} where {right:.4g} belongs; each number is (a - g) / length, and 0 "
        "on padding"
    )
