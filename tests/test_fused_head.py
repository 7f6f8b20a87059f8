"""fused_head.py: values and gradients of the plain path, while a chunk's logits exist once."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.autograd import gradcheck

from sgpo_mini.losses import distillation_loss, forward_kl, grpo_loss, reverse_kl, token_logps
from sgpo_mini.support.fused_head import through_head

N, H, V = 11, 6, 17
TOKENS = torch.arange(N) % V


def normal(*shape: int, seed: int = 0, dtype=torch.float64) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).to(dtype)


def head_of(dtype=torch.float64, trainable: bool = True, bias: bool = False) -> torch.nn.Linear:
    head = torch.nn.Linear(H, V, bias=bias, dtype=dtype)
    with torch.no_grad():
        head.weight.copy_(normal(V, H, seed=7))
    return head.requires_grad_(trainable)


def values_of(what: str, head: torch.nn.Module) -> tuple[Callable, Tensor]:
    """What is computed from logits, and the rows that it reads beside them."""
    if what == "token_logps":
        return token_logps, TOKENS
    divergence = {"forward_kl": forward_kl, "reverse_kl": reverse_kl}[what]

    def kl(logits: Tensor, guided: Tensor) -> Tensor:
        with torch.no_grad():
            guided_logits = head(guided)
        return divergence(guided_logits, logits)

    return kl, 2 * normal(N, H, seed=3, dtype=next(head.parameters()).dtype)


def weighted(values: Tensor) -> Tensor:
    """A sum of functions of one value each: some weights are 0, some depend on the value."""
    weights = torch.linspace(-1.0, 2.0, N, dtype=values.dtype)
    weights = torch.where(values.detach() > values.detach().new_tensor(1.0), 0.0, weights)
    return (weights * values + 0.1 * values.square()).sum()


def run(head, what, loss, *, size: int = 4, told: bool = True, plain: bool = False, scale=1.0):
    """(value of the loss, gradients of the states and of the head's parameters)."""
    compute, rows = values_of(what, head)
    states = normal(N, H, seed=1, dtype=next(head.parameters()).dtype).requires_grad_()
    head.zero_grad()
    if plain:
        values = compute(head(states), rows)
    else:
        values = through_head(compute, head, states, rows, size=size, loss=loss if told else None)
    total = loss(values)
    (scale * total).backward()
    gradients = [states.grad, *(p.grad for p in head.parameters() if p.requires_grad)]
    assert all(gradient.abs().max() > 1e-3 for gradient in gradients), "the test would see nothing"
    return total.detach(), gradients


def close(first, second, tolerance: float = 1e-5) -> None:
    torch.testing.assert_close(first, second, atol=tolerance, rtol=tolerance)


EVERY = pytest.mark.parametrize("what", ["token_logps", "forward_kl", "reverse_kl"])


@EVERY
@pytest.mark.parametrize("trainable, bias", [(True, False), (True, True), (False, False)])
@pytest.mark.parametrize("size", [1, 4, 11, 100])
def test_values_and_gradients_are_those_of_the_plain_path(what, trainable, bias, size):
    for dtype, tolerance in ((torch.float64, 1e-12), (torch.float32, 1e-5)):
        head = head_of(dtype, trainable, bias)
        plain = run(head, what, weighted, plain=True)
        close(run(head, what, weighted, size=size), plain, tolerance)
        close(run(head, what, weighted, size=size, told=False), plain, tolerance)


@EVERY
def test_the_gradient_by_differences(what):
    head = head_of(bias=True)
    compute, rows = values_of(what, head)

    def total(states: Tensor, *parameters: Tensor) -> Tensor:  # the head's own
        return weighted(through_head(compute, head, states, rows, size=4, loss=weighted))

    states = normal(N, H, seed=1).requires_grad_()
    if what == "token_logps":  # of a KL the guided side reads the head too, without gradient
        assert gradcheck(total, (states, head.weight, head.bias))
    frozen = head_of(trainable=False)
    assert gradcheck(total, states)
    assert gradcheck(lambda h: through_head(compute, frozen, h, rows, size=4), states)


@EVERY
def test_a_tied_head_gets_both_gradients(what):
    """The embedding's weight is the head's: what it gets as an embedding is not lost."""
    gradients = []
    for told in (True, False):
        head = head_of()
        compute, rows = values_of(what, head)
        embedding = torch.nn.Embedding(V, H, _weight=head.weight)
        embedding.weight = head.weight
        states = embedding(TOKENS).tanh()
        if told:
            values = through_head(compute, head, states, rows, size=4, loss=weighted)
        else:
            values = compute(head(states), rows)
        weighted(values).backward()
        gradients.append(head.weight.grad)
    close(*gradients, 1e-12)


@EVERY
@pytest.mark.parametrize("trainable", [True, False])
def test_under_autocast_weights_keep_their_precision(what, trainable):
    head = head_of(torch.float32, trainable)
    exact = run(head, what, weighted, plain=True)
    with torch.autocast("cpu", torch.bfloat16):
        plain = run(head, what, weighted, plain=True)
        torch.clear_autocast_cache()
        fused = run(head, what, weighted)
        torch.clear_autocast_cache()
    for gradient, other, right in zip(fused[1], plain[1], exact[1], strict=True):
        assert gradient.dtype == torch.float32
        # As near to the exact gradient as the plain path is: both round to 8 bits.
        assert (gradient - right).norm() < 2 * (other - right).norm() + 1e-6
        assert (gradient - right).norm() < 0.05 * right.norm()


@pytest.mark.parametrize("scale", [2.0**16, 0.3, -1.0])
def test_a_factor_of_the_loss_scales_the_gradient(scale):
    head = head_of()
    close(
        run(head, "forward_kl", weighted, scale=scale),
        run(head, "forward_kl", weighted, plain=True, scale=scale),
        1e-9,
    )


def test_small_factors_do_not_underflow_in_half_precision():
    """As with a gradient scaler: the loss of long completions has factors near 1e-7."""
    head = head_of(torch.float32)

    def small(values: Tensor) -> Tensor:
        return 1e-7 * weighted(values)

    exact = run(head, "token_logps", weighted, plain=True)
    with torch.autocast("cpu", torch.float16):
        states = normal(N, H, seed=1, dtype=torch.float32).requires_grad_()
        head.zero_grad()
        values = through_head(token_logps, head, states, TOKENS, size=4, loss=small)
        (small(values) * 2.0**16).backward()
    for gradient, right in zip((states.grad, head.weight.grad), exact[1], strict=True):
        assert (gradient / (1e-7 * 2.0**16) - right).norm() < 0.02 * right.norm()


def test_delta_drops_a_token_from_value_and_gradient():
    """δ decides by the KL itself, which is known only when the chunk has been computed."""
    head, mask = head_of(), torch.ones(1, N)
    compute, rows = values_of("forward_kl", head)
    kl = compute(head(normal(N, H, seed=1)), rows).detach()
    delta = kl.median().item()

    def loss(values: Tensor) -> Tensor:
        return distillation_loss(values.unsqueeze(0), mask, delta).sum()

    plain = run(head, "forward_kl", loss, plain=True)
    fused = run(head, "forward_kl", loss)
    close(fused, plain, 1e-12)
    dropped = kl > delta
    assert dropped.any() and not fused[1][0][dropped].any() and fused[1][0][~dropped].any()


@pytest.mark.parametrize("moved", [0.0, 0.3])
def test_the_ratio_of_grpo_and_its_clip(moved):
    """After the first update a token's weight is its ratio, or 0 where the clip holds it."""
    head = head_of()
    old = token_logps(head(normal(N, H, seed=1)), TOKENS).detach() + moved * normal(N, seed=9)

    def loss(logps: Tensor) -> Tensor:
        advantages = torch.tensor([1.5], dtype=torch.float64)
        mask = torch.ones(1, N)
        return grpo_loss(logps.unsqueeze(0), old.unsqueeze(0), advantages, mask)

    close(run(head, "token_logps", loss), run(head, "token_logps", loss, plain=True), 1e-12)


def test_a_loss_that_drops_every_token_has_gradient_0():
    head = head_of()
    states = normal(N, H, seed=1).requires_grad_()

    def loss(values: Tensor) -> Tensor:
        return (0.0 * values).sum()

    loss(through_head(token_logps, head, states, TOKENS, size=4, loss=loss)).backward()
    assert not states.grad.any() and not head.weight.grad.any()


def test_a_nan_shows_up_in_the_gradient():
    head = head_of()
    states = normal(N, H, seed=1)
    states[2, 0] = torch.nan
    loss = weighted(through_head(token_logps, head, states, TOKENS, size=4, loss=weighted))
    loss.backward()
    assert loss.isnan() and head.weight.grad.isnan().any()


def test_another_loss_than_the_one_told_is_refused():
    head = head_of()
    values = through_head(token_logps, head, normal(N, H), TOKENS, size=4, loss=weighted)
    with pytest.raises(RuntimeError, match="not that of the loss"):
        values.sum().backward()


def test_a_chunks_logits_exist_once_and_are_not_kept():
    head, seen = head_of(), []
    head.register_forward_hook(lambda module, given, logits: seen.append(len(logits)))
    held = []

    def pack(saved: Tensor) -> Tensor:
        held.append(saved)
        return saved

    states = normal(N, H, seed=1).requires_grad_()
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda saved: saved):
        values = through_head(token_logps, head, states, TOKENS, size=4, loss=weighted)
    weighted(values).backward()
    assert seen == [4, 4, 3]
    alive = [saved for saved in held if saved.dim() == 2 and saved.shape[-1] == V]
    assert all(saved.shape[0] <= 4 for saved in alive)


def test_without_gradient_nothing_is_differentiated():
    head, states = head_of(), normal(N, H, seed=1)
    with torch.no_grad():
        values = through_head(token_logps, head, states, TOKENS, size=4, loss=weighted)
    assert not values.requires_grad
    close(values, token_logps(head(states), TOKENS).detach(), 1e-12)


class Adapted(torch.nn.Module):
    """A head with a LoRA adapter, as peft wraps it."""

    def __init__(self):
        super().__init__()
        self.base_layer = head_of(trainable=False)
        self.down = torch.nn.Parameter(normal(H, 2, seed=11))
        self.up = torch.nn.Parameter(normal(2, V, seed=12))

    def forward(self, states: Tensor) -> Tensor:
        return self.base_layer(states) + states @ self.down @ self.up


@EVERY
def test_a_head_with_adapters_takes_the_checkpointed_path(what):
    head = Adapted()
    close(run(head, what, weighted), run(head, what, weighted, plain=True), 1e-12)
    assert head.down.grad is not None and head.up.grad is not None


def test_no_rows_have_no_values():
    head = head_of()
    none, ids = torch.zeros(0, H, dtype=torch.float64), torch.zeros(0, dtype=torch.long)
    values = through_head(token_logps, head, none, ids, size=4, loss=lambda v: v.sum())
    assert values.shape == (0,)
    values.sum().backward()
    assert not head.weight.grad.any()
