"""Every formula of SGPO (arXiv:2606.24064) and its baselines, in plain torch.

SGPO's objectives: 1 exploration (GRPO), 2 how to distill (KL), 3 proximal constraints (reachable
target, token mask), 4 when to distill (α). Shapes: P problems, G rollouts per problem, B sequences,
T completion tokens, V vocabulary. `mask` is 1 on a completion's tokens, 0 on padding. Padding never
affects a loss or gradient, even if it holds NaN or -inf: we replace it (`torch.where`), because
multiplying by 0 would leave 0 · NaN = NaN. Tensors whose shapes do not match raise ValueError.
"""

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

Outputs = Tensor | tuple[Tensor, ...]


def token_logps(logits: Tensor, tokens: Tensor) -> Tensor:
    """Log-probability of each token of a completion.

    logits (B, T, V), -inf for a banned token; tokens (B, T), ids below V even on padding. Other
    leading shapes work too, such as (N, V) with (N,). Returns (B, T) in nats, at least float32.
    """
    if logits.shape[:-1] != tokens.shape:
        raise ValueError(f"logits {(*logits.shape,)} must be tokens {(*tokens.shape,)} + (V,)")
    return _log_softmax(logits).gather(-1, tokens.unsqueeze(-1)).squeeze(-1)  # (B, T)


def token_entropy(logits: Tensor) -> Tensor:
    """Entropy of each next-token distribution, H = -Σ_v p_v log p_v, with 0 · log 0 = 0.

    logits (B, T, V), or any other leading shape. Returns (B, T) in nats, at least float32.
    """
    log_p = _log_softmax(logits)  # (B, T, V)
    p = log_p.exp()
    return -(p * torch.where(p > 0, log_p, 0.0)).sum(-1)


def group_advantages(rewards: Tensor, in_deviations: bool = True) -> Tensor:
    """Advantage of each rollout over its group: (r - mean) / (std + 1e-4).

    rewards (P, G); ValueError if G is 0. Returns (P, G), in standard deviations (with Bessel's
    correction), or r - mean without `in_deviations`, as in LUFFY (arXiv:2504.14945). A group of one
    rollout, or of equal rewards, gets exactly 0. Source: SGPO (arXiv:2606.24064), objective 1;
    GRPO, arXiv:2402.03300, section 4.1.
    """
    if rewards.dim() != 2 or rewards.shape[1] == 0:
        raise ValueError(f"rewards must be (P, G), G at least 1, not {(*rewards.shape,)}")
    rewards = rewards.to(torch.promote_types(rewards.dtype, torch.float32))
    centred = rewards - rewards.mean(dim=1, keepdim=True)  # (P, G)
    variance = centred.square().sum(dim=1, keepdim=True) / max(rewards.shape[1] - 1, 1)  # (P, 1)
    scale = variance.sqrt() + 1e-4 if in_deviations else 1.0
    # Compare the rewards themselves: the mean of three rewards of 0.1 is not exactly 0.1, and the
    # small std would magnify that rounding error.
    all_equal = (rewards == rewards[:, :1]).all(dim=1, keepdim=True)
    return torch.where(all_equal, 0.0, centred / scale)


def grpo_loss(
    logps: Tensor,
    old_logps: Tensor,
    advantages: Tensor,
    mask: Tensor,
    clip_low: float = 0.2,
    clip_high: float = 0.28,
) -> Tensor:
    """GRPO's clipped policy loss, averaged over each sequence's tokens, then over sequences.

    logps, old_logps (of the sampling policy; no gradient), mask (B, T); advantages (B,). Returns a
    scalar; a sequence without tokens counts as 0. No KL to a reference model, as in SGPO
    (arXiv:2606.24064), objective 1 (GRPO, arXiv:2402.03300). Clip: PPO, arXiv:1707.06347, equation
    7; separate upper bound: DAPO, arXiv:2503.14476.
    """
    _same_shape(logps=logps, old_logps=old_logps, mask=mask)
    if advantages.shape != logps.shape[:1]:
        raise ValueError(f"advantages {(*advantages.shape,)} needs one value per row of logps")
    inside, advantage = mask.bool(), advantages.unsqueeze(1)  # (B, T), (B, 1)
    ratio = torch.where(inside, logps - old_logps.detach(), 0.0).exp()  # (B, T), π / π_old
    # The clip removes the gradient once the ratio has moved far enough in the direction of the
    # advantage. At ratio 1 (the first update on a batch) it does nothing, and the gradient is that
    # of -A · log π, since d ratio = ratio · d log π.
    clipped = ratio.clamp(1 - clip_low, 1 + clip_high)
    loss = -torch.minimum(ratio * advantage, clipped * advantage)  # (B, T)
    return _mean_over_tokens(loss, inside, inside).sum() / max(logps.shape[0], 1)


def negative_log_likelihood(logps: Tensor, mask: Tensor) -> Tensor:
    """SFT loss of each given solution: the mean of -log π over its tokens.

    logps, mask (B, T). Returns (B,) in nats per token, 0 for a solution without tokens.
    """
    _same_shape(logps=logps, mask=mask)
    inside = mask.bool()
    return _mean_over_tokens(-logps, inside, inside)


def policy_shaping_loss(
    logps: Tensor, advantages: Tensor, mask: Tensor, shaping: float = 0.1
) -> Tensor:
    """LUFFY's loss on given solutions: -A · f(π), with f(x) = x / (x + shaping).

    logps, mask (B, T); advantages (B,). Returns (B,), the mean over each solution's tokens. π is
    the current probability, with gradient: the student did not sample the solution, so there is no
    ratio to an old policy. Source: LUFFY (arXiv:2504.14945), policy shaping.
    """
    _same_shape(logps=logps, mask=mask)
    inside = mask.bool()
    p = torch.where(inside, logps, 0.0).exp()
    # d f / d log π = shaping · π / (π + shaping)² is largest at π = shaping. Plain importance
    # sampling (f = π) would almost ignore the tokens that the student finds unlikely, which are the
    # ones it has to learn.
    loss = -advantages.unsqueeze(1) * p / (p + shaping)  # (B, T)
    return _mean_over_tokens(loss, inside, inside)


def forward_kl(guided_logits: Tensor, autonomous_logits: Tensor) -> Tensor:
    """KL(guided ‖ autonomous) of each next-token distribution, summed exactly over the vocabulary.

    Both (B, T, V), or any other leading shape. Returns (B, T) in nats, at least float32. The guided
    side is the target and gets no gradient. Forward KL is mode-covering: the autonomous student
    must give probability to every token that the guided student may choose. A token banned (-inf)
    on both sides counts 0; if the first distribution uses a token that the second bans, the value
    is infinite and its gradient 0. Source: SGPO (arXiv:2606.24064), objective 2.
    """
    _same_shape(guided_logits=guided_logits, autonomous_logits=autonomous_logits)
    # Up to a constant this is -Σ_v g_v log a_v, the cross-entropy with the soft label g, where
    # a = softmax(z). Since d log a_v / d z_k = [v = k] - a_k, d KL / d z = a - g.
    return _kl(_log_softmax(guided_logits.detach()), _log_softmax(autonomous_logits))


def reverse_kl(guided_logits: Tensor, autonomous_logits: Tensor) -> Tensor:
    """KL(autonomous ‖ guided), otherwise as `forward_kl`: the guided side gets no gradient.

    Reverse KL is mode-seeking: the autonomous student must avoid tokens that the guided one avoids.
    Source: the ablation of the KL direction in SGPO (arXiv:2606.24064), objective 2.
    """
    _same_shape(guided_logits=guided_logits, autonomous_logits=autonomous_logits)
    # d KL / d z_k = a_k (log(a_k / g_k) - KL): a token that is very unlikely without the strategy
    # (a_k near 0) gets almost no gradient, however likely it is with the strategy.
    return _kl(_log_softmax(autonomous_logits), _log_softmax(guided_logits.detach()))


def distillation_loss(kl: Tensor, mask: Tensor, delta: float | None = 1.0) -> Tensor:
    """KL of each trajectory: the sum over its kept tokens, divided by its full length.

    kl, mask (B, T); delta in nats. A token whose KL is above delta is dropped from value and
    gradient; None keeps all tokens. A dropped token still counts in the length, so the other tokens
    keep their weight. Returns (B,) in nats per token, 0 for a trajectory without tokens. Source:
    SGPO (arXiv:2606.24064), objective 2 (L_KD) and 3, token level (L_KD^clip).
    """
    _same_shape(kl=kl, mask=mask)
    inside = mask.bool()
    # "Not above" rather than "at most": a NaN in the KL is kept, so it shows up in the loss.
    kept = inside if delta is None else inside & ~(kl.detach() > delta)
    return _mean_over_tokens(kl, kept, inside)


def adaptive_weight(
    p_auto: Tensor, p_guide: Tensor, alpha0: float = 0.5, gamma: float = 0.1, alpha_max: float = 0.8
) -> Tensor:
    """α(q) = clip(α0 · (p_guide - p_auto + γ) / (p_auto + γ), 0, α_max): when to distill.

    p_auto, p_guide (P,): the share of correct answers in each group. Returns (P,), dimensionless:
    high if the student fails alone and the strategy helps, α0 · γ / (1 + γ) = 0.045 if both groups
    are always correct, 0 if the strategy hurts. ValueError unless gamma is above 0 (p_auto may be
    0). Source: SGPO (arXiv:2606.24064), objective 4.
    """
    _same_shape(p_auto=p_auto, p_guide=p_guide)
    if not gamma > 0:
        raise ValueError(f"gamma must be above 0, not {gamma}")
    return (alpha0 * (p_guide - p_auto + gamma) / (p_auto + gamma)).clamp(0.0, alpha_max)


def reachable_target(
    logps: Tensor, mask: Tensor, correct: Tensor, normalize: Literal["sum", "mean"] = "mean"
) -> int | None:
    """Choose the correct guided trajectory that the current unguided student finds most likely.

    logps (G, T) in nats, of the guided trajectories *without* the strategy in the prompt; mask
    (G, T); correct (G,). Returns a row (on a tie the first), or None if none is correct. ValueError
    for an unknown normalize. Source: SGPO (arXiv:2606.24064), objective 3, trajectory level.

    The paper does not say whether to normalize by length. We do by default. Every token costs
    log-probability, so a sum ranks mostly by length and favours short solutions, which skip the
    steps that a strategy should teach; and the loss of the chosen trajectory is itself a mean over
    its tokens. The drawback: in a wordy solution, routine text dilutes the unlikely choices. "sum"
    is the literal probability of the trajectory.
    """
    _same_shape(logps=logps, mask=mask)
    if correct.shape != logps.shape[:1]:
        raise ValueError(f"correct {(*correct.shape,)} needs one value per row of logps")
    if normalize not in ("sum", "mean"):
        raise ValueError(f'normalize must be "sum" or "mean", not {normalize!r}')
    candidates = correct.bool().nonzero().squeeze(1)  # (|C|,)
    if len(candidates) == 0:
        return None
    inside = mask.bool()
    scores = torch.where(inside, logps.detach(), 0.0).sum(dim=1)  # (G,)
    if normalize == "mean":
        scores = scores / inside.sum(dim=1).clamp(min=1)
    return int(candidates[scores[candidates].argmax()])


def in_chunks(compute: Callable[..., Outputs], *tensors: Tensor, size: int) -> Outputs:
    """`compute(*tensors)` on `size` rows at a time: same value, same gradient, lower peak memory.

    tensors: one row per token, N rows each, such as hidden states (N, H) and token ids (N,).
    `compute` applies the LM head and returns one value per row (n,), or a tuple of such tensors.
    Its logits (n, V) are freed with the chunk and recomputed in the backward pass, so a full (N, V)
    tensor never exists. Parameters that `compute` uses get their gradients too. Returns (N,) or a
    tuple of (N,). ValueError without a tensor, for unequal N and for a size below 1. Source: Chen
    et al. 2016, "Training Deep Nets with Sublinear Memory Cost", arXiv:1604.06174.
    """
    rows = {tensor.shape[0] for tensor in tensors}
    if len(rows) != 1 or size < 1:
        raise ValueError(f"tensors need equal rows and size at least 1, not {rows}, {size}")
    parts = []
    for start in range(0, max(*rows, 1), size):  # N = 0: one chunk without rows
        chunk = [tensor[start : start + size] for tensor in tensors]
        parts.append(checkpoint(compute, *chunk, use_reentrant=False))  # no gradient: a plain call
    if isinstance(parts[0], Tensor):
        return torch.cat(parts)
    return tuple(torch.cat(values) for values in zip(*parts, strict=True))


def _log_softmax(logits: Tensor) -> Tensor:
    """At least in float32: half precision is converted, float64 kept."""
    return torch.log_softmax(logits, -1, dtype=torch.promote_types(logits.dtype, torch.float32))


def _kl(log_p: Tensor, log_q: Tensor) -> Tensor:
    """(..., V) -> (...), KL(p ‖ q) = Σ_v p_v (log p_v - log q_v), with 0 · log 0 = 0."""
    p = log_p.exp()
    if torch.isfinite(log_p.detach().sum() + log_q.detach().sum()):  # no token is banned
        return (p * (log_p - log_q)).sum(-1)
    used, banned = p > 0, log_q == -torch.inf
    log_ratio = torch.where(used & ~banned, log_p - log_q, 0.0)
    # Set the infinity outside the product: inside it, even a token that delta drops would have the
    # gradient 0 · inf = NaN.
    return torch.where((used & banned).any(-1), torch.inf, (p * log_ratio).sum(-1))


def _mean_over_tokens(values: Tensor, kept: Tensor, inside: Tensor) -> Tensor:
    """(B, T) -> (B,): the sum over kept tokens, divided by the number inside; 0 without tokens."""
    return torch.where(kept, values, 0.0).sum(dim=1) / inside.sum(dim=1).clamp(min=1)


def _same_shape(**tensors: Tensor) -> None:
    if len({tensor.shape for tensor in tensors.values()}) != 1:
        shapes = ", ".join(f"{name} {(*tensor.shape,)}" for name, tensor in tensors.items())
        raise ValueError(f"shapes must be equal: {shapes}")
