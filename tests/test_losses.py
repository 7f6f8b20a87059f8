"""losses.py against references written again in plain Python, in float64, from the formulas."""

import math
import statistics

import pytest
import torch
from torch import Tensor, tensor
from torch.autograd import gradcheck

from sgpo_mini.losses import (
    adaptive_weight,
    distillation_loss,
    forward_kl,
    group_advantages,
    grpo_loss,
    in_chunks,
    negative_log_likelihood,
    policy_shaping_loss,
    reachable_target,
    reverse_kl,
    token_entropy,
    token_logps,
)

NAN, INF = math.nan, math.inf
B, T, V = 3, 5, 7


def normal(*shape: int, seed: int = 0, scale: float = 2.0, dtype=torch.float64) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return (scale * torch.randn(*shape, generator=generator, dtype=torch.float64)).to(dtype)


def lengths_mask(lengths: list[int], width: int = T) -> Tensor:
    return tensor([[1.0] * n + [0.0] * (width - n) for n in lengths], dtype=torch.float64)


# The references: lists of Python floats in, Python floats out.


def softmax(logits: list[float]) -> list[float]:
    top = max(logits)
    weights = [math.exp(x - top) for x in logits]
    return [w / math.fsum(weights) for w in weights]


def kl_of(p: list[float], q: list[float]) -> float:
    return math.fsum(a * math.log(a / b) for a, b in zip(p, q, strict=True) if a > 0)


def entropy_of(p: list[float]) -> float:
    return -math.fsum(a * math.log(a) for a in p if a > 0)


def grpo_reference(logps, old_logps, advantages, lengths, low, high) -> float:
    total = 0.0
    for row, old_row, advantage, length in zip(logps, old_logps, advantages, lengths, strict=True):
        losses = []
        for new, old in zip(row[:length], old_row[:length], strict=True):
            ratio = math.exp(new) / math.exp(old)
            clipped = max(1 - low, min(1 + high, ratio))
            losses.append(-min(ratio * advantage, clipped * advantage))
        total += sum(losses) / length if length else 0.0
    return total / len(lengths)


def each_row(function, *arrays: Tensor) -> Tensor:
    """function(row, row, ...) over the last axis of (B, T, V) tensors, as a (B, T) tensor."""
    rows = [array.double().reshape(-1, array.shape[-1]).tolist() for array in arrays]
    values = [function(*row) for row in zip(*rows, strict=True)]
    return tensor(values, dtype=torch.float64).reshape(arrays[0].shape[:-1])


def finite_difference(function, at: Tensor, step: float = 1e-6) -> Tensor:
    """Central differences of a scalar function, one coordinate at a time."""
    gradient = torch.zeros_like(at)
    for i in range(at.numel()):
        for sign in (1, -1):
            moved = at.clone()
            moved.view(-1)[i] += sign * step
            gradient.view(-1)[i] += sign * float(function(moved)) / (2 * step)
    return gradient


def gradient_of(function, at: Tensor) -> Tensor:
    at = at.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(function(at), at)
    return gradient


def close(actual: Tensor, expected, tolerance: float = 1e-5) -> None:
    expected = torch.as_tensor(expected, dtype=torch.float64)
    torch.testing.assert_close(actual.double(), expected, atol=tolerance, rtol=tolerance)


# token_logps, token_entropy


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_token_logps_and_entropy_agree_with_the_reference(dtype):
    logits = normal(B, T, V, dtype=dtype)
    tokens = torch.arange(B * T).reshape(B, T) % V
    picked = [
        [math.log(softmax(logits[b, t].tolist())[tokens[b, t]]) for t in range(T)] for b in range(B)
    ]
    close(token_logps(logits, tokens), picked)
    close(token_entropy(logits), each_row(lambda row: entropy_of(softmax(row)), logits))
    assert token_logps(logits, tokens).dtype == token_entropy(logits).dtype == dtype


def test_token_probabilities_sum_to_one_over_every_continuation():
    """Enumerates all V² two-token continuations: their probabilities are a distribution."""
    first, second = normal(V), normal(V, V, seed=1)  # the second token depends on the first
    pairs = torch.cartesian_prod(torch.arange(V), torch.arange(V))  # (V², 2)
    logits = torch.stack([first.expand(V * V, V), second[pairs[:, 0]]], dim=1)  # (V², 2, V)
    close(token_logps(logits, pairs).sum(dim=1).exp().sum(), 1.0, 1e-12)


def test_entropy_in_nats_of_uniform_and_certain():
    close(token_entropy(torch.zeros(1, 1, 8)), [[math.log(8)]])
    certain = tensor([[[0.0, -INF, -INF]]], dtype=torch.float64, requires_grad=True)
    entropy = token_entropy(certain)
    assert entropy.item() == 0.0
    entropy.sum().backward()
    assert certain.grad.tolist() == [[[0.0, 0.0, 0.0]]]


def test_gradients_of_token_logps_and_entropy():
    logits = normal(2, 3, 4).requires_grad_()
    tokens = tensor([[0, 1, 3], [2, 2, 0]])
    assert gradcheck(lambda z: token_logps(z, tokens), logits)
    assert gradcheck(token_entropy, logits)


def test_half_precision_is_raised_to_float32():
    logits = normal(B, T, V, scale=4.0).to(torch.bfloat16)
    other = normal(B, T, V, seed=1, scale=4.0).to(torch.bfloat16)
    tokens = torch.zeros(B, T, dtype=torch.long)
    exact = each_row(lambda p, q: kl_of(softmax(p), softmax(q)), logits, other)
    close(forward_kl(logits, other), exact)  # bfloat16 itself is good to 1e-2
    close(token_logps(logits, tokens), token_logps(logits.double(), tokens))
    assert forward_kl(logits, other).dtype == reverse_kl(logits, other).dtype == torch.float32


# group_advantages


def test_advantages_agree_with_the_statistics_module():
    rewards = [[1.0, 0.0, 0.0, 1.0, 1.0, 0.0, 0.0, 0.0], [0.0, 0.2, 0.9, 1.0, 0.3, 0.5, 0.7, 0.1]]
    expected = [
        [(r - statistics.mean(row)) / (statistics.stdev(row) + 1e-4) for r in row]
        for row in rewards
    ]
    close(group_advantages(tensor(rewards)), expected)


def test_advantages_by_hand():
    """Two of four right: std with Bessel's correction is sqrt(4 · 0.25 / 3) = 0.57735."""
    up = 0.5 / (math.sqrt(1 / 3) + 1e-4)
    close(group_advantages(tensor([[1, 0, 0, 1]])), [[up, -up, -up, up]])


def test_nearly_equal_rewards_are_not_blown_up():
    """A std of 1e-4 is halved by the 1e-4 beside it."""
    spread = 1e-4 * math.sqrt(2)
    rewards = tensor([[0.0, spread]], dtype=torch.float64)
    close(group_advantages(rewards), [[-math.sqrt(2) / 4, math.sqrt(2) / 4]])


@pytest.mark.parametrize("value", [0.0, 1.0, 0.1, 1 / 3])
@pytest.mark.parametrize("group", [1, 3, 8])
def test_equal_rewards_give_exactly_zero(value, group):
    assert group_advantages(torch.full((2, group), value)).tolist() == [[0.0] * group] * 2


def test_one_group_does_not_change_another():
    rewards = tensor([[1.0, 0.0, 0.0], [1.0, 1.0, 1.0], [0.0, 0.5, 1.0]])
    for row in range(3):
        alone = group_advantages(rewards[row : row + 1])
        assert torch.equal(group_advantages(rewards)[row : row + 1], alone)


# grpo_loss


def grpo_case(dtype=torch.float64):
    lengths = [5, 2, 3]
    old = -normal(B, T, scale=1.0).abs().to(dtype)
    logps = old + normal(B, T, seed=1, scale=0.4).to(dtype)  # many ratios outside the clip range
    return logps, old, tensor([1.3, -0.7, 0.4], dtype=dtype), lengths


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("clip", [(0.2, 0.28), (0.1, 0.5)])
def test_grpo_loss_agrees_with_the_reference(dtype, clip):
    logps, old, advantages, lengths = grpo_case(dtype)
    expected = grpo_reference(
        logps.tolist(), old.tolist(), advantages.tolist(), lengths, clip[0], clip[1]
    )
    close(grpo_loss(logps, old, advantages, lengths_mask(lengths).to(dtype), *clip), expected)


def test_gradient_of_grpo_loss():
    logps, old, advantages, lengths = grpo_case()
    mask = lengths_mask(lengths)
    gradient = gradient_of(lambda x: grpo_loss(x, old, advantages, mask), logps)
    close(gradient, finite_difference(lambda x: grpo_loss(x, old, advantages, mask), logps), 1e-7)
    assert gradcheck(lambda x: grpo_loss(x, old, advantages, mask), logps.requires_grad_())


def test_grpo_means_over_a_sequence_first_and_then_over_sequences():
    """Ratio 1: -(A1 + A2) / 2 whatever the lengths, and a token's share is 1 / length."""
    logps, advantages, mask = torch.zeros(2, T), tensor([3.0, -1.0]), lengths_mask([5, 1])
    assert grpo_loss(logps, logps, advantages, mask).item() == pytest.approx(-1.0)
    gradient = gradient_of(lambda x: grpo_loss(x, logps, advantages, mask), logps)
    close(gradient, [[-3.0 / 2 / 5] * 5, [1.0 / 2, 0, 0, 0, 0]])


def test_a_sequence_without_tokens_counts_as_zero():
    logps = torch.zeros(2, T)
    gradient = gradient_of(
        lambda x: grpo_loss(x, logps, tensor([2.0, 5.0]), lengths_mask([T, 0])), logps
    )
    close(gradient, [[-2.0 / 2 / T] * T, [0.0] * T])
    assert grpo_loss(logps, logps, tensor([2.0, 5.0]), lengths_mask([T, 0])).item() == -1.0
    assert grpo_loss(logps, logps, tensor([2.0, 5.0]), torch.zeros(2, T)).item() == 0.0
    assert grpo_loss(*[torch.zeros(0, T)] * 2, torch.zeros(0), torch.zeros(0, T)).item() == 0.0


@pytest.mark.parametrize(
    ("ratio", "advantage", "passes"),
    [
        (1.27, 1.0, True),  # inside the range
        (1.29, 1.0, False),  # already raised enough
        (0.50, 1.0, True),  # lowered, though it ought to be raised: may come back
        (0.81, -1.0, True),
        (0.79, -1.0, False),  # already lowered enough
        (1.50, -1.0, True),  # raised, though it ought to be lowered: may come back
        (1.21, 1.0, True),  # the upper side is wider than the lower one
        (1.25, -1.0, True),
    ],
)
def test_clip_is_one_sided_and_asymmetric(ratio, advantage, passes):
    logps = tensor([[math.log(ratio)]], dtype=torch.float64)
    old, mask = torch.zeros(1, 1), torch.ones(1, 1)
    gradient = gradient_of(lambda x: grpo_loss(x, old, tensor([advantage]), mask), logps)
    assert gradient.item() == pytest.approx(-advantage * ratio if passes else 0.0)


@pytest.mark.parametrize("advantage", [1.0, -1.0])
def test_a_step_raises_what_did_well_and_lowers_what_did_badly(advantage):
    logits, tokens = normal(1, 4, V).requires_grad_(), tensor([[0, 3, 6, 2]])
    before = token_logps(logits, tokens)
    grpo_loss(before, before.detach(), tensor([advantage]), torch.ones(1, 4)).backward()
    after = token_logps(logits - 0.1 * logits.grad, tokens)
    assert (advantage * (after - before) > 0).all()


def test_one_update_a_batch_is_the_policy_gradient():
    """At ratio 1 the gradient on the logits is -A/T · (onehot - softmax), for any clip range."""
    logits, tokens = normal(1, 3, 4), tensor([[0, 1, 3]])

    def loss(z: Tensor) -> Tensor:
        logps = token_logps(z, tokens)  # passed twice: no gradient may flow through the old one
        return grpo_loss(logps, logps, tensor([1.5], dtype=torch.float64), torch.ones(1, 3))

    probabilities = tensor([softmax(row) for row in logits[0].tolist()], dtype=torch.float64)
    onehot = torch.eye(4, dtype=torch.float64)[tokens[0]]
    close(gradient_of(loss, logits)[0], -0.5 * (onehot - probabilities), 1e-9)


# forward_kl and reverse_kl

DIRECTIONS = pytest.mark.parametrize("kl", [forward_kl, reverse_kl])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_kl_agrees_with_the_reference(dtype):
    guided, autonomous = normal(B, T, V, dtype=dtype), normal(B, T, V, seed=1, dtype=dtype)
    forward = each_row(lambda g, a: kl_of(softmax(g), softmax(a)), guided, autonomous)
    reverse = each_row(lambda g, a: kl_of(softmax(a), softmax(g)), guided, autonomous)
    close(forward_kl(guided, autonomous), forward)
    close(reverse_kl(guided, autonomous), reverse)
    assert ((forward - reverse).abs() > 1e-3).all()  # a case in which the direction shows


def test_kl_by_hand():
    """(1/2, 1/2) against (1/4, 3/4): ln(4/3) / 2 one way, ln(27/16) / 4 the other."""
    guided, autonomous = tensor([[[0.5, 0.5]]]).log(), tensor([[[0.25, 0.75]]]).log()
    close(forward_kl(guided, autonomous), [[math.log(4 / 3) / 2]])
    close(reverse_kl(guided, autonomous), [[math.log(27 / 16) / 4]])


@pytest.mark.parametrize("options", [2, 3, 4])
def test_choosing_one_of_k_equal_options_costs_ln_k(options):
    """Why delta = 1 masks the choices of a small vocabulary from three options on."""
    sure = torch.full((1, 1, options), -INF).index_fill(2, tensor([0]), 0.0)
    close(forward_kl(sure, torch.zeros(1, 1, options)), [[math.log(options)]])


@DIRECTIONS
def test_kl_ignores_a_shift_of_the_logits_and_is_zero_between_equals(kl):
    guided, autonomous = normal(B, T, V), normal(B, T, V, seed=1)
    close(kl(guided + 50, autonomous - 30), kl(guided, autonomous), 1e-10)
    assert kl(guided, guided).tolist() == [[0.0] * T] * B


@DIRECTIONS
def test_gradient_of_kl_by_differences_and_none_to_the_guided_side(kl):
    guided = normal(2, 3, 4).requires_grad_()
    autonomous = normal(2, 3, 4, seed=1)
    assert gradcheck(lambda z: kl(guided, z), autonomous.clone().requires_grad_())
    gradient = gradient_of(lambda z: kl(guided, z).sum(), autonomous)
    differences = finite_difference(lambda z: kl(guided.detach(), z).sum(), autonomous)
    close(gradient, differences, 1e-7)
    assert gradient.abs().max() > 0.01
    autonomous.requires_grad_()
    kl(guided, autonomous).sum().backward()
    assert guided.grad is None


def test_kl_gradients_are_the_stated_ones():
    guided, autonomous = normal(1, 1, V), normal(1, 1, V, seed=1)
    g, a = softmax(guided.flatten().tolist()), softmax(autonomous.flatten().tolist())
    forward = gradient_of(lambda z: forward_kl(guided, z).sum(), autonomous).flatten()
    reverse = gradient_of(lambda z: reverse_kl(guided, z).sum(), autonomous).flatten()
    close(forward, [a[k] - g[k] for k in range(V)], 1e-9)
    close(reverse, [a[k] * (math.log(a[k] / g[k]) - kl_of(a, g)) for k in range(V)], 1e-9)


def test_same_weights_on_both_sides_get_the_gradient_of_the_autonomous_side_alone():
    """In SGPO both sides come from one student: only the unguided path may move it."""
    weight = normal(4, V)
    with_strategy, without = normal(1, 3, 4, seed=1), normal(1, 3, 4, seed=2)
    target = with_strategy @ weight
    expected = gradient_of(lambda w: forward_kl(target, without @ w).sum(), weight)
    actual = gradient_of(lambda w: forward_kl(with_strategy @ w, without @ w).sum(), weight)
    assert torch.equal(actual, expected)


@DIRECTIONS
def test_a_step_on_kl_moves_the_autonomous_side_towards_the_guided(kl):
    guided, autonomous = normal(1, 1, V), normal(1, 1, V, seed=1)
    g = softmax(guided.flatten().tolist())
    gaps = []
    for _ in range(200):
        a = softmax(autonomous.flatten().tolist())
        gaps.append(sum(abs(x - y) for x, y in zip(g, a, strict=True)) / 2)  # total variation
        autonomous = autonomous - gradient_of(lambda z: kl(guided, z).sum(), autonomous)
    assert gaps[1] < gaps[0]
    assert gaps[-1] < 0.2 * gaps[0]  # reverse KL is slow where the student gives next to nothing


def test_forward_covers_and_reverse_seeks_a_mode():
    """Guided: two modes, at 1 and 5. The student can be one bump or a broad hill, no more.

    Among all bumps exp(-(v - centre)² / 2 width²), forward KL picks one between the modes that
    gives both of them mass; reverse KL picks one on a single mode.
    """
    place = torch.arange(7, dtype=torch.float64)
    guided = tensor([0.01, 0.47, 0.01, 0.01, 0.01, 0.46, 0.03], dtype=torch.float64).log()
    family = [(c / 4, w / 4) for c in range(25) for w in range(2, 17)]
    bumps = torch.stack([-((place - c) ** 2) / (2 * w**2) for c, w in family]).unsqueeze(1)
    target = guided.expand_as(bumps)
    covering = bumps[forward_kl(target, bumps).flatten().argmin()].softmax(-1).flatten()
    seeking = bumps[reverse_kl(target, bumps).flatten().argmin()].softmax(-1).flatten()
    assert min(covering[1], covering[5]) > 0.1
    assert max(seeking[1], seeking[5]) > 0.6
    assert min(seeking[1], seeking[5]) < 0.01


@DIRECTIONS
def test_tokens_banned_on_both_sides_count_nothing(kl):
    guided, autonomous = normal(1, 3, V), normal(1, 3, V, seed=1)
    banned = torch.full((1, 3, 2), -INF, dtype=torch.float64)
    wide = torch.cat([autonomous, banned], -1)
    close(kl(torch.cat([guided, banned], -1), wide), kl(guided, autonomous), 1e-12)
    gradient = gradient_of(lambda z: kl(torch.cat([guided, banned], -1), z).sum(), wide)
    close(gradient[..., :V], gradient_of(lambda z: kl(guided, z).sum(), autonomous), 1e-12)
    assert not gradient[..., V:].any()


@pytest.mark.parametrize("low", [-INF, -1000.0])  # banned, and underflowing to 0
@pytest.mark.parametrize("other", [0.5, -INF])
@DIRECTIONS
def test_a_token_without_probability_costs_nothing_whatever_the_other_side_says(kl, low, other):
    one = tensor([[[1.0, 2.0, low]]], dtype=torch.float64)
    whole = tensor([[[2.0, 1.0, other]]], dtype=torch.float64)
    guided, autonomous = (one, whole) if kl is forward_kl else (whole, one)
    p, q = softmax(one.flatten().tolist()), softmax(whole.flatten().tolist())
    close(kl(guided, autonomous), [[kl_of(p, q)]])
    assert gradient_of(lambda z: kl(guided, z).sum(), autonomous).isfinite().all()


@DIRECTIONS
def test_an_infinite_kl_is_dropped_by_delta_without_spoiling_the_gradient(kl):
    banned, whole = normal(1, 2, V), normal(1, 2, V, seed=1)
    banned[0, 1, 0] = -INF
    guided, autonomous = (whole, banned) if kl is forward_kl else (banned, whole)
    assert kl(guided, autonomous)[0, 1] == INF
    gradient = gradient_of(
        lambda z: distillation_loss(kl(guided, z), torch.ones(1, 2), 50.0).sum(), autonomous
    )
    assert not gradient[0, 1].any()
    alone = gradient_of(lambda z: kl(guided[:, :1], z).sum() / 2, autonomous[:, :1])
    close(gradient[:, :1], alone, 1e-12)
    assert distillation_loss(kl(guided, autonomous), torch.ones(1, 2), None).item() == INF


# distillation_loss


@pytest.mark.parametrize("delta", [1.0, 0.3, None])
def test_distillation_loss_agrees_with_the_reference(delta):
    kl, lengths = normal(B, T, scale=1.0).abs(), [5, 2, 3]
    expected = []
    for row, length in zip(kl.tolist(), lengths, strict=True):
        kept = [d for d in row[:length] if delta is None or d <= delta]
        expected.append(sum(kept) / length)
    close(distillation_loss(kl, lengths_mask(lengths), delta), expected)
    assert gradcheck(
        lambda x: distillation_loss(x, lengths_mask(lengths), delta), kl.requires_grad_()
    )


def test_delta_drops_from_value_and_gradient_but_not_from_the_length():
    kl, mask = tensor([[0.5, 3.0, 1.0, 1.0001, 9.0]]), lengths_mask([4])
    assert distillation_loss(kl, mask, 1.0).item() == pytest.approx(1.5 / 4)  # exactly delta stays
    assert distillation_loss(kl, mask).item() == pytest.approx(1.5 / 4)  # the paper's delta
    assert distillation_loss(kl, mask, None).item() == pytest.approx(5.5001 / 4)
    gradient = gradient_of(lambda x: distillation_loss(x, mask, 1.0).sum(), kl)
    assert gradient.tolist() == [[0.25, 0.0, 0.25, 0.0, 0.0]]
    assert distillation_loss(kl, mask, 0.1).item() == 0.0


def test_each_trajectory_is_by_itself_and_an_empty_one_is_zero():
    kl, mask = tensor([[0.2, 0.4], [0.6, 5.0], [0.3, 0.3]]), lengths_mask([2, 1, 0], 2)
    close(distillation_loss(kl, mask), [0.3, 0.6, 0.0])


def test_gradient_of_the_whole_distillation_path():
    """Logits to KL to loss, delta between the tokens' KLs: against differences."""
    guided, autonomous = normal(2, 4, 5), normal(2, 4, 5, seed=1)
    mask, kl = lengths_mask([4, 3], 4), forward_kl(guided, autonomous)
    delta = float(kl[0].sort().values[1:3].mean())  # about half of the tokens are dropped

    def loss(z: Tensor) -> Tensor:
        return distillation_loss(forward_kl(guided, z), mask, delta).sum()

    gradient = gradient_of(loss, autonomous)
    close(gradient, finite_difference(loss, autonomous), 1e-7)
    dropped = (kl > delta) | ~mask.bool()
    assert dropped.any() and not dropped.all()
    assert torch.equal(gradient.abs().sum(-1) == 0, dropped)


def test_a_nan_kl_within_the_completion_shows():
    kl = tensor([[0.1, NAN]])
    assert distillation_loss(kl, torch.ones(1, 2), 1.0).isnan().all()


# Padding


@pytest.mark.parametrize("garbage", [NAN, INF, -INF, 1e30, -1e30])
@pytest.mark.parametrize("width", [T, T + 3])
def test_padding_never_changes_loss_or_gradient(garbage, width):
    logps, old, advantages, lengths = grpo_case()
    mask, wide_mask = lengths_mask(lengths), lengths_mask(lengths, width)

    def widen(values: Tensor) -> Tensor:
        wide = torch.full((B, width), garbage, dtype=torch.float64)
        wide[:, :T] = values
        return torch.where(wide_mask.bool(), wide, garbage)

    kl = logps.abs()
    cases = [
        (lambda x, m, o: grpo_loss(x, o, advantages, m), logps),
        (lambda x, m, o: distillation_loss(x, m, 0.7).sum(), kl),
        (lambda x, m, o: distillation_loss(x, m, None).sum(), kl),
    ]
    for loss, values in cases:
        assert torch.equal(loss(widen(values), wide_mask, widen(old)), loss(values, mask, old))
        wide = gradient_of(lambda x, f=loss: f(x, wide_mask, widen(old)), widen(values))
        narrow = gradient_of(lambda x, f=loss: f(x, mask, old), values)
        assert torch.equal(wide[:, :T], narrow)
        assert not wide[~wide_mask.bool()].any()
    correct = tensor([0, 1, 1])
    for normalize in ("sum", "mean"):
        assert reachable_target(widen(logps), wide_mask, correct, normalize) == reachable_target(
            logps, mask, correct, normalize
        )


@DIRECTIONS
def test_logits_in_the_padding_get_no_gradient(kl):
    guided, autonomous = normal(2, T, V), normal(2, T, V, seed=1)
    mask = lengths_mask([2, 4])
    other = torch.where(mask.bool().unsqueeze(-1), autonomous, 1e4 * normal(2, T, V, seed=2))

    def loss(z: Tensor) -> Tensor:
        return distillation_loss(kl(guided, z), mask, None).sum()

    assert torch.equal(loss(other), loss(autonomous))
    assert torch.equal(gradient_of(loss, other), gradient_of(loss, autonomous))
    assert not gradient_of(loss, other)[~mask.bool()].any()


def test_masks_of_any_kind_mean_the_same():
    logps, old, advantages, lengths = grpo_case()
    mask = lengths_mask(lengths)
    for other in (mask.bool(), mask.long(), mask.float()):
        assert torch.equal(
            grpo_loss(logps, old, advantages, other), grpo_loss(logps, old, advantages, mask)
        )
        assert torch.equal(distillation_loss(old.abs(), other), distillation_loss(old.abs(), mask))


# adaptive_weight


@pytest.mark.parametrize(
    ("p_auto", "p_guide", "alpha"),
    [
        (0.0, 1.0, 0.8),  # 0.5 · 1.1 / 0.1 = 5.5, capped
        (0.0, 0.0, 0.5),  # alpha0
        (0.5, 1.0, 0.5),  # 0.5 · 0.6 / 0.6
        (0.25, 0.5, 0.5),  # 0.5 · 0.35 / 0.35
        (0.375, 0.75, 0.5),
        (0.5, 0.75, 7 / 24),  # 0.5 · 0.35 / 0.6
        (0.5, 0.5, 1 / 12),  # 0.5 · 0.1 / 0.6
        (1.0, 1.0, 1 / 22),  # 0.5 · 0.1 / 1.1
        (0.5, 0.25, 0.0),  # below 0: the strategy harms
        (1.0, 0.0, 0.0),
        (0.25, 0.71, 0.8),  # 0.5 · 0.56 / 0.35 is the cap to the digit
        (0.25, 0.70, 11 / 14),  # just below it: 0.5 · 0.55 / 0.35
    ],
)
def test_adaptive_weight_at_points_by_hand(p_auto, p_guide, alpha):
    close(adaptive_weight(tensor([p_auto]), tensor([p_guide])), [alpha])


def test_adaptive_weight_decays_as_the_student_improves():
    p_auto = torch.linspace(0, 1, 9)
    alpha = adaptive_weight(p_auto, torch.ones(9))
    assert (alpha.diff() <= 0).all()
    assert alpha[0] == pytest.approx(0.8) and alpha[-1] < 0.05


def test_adaptive_weight_uses_its_settings():
    p_auto, p_guide = tensor([0.2, 0.0]), tensor([0.5, 1.0])
    weights = adaptive_weight(p_auto, p_guide, alpha0=0.3, gamma=0.2, alpha_max=0.6)
    close(weights, [0.3 * 0.5 / 0.4, 0.6])


# reachable_target


def target_case():
    """By the token, row 0 is short and unlikely, row 1 long and likely, row 2 likeliest."""
    logps = tensor([[-1.0, -1.0, NAN, NAN], [-0.6, -0.6, -0.6, -0.6], [-0.1, -0.1, -0.1, NAN]])
    return logps, lengths_mask([2, 4, 3], 4)


def test_normalisation_decides_between_short_and_long():
    logps, mask = target_case()
    correct = tensor([True, True, False])
    assert reachable_target(logps, mask, correct, "sum") == 0  # -2.0 against -2.4
    assert reachable_target(logps, mask, correct, "mean") == 1  # -1.0 against -0.6
    assert reachable_target(logps, mask, correct) == 1


def test_only_right_trajectories_and_none_without_one():
    logps, mask = target_case()
    assert reachable_target(logps, mask, tensor([1.0, 1.0, 1.0])) == 2
    assert reachable_target(logps, mask, tensor([1.0, 0.0, 0.0])) == 0
    assert reachable_target(logps, mask, tensor([0.0, 0.0, 0.0])) is None
    impossible = torch.full((3, 4), -INF)
    assert reachable_target(impossible, mask, tensor([False, False, True])) == 2


@pytest.mark.parametrize("normalize", ["sum", "mean"])
def test_ties_go_to_the_first(normalize):
    logps, mask = torch.full((4, 3), -0.5), torch.ones(4, 3)
    assert reachable_target(logps, mask, tensor([0, 1, 1, 1]), normalize) == 1


# in_chunks


@pytest.mark.parametrize("size", [1, 3, 4, 10, 64])  # 3 and 4 do not divide 10
def test_chunks_give_the_same_values_and_gradients(size):
    head = torch.nn.Linear(6, V).double()
    tokens = torch.arange(10) % V
    weights = normal(10, seed=3)

    def compute(guided: Tensor, autonomous: Tensor, ids: Tensor) -> tuple[Tensor, Tensor]:
        logits = head(autonomous)
        return forward_kl(head(guided), logits), token_logps(logits, ids)

    gradients, values = [], []
    for run in (compute, lambda *rows: in_chunks(compute, *rows, size=size)):
        guided = normal(10, 6).requires_grad_()
        autonomous = normal(10, 6, seed=1).requires_grad_()
        head.zero_grad()
        kl, logps = run(guided, autonomous, tokens)
        (weights @ kl + weights.square() @ logps).backward()
        assert guided.grad is None
        values.append(torch.stack([kl, logps]))
        gradients.append([autonomous.grad, head.weight.grad, head.bias.grad])
    close(values[1], values[0], 1e-12)
    for whole, chunked in zip(*gradients, strict=True):
        assert whole.abs().max() > 0.1
        close(chunked, whole, 1e-12)


def test_gradient_of_chunks_by_differences():
    weight, tokens = normal(3, 4).requires_grad_(), tensor([0, 1, 3, 2, 2])
    hidden = normal(5, 3, seed=1).requires_grad_()

    def run(hidden: Tensor, weight: Tensor) -> Tensor:
        return in_chunks(lambda h, ids: token_logps(h @ weight, ids), hidden, tokens, size=2)

    assert gradcheck(run, (hidden, weight))


def test_chunks_keep_no_logits_and_make_them_again_in_backward():
    """What autograd holds between forward and backward: nothing as wide as the vocabulary."""
    wide, rows_seen = 1000, []
    weight, hidden = normal(4, wide).requires_grad_(), normal(10, 4).requires_grad_()

    def compute(rows: Tensor, ids: Tensor) -> Tensor:
        rows_seen.append(len(rows))
        return token_logps(rows @ weight, ids)

    def held(run) -> int:
        sizes = []

        def pack(saved: Tensor) -> Tensor:
            if saved.data_ptr() != weight.data_ptr():
                sizes.append(saved.numel())
            return saved

        with torch.autograd.graph.saved_tensors_hooks(pack, lambda saved: saved):
            run()
        return max(sizes, default=0)

    ids = torch.zeros(10, dtype=torch.long)
    assert held(lambda: compute(hidden, ids)) == 10 * wide
    rows_seen.clear()
    outputs = []
    assert held(lambda: outputs.append(in_chunks(compute, hidden, ids, size=4))) < wide
    assert rows_seen == [4, 4, 2]
    outputs[0].sum().backward()
    assert sorted(rows_seen) == [2, 2, 4, 4, 4, 4]


def test_chunks_without_gradient_compute_once():
    seen = []

    def compute(rows: Tensor) -> Tensor:
        seen.append(len(rows))
        return rows.sum(dim=1)

    hidden = normal(7, 3).requires_grad_()
    with torch.no_grad():
        result = in_chunks(compute, hidden, size=3)
    assert seen == [3, 3, 1] and not result.requires_grad
    assert torch.equal(result, hidden.detach().sum(dim=1))


def test_chunks_of_no_rows():
    weight = normal(4, V).requires_grad_()
    none, ids = torch.zeros(0, 4, dtype=torch.float64), torch.zeros(0, dtype=torch.long)
    logps = in_chunks(lambda h, i: token_logps(h @ weight, i), none, ids, size=8)
    kl, entropy = in_chunks(
        lambda h: (forward_kl(h @ weight, h @ weight), token_entropy(h @ weight)), none, size=8
    )
    assert logps.shape == kl.shape == entropy.shape == (0,)
    (logps.sum() + kl.sum() + entropy.sum()).backward()
    assert not weight.grad.any()


# Refusals

LOGITS, ROWS, ONES = torch.zeros(2, 3, 4), torch.zeros(2, 3), torch.ones(2)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: token_logps(LOGITS, torch.zeros(2, 2, dtype=torch.long)), r"\(2, 3, 4\)"),
        (lambda: group_advantages(torch.zeros(4)), r"\(P, G\)"),
        (lambda: group_advantages(torch.zeros(4, 0)), "at least 1"),
        (lambda: grpo_loss(ROWS, ROWS, ONES, torch.ones(2, 1)), r"mask \(2, 1\)"),
        (lambda: grpo_loss(ROWS, ROWS, torch.ones(3), ROWS), r"advantages \(3,\)"),
        (lambda: grpo_loss(ROWS, ROWS, torch.ones(2, 1), ROWS), r"advantages \(2, 1\)"),
        (lambda: forward_kl(LOGITS, LOGITS[:, :1]), r"guided_logits \(2, 3, 4\)"),
        (lambda: reverse_kl(LOGITS, LOGITS[..., :3]), r"autonomous_logits \(2, 3, 3\)"),
        (lambda: distillation_loss(ROWS, ROWS[:1]), r"mask \(1, 3\)"),
        (lambda: adaptive_weight(ONES, torch.ones(3)), r"p_guide \(3,\)"),
        (lambda: adaptive_weight(ONES, ONES, gamma=0.0), "gamma must be above 0"),
        (lambda: reachable_target(ROWS, ROWS, torch.ones(3)), r"correct \(3,\)"),
        (lambda: reachable_target(ROWS, ROWS, ONES, "median"), "'median'"),
        (lambda: in_chunks(lambda h: h, ROWS, size=0), "at least 1"),
        (lambda: in_chunks(lambda h, i: h, ROWS, torch.ones(3), size=2), "need equal rows"),
        (lambda: in_chunks(lambda: ONES, size=2), "need equal rows"),
    ],
)
def test_what_does_not_fit_is_refused_in_one_sentence(call, words):
    with pytest.raises(ValueError, match=words) as refusal:
        call()
    assert "\n" not in str(refusal.value)


# Imitation: SFT and LUFFY


def given_solutions():
    """Log-probabilities of three solutions, the last without tokens; NaN in the padding."""
    mask = lengths_mask([5, 2, 0])
    logps = torch.where(mask.bool(), -normal(B, T, seed=3).abs(), NAN)
    return logps.requires_grad_(), tensor([0.75, -0.25, 1.0], dtype=torch.float64), mask


def test_negative_log_likelihood_is_each_solutions_mean_over_its_own_tokens():
    logps, _, mask = given_solutions()
    losses = negative_log_likelihood(logps, mask)
    rows = logps.tolist()
    expected = [-sum(rows[0]) / 5, -sum(rows[1][:2]) / 2, 0.0]
    torch.testing.assert_close(losses, tensor(expected, dtype=torch.float64))
    losses.sum().backward()
    assert logps.grad.tolist() == [[-1 / 5] * 5, [-1 / 2] * 2 + [0.0] * 3, [0.0] * 5]


def test_policy_shaping_is_luffys_formula_in_value_and_gradient():
    logps, advantages, mask = given_solutions()
    losses = policy_shaping_loss(logps, advantages, mask)
    losses.sum().backward()
    for row, length in enumerate((5, 2, 0)):
        loss = 0.0
        for t in range(length):
            p = math.exp(logps[row, t].item())
            loss += -advantages[row].item() * p / (p + 0.1) / length
            # d f / d log π = π · f'(π) = π · 0.1 / (π + 0.1)²: π is not detached
            slope = -advantages[row].item() * p * 0.1 / (p + 0.1) ** 2 / length
            assert logps.grad[row, t].item() == pytest.approx(slope, rel=1e-12)
        assert losses[row].item() == pytest.approx(loss, rel=1e-12)
        assert (logps.grad[row, length:] == 0).all()


def test_policy_shaping_raises_a_better_solution_and_most_where_it_is_unlikely():
    logps = tensor([[math.log(0.1), math.log(0.9)]], dtype=torch.float64, requires_grad=True)
    mask = torch.ones(1, 2, dtype=torch.float64)
    policy_shaping_loss(logps, tensor([1.0], dtype=torch.float64), mask).sum().backward()
    assert (logps.grad < 0).all() and logps.grad[0, 0] < 2 * logps.grad[0, 1]


def test_advantages_without_deviations_are_the_distance_from_the_groups_mean():
    rewards = tensor([[1.0, 0.0, 0.0, 1.0], [0.1, 0.1, 0.1, 0.1]], dtype=torch.float64)
    expected = tensor([[0.5, -0.5, -0.5, 0.5], [0.0] * 4], dtype=torch.float64)
    assert torch.equal(group_advantages(rewards, in_deviations=False), expected)
