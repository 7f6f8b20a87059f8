"""Every formula of SGPO (arXiv:2606.24064), in plain torch.

Its objectives: 1 exploration (GRPO), 2 how to distill (KL), 3 proximal constraints (reachable
target, token mask), 4 when to distill (α). Shapes: P problems, G rollouts a problem, B sequences,
T completion tokens, V vocabulary. `mask` is 1 on a completion's tokens, 0 on padding. Whatever lies
in the padding of log-probabilities and KLs, NaN and -inf included, changes no loss and no gradient:
it is replaced (`torch.where`), not multiplied by 0, for 0 · NaN is NaN. Tensors that do not fit
together raise ValueError.
"""

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

Outputs = Tensor | tuple[Tensor, ...]


def token_logps(logits: Tensor, tokens: Tensor) -> Tensor:
    """Log-probability of each token that was written.

    logits (B, T, V), -inf for a banned token; tokens (B, T), ids below V on padding too; any other
    leading shape will do, (N, V) with (N,). Returns (B, T) in nats, float32 at least.
    """
    if logits.shape[:-1] != tokens.shape:
        raise ValueError(f"logits {(*logits.shape,)} must be tokens {(*tokens.shape,)} + (V,)")
    return _log_softmax(logits).gather(-1, tokens.unsqueeze(-1)).squeeze(-1)  # (B, T)


def token_entropy(logits: Tensor) -> Tensor:
    """Entropy of each next-token distribution, H = -Σ_v p_v log p_v, with 0 · log 0 = 0.

    logits (B, T, V), or any other leading shape. Returns (B, T) in nats, float32 at least.
    """
    log_p = _log_softmax(logits)  # (B, T, V)
    p = log_p.exp()
    return -(p * torch.where(p > 0, log_p, 0.0)).sum(-1)


def group_advantages(rewards: Tensor, in_deviations: bool = True) -> Tensor:
    """How much better than its group each rollout did: (r - mean) / (std + 1e-4).

    rewards (P, G), G at least 1 or ValueError. Returns (P, G), in standard deviations (with
    Bessel's correction); without `in_deviations` r - mean, as LUFFY (arXiv:2504.14945) has it. A
    group whose rewards are all equal, or of one rollout, teaches nothing: exactly 0. Source: SGPO
    (arXiv:2606.24064), objective 1; GRPO, arXiv:2402.03300, section 4.1.
    """
    if rewards.dim() != 2 or rewards.shape[1] == 0:
        raise ValueError(f"rewards must be (P, G), G at least 1, not {(*rewards.shape,)}")
    rewards = rewards.to(torch.promote_types(rewards.dtype, torch.float32))
    centred = rewards - rewards.mean(dim=1, keepdim=True)  # (P, G)
    variance = centred.square().sum(dim=1, keepdim=True) / max(rewards.shape[1] - 1, 1)  # (P, 1)
    scale = variance.sqrt() + 1e-4 if in_deviations else 1.0
    # Asked of the rewards: the mean of three times 0.1 is not 0.1, and the rest would be divided.
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
    """GRPO's clipped policy loss: the mean over sequences of the mean over their tokens.

    logps, old_logps (of the policy that wrote the rollouts; no gradient), mask (B, T); advantages
    (B,). Returns a scalar; a sequence without tokens counts as 0. No KL to a reference model, as in
    SGPO (arXiv:2606.24064), objective 1 (GRPO, arXiv:2402.03300). The clip: PPO, arXiv:1707.06347,
    equation 7; an upper bound of its own: DAPO, arXiv:2503.14476.
    """
    _same_shape(logps=logps, old_logps=old_logps, mask=mask)
    if advantages.shape != logps.shape[:1]:
        raise ValueError(f"advantages {(*advantages.shape,)} must be one for each row of logps")
    inside, advantage = mask.bool(), advantages.unsqueeze(1)  # (B, T), (B, 1)
    ratio = torch.where(inside, logps - old_logps.detach(), 0.0).exp()  # (B, T), π / π_old
    # The clip takes the gradient away once the ratio has moved far enough the way the advantage
    # points. At ratio 1 (the first update on a batch) it does nothing, and the gradient is that of
    # -A · log π, since d ratio = ratio · d log π.
    clipped = ratio.clamp(1 - clip_low, 1 + clip_high)
    loss = -torch.minimum(ratio * advantage, clipped * advantage)  # (B, T)
    return _mean_over_tokens(loss, inside, inside).sum() / max(logps.shape[0], 1)


def negative_log_likelihood(logps: Tensor, mask: Tensor) -> Tensor:
    """SFT: each given solution's -log π, the mean over its tokens.

    logps, mask (B, T). Returns (B,) in nats a token, 0 for a solution without tokens.
    """
    _same_shape(logps=logps, mask=mask)
    inside = mask.bool()
    return _mean_over_tokens(-logps, inside, inside)


def policy_shaping_loss(
    logps: Tensor, advantages: Tensor, mask: Tensor, shaping: float = 0.1
) -> Tensor:
    """LUFFY's loss on solutions that another wrote: -A · f(π), f(x) = x / (x + shaping).

    logps, mask (B, T); advantages (B,). Returns (B,), the mean over each solution's tokens. π is
    the current probability, with gradient: no policy of ours wrote the solution, so there is no
    ratio. Source: LUFFY (arXiv:2504.14945), policy shaping.
    """
    _same_shape(logps=logps, mask=mask)
    inside = mask.bool()
    p = torch.where(inside, logps, 0.0).exp()
    # d f / d log π = shaping · π / (π + shaping)²: largest where π = shaping. Plain importance
    # sampling (f = π) would all but ignore the tokens that the student finds unlikely, which are
    # those that it has to learn.
    loss = -advantages.unsqueeze(1) * p / (p + shaping)  # (B, T)
    return _mean_over_tokens(loss, inside, inside)


def forward_kl(guided_logits: Tensor, autonomous_logits: Tensor) -> Tensor:
    """KL(guided ‖ autonomous) of each next-token distribution, the exact sum over the vocabulary.

    Both (B, T, V), or any other leading shape. Returns (B, T) in nats, float32 at least. The guided
    side is the target and gets no gradient. It covers: wherever the guided student may go, the
    autonomous one must be able to. A token banned (-inf) on both sides counts 0; where the first
    distribution uses a token that the second bans, the value is infinite and its gradient 0.
    Source: SGPO (arXiv:2606.24064), objective 2.
    """
    _same_shape(guided_logits=guided_logits, autonomous_logits=autonomous_logits)
    # Up to a constant this is -Σ_v g_v log softmax(z)_v, cross-entropy with the soft label g, and
    # d log softmax(z)_v / d z_k = [v = k] - a_k; so d KL / d z = a - g, with a = softmax(z).
    return _kl(_log_softmax(guided_logits.detach()), _log_softmax(autonomous_logits))


def reverse_kl(guided_logits: Tensor, autonomous_logits: Tensor) -> Tensor:
    """KL(autonomous ‖ guided), otherwise as `forward_kl`: the guided side gets no gradient.

    It seeks a mode: the autonomous student must not go where the guided one does not. Source: the
    ablation of the direction in SGPO (arXiv:2606.24064), objective 2.
    """
    _same_shape(guided_logits=guided_logits, autonomous_logits=autonomous_logits)
    # d KL / d z_k = a_k (log(a_k / g_k) - KL): a token that the autonomous side all but rules out
    # (a_k near 0) gets next to no gradient, however likely the guided side finds it.
    return _kl(_log_softmax(autonomous_logits), _log_softmax(guided_logits.detach()))


def distillation_loss(kl: Tensor, mask: Tensor, delta: float | None = 1.0) -> Tensor:
    """Each trajectory's KL: the sum over its kept tokens, divided by its own full length.

    kl, mask (B, T); delta in nats. A token whose KL is above delta is dropped, from value and
    gradient; None keeps all. It still counts in the length, so that the others are not scaled up in
    its place. Returns (B,) in nats a token, 0 for a trajectory without tokens. Source: SGPO
    (arXiv:2606.24064), objective 2 (L_KD) and 3, token level (L_KD^clip).
    """
    _same_shape(kl=kl, mask=mask)
    inside = mask.bool()
    # "Not above" rather than "at most": a KL that is NaN stays in, and shows, rather than hide.
    kept = inside if delta is None else inside & ~(kl.detach() > delta)
    return _mean_over_tokens(kl, kept, inside)


def adaptive_weight(
    p_auto: Tensor,
    p_guide: Tensor,
    alpha0: float = 0.5,
    gamma: float = 0.1,
    alpha_max: float = 0.8,
) -> Tensor:
    """α(q) = clip(α0 · (p_guide - p_auto + γ) / (p_auto + γ), 0, α_max): when to distill.

    p_auto, p_guide (P,): the share of right answers in each group. Returns (P,), without unit: high
    where the student fails alone and the strategy helps, α0 · γ / (1 + γ) = 0.045 once both are
    always right, 0 where the strategy harms. ValueError unless gamma is above 0 (p_auto may be 0).
    Source: SGPO (arXiv:2606.24064), objective 4.
    """
    _same_shape(p_auto=p_auto, p_guide=p_guide)
    if not gamma > 0:
        raise ValueError(f"gamma must be above 0, not {gamma}")
    return (alpha0 * (p_guide - p_auto + gamma) / (p_auto + gamma)).clamp(0.0, alpha_max)


def reachable_target(
    logps: Tensor, mask: Tensor, correct: Tensor, normalize: Literal["sum", "mean"] = "mean"
) -> int | None:
    """Which right guided trajectory to distill: the likeliest under the current unguided student.

    logps (G, T) in nats, of the guided trajectories *without* the strategy in the prompt; mask
    (G, T); correct (G,). Returns a row, the first of equals, or None when none is right. ValueError
    for an unknown normalize. Source: SGPO (arXiv:2606.24064), objective 3, trajectory level.

    The paper leaves open whether length is divided out. We do by default: every token costs
    log-probability, so a sum ranks mostly by length and favours short solutions, the ones that skip
    the steps a strategy is there to teach; and the loss of the chosen trajectory is itself a mean
    over its tokens. The price: a mean lets a wordy solution dilute its unlikely choices in routine
    text. "sum" is the trajectory's probability taken literally.
    """
    _same_shape(logps=logps, mask=mask)
    if correct.shape != logps.shape[:1]:
        raise ValueError(f"correct {(*correct.shape,)} must be one for each row of logps")
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

    tensors: one row a token, N rows each, such as hidden states (N, H) and token ids (N,).
    `compute` applies the LM head and returns a value a row (n,), or a tuple of such; its logits
    (n, V) die with the chunk, and the backward pass makes them again, so no (N, V) tensor is ever
    whole. Parameters that `compute` reaches get their gradients too. Returns (N,) or a tuple of
    such. ValueError without a tensor, for unequal N and for a size below 1. Source: Chen et al.
    2016, "Training Deep Nets with Sublinear Memory Cost", arXiv:1604.06174.
    """
    rows = {tensor.shape[0] for tensor in tensors}
    if len(rows) != 1 or size < 1:
        raise ValueError(f"tensors must share their rows, size be at least 1: {rows}, {size}")
    parts = []
    for start in range(0, max(*rows, 1), size):  # N = 0: one chunk without rows
        chunk = [tensor[start : start + size] for tensor in tensors]
        # Without gradients this is a plain call.
        parts.append(checkpoint(compute, *chunk, use_reentrant=False))
    if isinstance(parts[0], Tensor):
        return torch.cat(parts)
    return tuple(torch.cat(values) for values in zip(*parts, strict=True))


def _log_softmax(logits: Tensor) -> Tensor:
    """In float32 at least: half precision is raised, float64 kept."""
    return torch.log_softmax(logits, -1, dtype=torch.promote_types(logits.dtype, torch.float32))


def _kl(log_p: Tensor, log_q: Tensor) -> Tensor:
    """(..., V) -> (...), KL(p ‖ q) = Σ_v p_v (log p_v - log q_v), with 0 · log 0 = 0."""
    p = log_p.exp()
    if torch.isfinite(log_p.detach().sum() + log_q.detach().sum()):  # no token is banned
        return (p * (log_p - log_q)).sum(-1)
    used, banned = p > 0, log_q == -torch.inf
    log_ratio = torch.where(used & ~banned, log_p - log_q, 0.0)
    # Infinite from outside: through the product, a token that delta drops would still send back
    # 0 · inf = NaN.
    return torch.where((used & banned).any(-1), torch.inf, (p * log_ratio).sum(-1))


def _mean_over_tokens(values: Tensor, kept: Tensor, inside: Tensor) -> Tensor:
    """(B, T) -> (B,): the sum over the kept tokens, divided by the number inside; 0 if none is."""
    return torch.where(kept, values, 0.0).sum(dim=1) / inside.sum(dim=1).clamp(min=1)


def _same_shape(**tensors: Tensor) -> None:
    if len({tensor.shape for tensor in tensors.values()}) != 1:
        shapes = ", ".join(f"{name} {(*tensor.shape,)}" for name, tensor in tensors.items())
        raise ValueError(f"these must have one shape: {shapes}")
