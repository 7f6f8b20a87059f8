"""A value per token through the LM head, its gradient computed while the logits exist.

`losses.in_chunks` frees a chunk's logits and computes them again in the backward pass. Here a
chunk's gradient is computed at once instead, which saves a product with the head's weight for every
side that reads it: token log-probabilities need 3 products instead of 4, a KL 4 instead of 6. The
idea is that of fused linear losses (Hsu et al. 2024, "Liger Kernel", arXiv:2410.10989); the formula
stays a plain function of the logits, and autograd differentiates it.

What the backward pass will bring is not known yet. For the hidden states that does not matter: a
token's value depends on its own state alone, so we keep the gradient of each value, (N, H), and
multiply it by what comes in. The gradient of the head's weight is a sum over tokens, so a trainable
head needs each token's factor beforehand. The caller therefore says what loss the values are for.
In SGPO and its baselines every loss is a sum of terms that depend on one token each (δ drops a
token by its own KL), so a chunk's values give its factors.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from ..losses import in_chunks

Loss = Callable[[Tensor], Tensor]


def through_head(
    compute: Callable[..., Tensor],
    head: torch.nn.Module,
    states: Tensor,
    *rows: Tensor,
    size: int,
    loss: Loss | None = None,
) -> Tensor:
    """`compute(head(states), *rows)`, `size` tokens at a time, with values and gradients as such.

    states (N, H); rows: further tensors with a row per token, which get no gradient. `compute`
    gives one value per token (n,), each of its own logits alone. `loss` (N,) -> () is what the
    values are for: a sum of functions of one value each, up to a factor. Without it a trainable
    head's chunks are computed twice (`in_chunks`), as they are where the head is more than a linear
    layer. Returns (N,). A backward pass from another loss raises RuntimeError.
    """
    trainable = any(parameter.requires_grad for parameter in head.parameters())
    learnt = torch.is_grad_enabled() and (states.requires_grad or trainable)
    fused = learnt and can_fuse(head) and len(states) > 0
    if not fused or (trainable and loss is None):
        return in_chunks(lambda part, *more: compute(head(part), *more), states, *rows, size=size)
    loss = loss if trainable else None
    return _ThroughHead.apply(states, head.weight, head.bias, compute, head, rows, size, loss)


def can_fuse(head: torch.nn.Module) -> bool:
    """Whether a head is a linear layer and nothing more."""
    return type(head) is torch.nn.Linear


class _ThroughHead(torch.autograd.Function):
    @staticmethod
    def forward(ctx, states, weight, bias, compute, head, rows, size, loss):
        values, factors = None, None
        gradient = torch.empty_like(states)  # of the values times their factors
        ctx.weight = ctx.bias = None  # their gradients, if they are learnt
        unit = None
        for start in range(0, len(states), size):
            place = slice(start, start + size)
            logits = head(states[place]).requires_grad_()
            with torch.enable_grad():
                part = compute(logits, *(row[place] for row in rows))
            if values is None:
                values = part.new_zeros(len(states))
                factors = torch.ones_like(values)
            values[place] = part.detach()
            if loss is not None:
                factors[place] = _slope(loss, values)[place]
                # Half precision would lose small gradients: factors near 1, by a power of 2.
                unit = unit or 2.0 ** math.frexp(factors[place].abs().max().item())[1]
                factors[place] /= unit
            (slope,) = torch.autograd.grad(part, logits, factors[place])  # (n, V)
            gradient[place] = slope @ weight.to(slope.dtype)
            if weight.requires_grad:
                ctx.weight = _add_product(ctx.weight, slope, states[place], weight.dtype)
            if bias is not None and bias.requires_grad:
                total = slope.sum(dim=0).to(bias.dtype)
                ctx.bias = total if ctx.bias is None else ctx.bias + total
        ctx.fixed = loss is not None
        ctx.save_for_backward(gradient, factors)
        return values

    @staticmethod
    @once_differentiable
    def backward(ctx, incoming):
        gradient, factors = ctx.saved_tensors
        if not ctx.fixed:
            return (incoming.unsqueeze(1) * gradient).to(gradient.dtype), *(None,) * 7
        largest = factors.abs().argmax()
        scale = torch.where(factors[largest] == 0, 0.0, incoming[largest] / factors[largest])
        # "Above" rather than "not at most": where a NaN comes in, the gradient shows it.
        if ((incoming - scale * factors).abs() > 1e-5 * incoming.abs().max()).any():
            raise RuntimeError(
                "the gradient that comes in is not that of the loss given to through_head: give "
                "the loss itself (up to a factor), or none"
            )
        return *(_times(scale, part) for part in (gradient, ctx.weight, ctx.bias)), *(None,) * 5


def _slope(loss: Loss, values: Tensor) -> Tensor:
    """d loss / d values, (N,): a token's slope depends on its own value alone."""
    with torch.enable_grad():
        leaf = values.detach().clone().requires_grad_()
        return torch.autograd.grad(loss(leaf), leaf)[0]


def _add_product(total: Tensor | None, slope: Tensor, states: Tensor, dtype) -> Tensor:
    """total + slopeᵀ · states, (V, H), in place and in the weight's precision."""
    states = states.to(slope.dtype)
    if total is None:
        return (slope.T @ states).to(dtype)
    return total.addmm_(slope.T, states) if slope.dtype == dtype else total.add_(slope.T @ states)


def _times(scale: Tensor, gradient: Tensor | None) -> Tensor | None:
    return None if gradient is None else (gradient * scale).to(gradient.dtype)
