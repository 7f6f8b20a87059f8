"""Rollouts: sampling groups of completions from the student, and scoring their tokens.

Sampling and scoring use the same idea: a group's completions share their prompt, so the prompt is
computed once, its keys and values are repeated for the group, and the completions continue from
them. Prompts are padded on the left, with an explicit mask and explicit positions.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import Cache

from .decoding import decode, tempered
from .losses import forward_kl, reverse_kl, token_logps
from .problems import Problem, Reward
from .student import Student
from .support.checks import reward_of
from .support.fused_head import Loss, through_head
from .support.memory import chunk_size, rows_sampled_at_once
from .support.merged_lora import merged_adapters

Prompt = Sequence[int]  # token ids


@dataclass
class Rollouts:
    """B completions of up to T tokens; `rows` holds the prompt index of each."""

    rows: Tensor  # (B,)
    tokens: Tensor  # (B, T); values after a completion's end are meaningless
    mask: Tensor  # (B, T), 1.0 on a completion's tokens, its stop token included
    truncated: Tensor  # (B,), True if the length limit cut the completion off
    texts: list[str]
    entropies: Tensor | None = None  # (B, T), nats, of the sampling distributions

    def select(self, indices: Sequence[int]) -> "Rollouts":
        """The completions at `indices`, trimmed to the longest of them."""
        chosen = torch.as_tensor(indices, dtype=torch.long, device=self.rows.device)
        length = max(int(self.mask[chosen].sum(dim=1).max()), 1) if len(chosen) else 0
        return self._cut(chosen, length)

    def _cut(self, chosen: Tensor, length: int) -> "Rollouts":
        return Rollouts(
            self.rows[chosen],
            self.tokens[chosen, :length],
            self.mask[chosen, :length],
            self.truncated[chosen],
            [self.texts[index] for index in chosen.tolist()],
            None if self.entropies is None else self.entropies[chosen, :length],
        )

    def distinct(self) -> tuple["Rollouts", Tensor]:
        """The completions without duplicates, and the index (B,) of each completion among them.

        A group often contains the same solution several times. We compute its tokens once, and the
        gradients of the copies add up there.
        """
        # Padding must not make equal completions differ.
        tokens = torch.where(self.mask.bool(), self.tokens, -1)
        keys = torch.cat([self.rows.unsqueeze(1), tokens], dim=1)
        kinds, places = keys.unique(dim=0, return_inverse=True)
        first = places.new_full((len(kinds),), len(places))
        first.scatter_reduce_(0, places, torch.arange(len(places), device=places.device), "amin")
        return self._cut(first, self.tokens.shape[1]), places


@torch.no_grad()
def sample(
    student: Student,
    prompts: Sequence[Prompt],
    group_size: int | Sequence[int],
    *,
    max_new_tokens: int,
    temperature: float = 1.0,
    top_p: float = 1.0,
    watch: Callable[[int], None] | None = None,
) -> Rollouts:
    """Sample `group_size` completions of each prompt; temperature 0 takes the most likely token.

    `group_size` may differ per prompt; all groups are sampled together. Rollouts are samples of the
    policy: only the arguments here shape the distribution (`generate` would add defaults such as
    `top_k=50`). Random numbers come from torch's global generator. `watch` is told after every
    token how many there are. Returns B completions, those of one prompt next to each other.
    """
    sizes = torch.as_tensor(group_size, device=student.device).expand(len(prompts))  # (P,)
    rows = torch.arange(len(prompts), device=student.device).repeat_interleave(sizes)  # (B,)
    with (
        student.autocast(),
        student.cast_once(),
        merged_adapters(student.model),
        _keeping_caches(student),
    ):
        cache, ids, mask = _prefill(student, prompts)
        tokens, entropies = decode(  # (B, T) each
            student,
            cache,
            ids[:, -1],
            mask,
            rows,
            max_new_tokens=max_new_tokens,
            temperature=temperature,
            top_p=top_p,
            rows_at_once=rows_sampled_at_once(student),
            watch=watch,
        )
    tokens, entropies = tokens.clone(), entropies.clone()  # out of inference mode
    # A completion ends with its first stop token. We build the mask from that length, not from
    # `tokens != pad_id`, which would mask the stop token itself if pad is a stop token.
    stops = torch.isin(tokens, torch.tensor(student.stop_ids, device=tokens.device))
    finished = stops.any(dim=1)
    first_stop = stops.int().argmax(dim=1)
    lengths = torch.where(finished, first_stop + 1, tokens.shape[1])  # (B,)
    mask = (torch.arange(tokens.shape[1], device=tokens.device) < lengths.unsqueeze(1)).float()
    ends = torch.where(finished, first_stop, tokens.shape[1]).tolist()
    texts = [student.decode(row[:end]) for row, end in zip(tokens.tolist(), ends, strict=True)]
    return Rollouts(rows, tokens, mask, ~finished, texts, entropies)


def given_rollouts(student: Student, texts: Sequence[str], rows: Sequence[int]) -> Rollouts:
    """Given solutions as rollouts, one per text, none cut off; `rows` holds prompt indices."""
    ids = [student.completion_ids(text) for text in texts]
    length = max(map(len, ids))
    tokens = [row + [student.pad_id] * (length - len(row)) for row in ids]
    mask = [[1.0] * len(row) + [0.0] * (length - len(row)) for row in ids]
    return Rollouts(
        torch.tensor(rows, device=student.device),
        torch.tensor(tokens, device=student.device),
        torch.tensor(mask, device=student.device),
        torch.zeros(len(ids), dtype=torch.bool, device=student.device),
        list(texts),
    )


def rewards_of(rollouts: Rollouts, problems: Sequence[Problem], reward: Reward) -> Tensor:
    """The reward of every completion of P sampled groups, (P, G); 0 for a cut-off completion.

    Raises RewardError, naming the problem, if a reward is not a finite number.
    """
    answers = zip(rollouts.texts, rollouts.rows.tolist(), rollouts.truncated.tolist(), strict=True)
    rewards = [0.0 if cut else reward_of(reward, text, problems[row]) for text, row, cut in answers]
    return torch.tensor(rewards).view(len(problems), -1)


def score(
    student: Student,
    prompts: Sequence[Prompt],
    rollouts: Rollouts,
    *,
    temperature: float = 1.0,
    loss: Loss | None = None,
) -> Tensor:
    """Log-probability of every token of the rollouts after `prompts`.

    The prompts may differ from the sampling prompts: guided trajectories are scored after the
    autonomous prompt. Logits are divided by the rollout temperature to give the sampling
    probabilities. `loss` (B, T) -> () is what the result will be used for: `through_head` needs it
    to save work on a trainable head. Returns (B, T) in nats, 0 on padding.
    """
    distinct, places = rollouts.distinct()
    inside = distinct.mask.bool()

    def compute(logits: Tensor, tokens: Tensor) -> Tensor:
        return token_logps(tempered(logits, temperature), tokens)  # (n,)

    def every(logps: Tensor) -> Tensor:
        """(N,) -> (B, T): equal completions have equal log-probabilities."""
        return _unflatten(logps, inside)[places]

    with student.autocast():
        states = completion_states(student, prompts, distinct)  # (N, H)
        logps = through_head(
            compute,
            student.head,
            states,
            distinct.tokens[inside],
            size=chunk_size(student),
            loss=loss and (lambda logps: loss(every(logps))),
        )
    return every(logps)


def strategy_kl(
    student: Student,
    guided_prompts: Sequence[Prompt],
    autonomous_prompts: Sequence[Prompt],
    rollouts: Rollouts,
    *,
    reverse: bool = False,
    loss: Loss | None = None,
) -> Tensor:
    """KL d_t between guided and autonomous student at every token: how much the strategy changes.

    The same weights read the guided trajectories õ twice: after the guided prompt (no gradient) and
    after the autonomous prompt. Temperature 1. `loss` as in `score`. Returns (B, T) in nats, 0 on
    padding. Source: SGPO (arXiv:2606.24064), objective 2; `reverse` is its ablation.
    """
    divergence = reverse_kl if reverse else forward_kl
    inside = rollouts.mask.bool()

    def compute(autonomous_logits: Tensor, guided: Tensor) -> Tensor:
        with torch.no_grad():
            guided_logits = student.head(guided)
        return divergence(guided_logits, autonomous_logits)  # (n,)

    with torch.no_grad(), student.autocast():
        guided = completion_states(student, guided_prompts, rollouts)  # (N, H)
    with student.autocast():
        autonomous = completion_states(student, autonomous_prompts, rollouts)  # (N, H)
        kl = through_head(
            compute,
            student.head,
            autonomous,
            guided,
            size=chunk_size(student),
            loss=loss and (lambda kl: loss(_unflatten(kl, inside))),
        )
    return _unflatten(kl, inside)


def completion_states(student: Student, prompts: Sequence[Prompt], rollouts: Rollouts) -> Tensor:
    """The states (N, H) from which `student.head` predicts each completion token, without padding.

    N is the number of tokens inside the mask. Each prompt is computed once, and its cache is
    repeated with gradient. Under gradient checkpointing a layer keeps no cache, so every sequence
    is computed whole; both ways give the same states.
    """
    used, rows = rollouts.rows.unique(return_inverse=True)
    prompts = [prompts[index] for index in used.tolist()]
    inside = rollouts.mask.bool()
    if student.gradient_checkpointing and torch.is_grad_enabled():
        states = _states_whole(student, prompts, rows, rollouts)
    else:
        with _keeping_caches(student):
            states = _states_on_shared_prompts(student, prompts, rows, rollouts)
    return states[inside]


def _states_on_shared_prompts(
    student: Student, prompts: Sequence[Prompt], rows: Tensor, rollouts: Rollouts
) -> Tensor:
    """(B, T, H): compute every prompt once, repeat its cache, and continue with completions."""
    cache, ids, mask = _prefill(student, prompts)
    cache.batch_select_indices(rows)
    # The prompt's last token is not in the cache: it predicts the completion's first token.
    inputs = torch.cat([ids[rows, -1:], rollouts.tokens[:, :-1]], dim=1)  # (B, T)
    mask = torch.cat([mask[rows], rollouts.mask[:, :-1].long()], dim=1)  # (B, L + T - 1)
    states, _ = student.hidden_states(
        input_ids=inputs,
        attention_mask=mask,
        position_ids=_positions(mask)[:, -inputs.shape[1] :],
        past_key_values=cache,
        use_cache=True,
    )
    return states


def _states_whole(
    student: Student, prompts: Sequence[Prompt], rows: Tensor, rollouts: Rollouts
) -> Tensor:
    """(B, T, H): compute every sequence whole, with its own copy of the prompt."""
    ids, mask = _pad_left(prompts, student)
    tokens = torch.cat([ids[rows], rollouts.tokens[:, :-1]], dim=1)  # (B, L + T - 1)
    mask = torch.cat([mask[rows], rollouts.mask[:, :-1].long()], dim=1)
    states, _ = student.hidden_states(
        input_ids=tokens, attention_mask=mask, position_ids=_positions(mask), use_cache=False
    )
    return states[:, ids.shape[1] - 1 :]


def _prefill(student: Student, prompts: Sequence[Prompt]) -> tuple[Cache, Tensor, Tensor]:
    """Keys and values of each prompt without its last token; its ids and mask (P, L)."""
    ids, mask = _pad_left(prompts, student)
    output = student.causal_model.base_model(  # without the head: a prompt needs no logits
        input_ids=ids[:, :-1],
        attention_mask=mask[:, :-1],
        position_ids=_positions(mask)[:, :-1],
        use_cache=True,
    )
    return output.past_key_values, ids, mask


@contextmanager
def _keeping_caches(student: Student) -> Iterator[None]:
    """Evaluation mode: in training mode, gradient checkpointing would drop every cache."""
    training = student.model.training
    student.model.eval()
    try:
        yield
    finally:
        student.model.train(training)


def _pad_left(prompts: Sequence[Prompt], student: Student) -> tuple[Tensor, Tensor]:
    # At least two, because the cache of a prompt leaves out its last token.
    length = max([2, *map(len, prompts)])
    ids = [[student.pad_id] * (length - len(prompt)) + list(prompt) for prompt in prompts]
    mask = [[0] * (length - len(prompt)) + [1] * len(prompt) for prompt in prompts]
    return torch.tensor(ids, device=student.device), torch.tensor(mask, device=student.device)


def _positions(mask: Tensor) -> Tensor:
    """Position of each token in its own sequence, not counting left padding."""
    return (mask.cumsum(dim=1) - 1).clamp(min=0)


def _unflatten(values: Tensor, inside: Tensor) -> Tensor:
    """(N,) -> (B, T), 0 outside the mask."""
    zeros = torch.zeros(inside.shape, dtype=values.dtype, device=values.device)
    return zeros.masked_scatter(inside, values)
