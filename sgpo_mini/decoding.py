"""The decode loop: all completions get their next token together; finished ones are removed.

The reference is transformers' `generate` (`tests/plain_decoding.py`): both give the same tokens,
greedy and sampled. This loop does less work. It allocates memory for keys and values in blocks of
tokens, and it drops finished completions and frees their memory, whereas `generate` computes all
rows until the longest is done.
"""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import pad
from transformers import Cache
from transformers.cache_utils import DynamicLayer
from transformers.generation.logits_process import TopPLogitsWarper

from .losses import token_entropy
from .student import Student

# Removing rows copies the keys and values of the others, so we wait until this share has ended.
_ENDED_SHARE = 1 / 8
# Memory grows by this many tokens, or by a quarter if that is more: each growth copies the cache.
_BLOCK = 64
# On a CPU we draw from logits with at most this many numbers: what is computed from them stays in
# the cache, and in memory that the process has already. 48 x 49,152 logits took 34 ms at once, 14
# in parts.
_DRAWN_ON_CPU = 2**19


@torch.inference_mode()
def decode(
    student: Student,
    cache: Cache,
    last: Tensor,
    mask: Tensor,
    rows: Tensor,
    *,
    max_new_tokens: int,
    temperature: float,
    top_p: float,
    rows_at_once: int,
    watch: Callable[[int], None] | None = None,
) -> tuple[Tensor, Tensor]:
    """Sample B completions, each up to its first stop token or `max_new_tokens`.

    cache: keys and values of P prompts without their last tokens, `last` (P,); mask (P, L), 0 on
    left padding; rows (B,), the prompt of each completion. Returns the tokens (B, T), T the length
    of the longest completion, and the entropies (B, T) in nats of the sampling distributions
    (before `top_p`); values after a stop token are meaningless. With a plain LM head, the logits of
    at most `rows_at_once` completions exist at a time. `watch` is told after every step how many
    tokens a completion has. Both results are inference tensors: clone them before using them with
    autograd.
    """
    reserve(cache, rows, max_new_tokens)
    mask, length = mask[rows], mask.shape[1]  # of the context of the next token
    position = mask.sum(dim=1, keepdim=True) - 1  # (B, 1), of the input token
    stops = torch.tensor(student.stop_ids, device=last.device)
    # One row of random numbers per completion, so its draws do not depend on which others are
    # still computed. This is the only tensor allocated at full length from the start.
    uniform = torch.rand(len(rows), max_new_tokens, device=last.device)
    steps = []  # (completions still computed, their tokens, entropies), (n,) each
    going = torch.arange(len(rows), device=last.device)  # the completions still computed
    ended = torch.zeros(len(rows), dtype=torch.bool, device=last.device)  # (n,), of `going`
    token = last[rows]
    while len(steps) < max_new_tokens and not ended.all():
        if length > mask.shape[1]:
            mask = pad(mask, (0, _BLOCK), value=1)
        states, _ = student.hidden_states(
            input_ids=token.unsqueeze(1),
            attention_mask=mask[:, :length],
            position_ids=position,
            past_key_values=cache,
            use_cache=True,
        )
        parts = -(-len(going) // rows_at_once)  # of equal size: a small product is a slow one
        numbers = uniform[going, len(steps)].chunk(parts)
        parts = zip(states[:, -1].chunk(parts), numbers, strict=True)
        drawn = [_next(student, *part, temperature, top_p) for part in parts]
        token, entropy = (torch.cat(part) for part in zip(*drawn, strict=True))
        steps.append((going, token, entropy))
        if watch:
            watch(len(steps))
        ended |= torch.isin(token, stops)
        position, length = position + 1, length + 1
        if ended.sum() > _ENDED_SHARE * len(going):
            stay = (~ended).nonzero().squeeze(1)
            cache.batch_select_indices(stay)
            going, token, position = going[stay], token[stay], position[stay]
            mask, ended = mask[stay], ended[stay]
    tokens = torch.full((len(rows), len(steps)), student.pad_id, device=last.device)
    entropies = torch.zeros(tokens.shape, device=last.device)
    for step, (going, token, entropy) in enumerate(steps):
        tokens[going, step], entropies[going, step] = token, entropy
    return tokens, entropies


def _next(
    student: Student, states: Tensor, uniform: Tensor, temperature: float, top_p: float
) -> tuple[Tensor, Tensor]:
    """The next tokens of n completions from their states (n, H), and the entropies: (n,) each."""
    logits = student.head(states)  # (n, V)
    if temperature == 0:
        return logits.argmax(dim=-1), logits.new_zeros(len(logits), dtype=torch.float32)
    size = len(logits)
    if logits.device.type == "cpu":
        size = max(_DRAWN_ON_CPU // logits.shape[1], 1)
    drawn = [
        (draw(logits, numbers, top_p), token_entropy(logits))
        for part, numbers in zip(logits.split(size), uniform.split(size), strict=True)
        for logits in [tempered(part, temperature)]
    ]
    token, entropy = (torch.cat(part) for part in zip(*drawn, strict=True))
    return token, entropy


def tempered(logits: Tensor, temperature: float) -> Tensor:
    """Logits of any shape divided by a temperature above 0, in at least float32.

    They are converted first, because a division in half precision would round. At temperature 1 we
    skip the division, which would copy all logits.
    """
    logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
    return logits if temperature == 1 else logits / temperature


def draw(logits: Tensor, uniform: Tensor, top_p: float = 1.0) -> Tensor:
    """Draw one token per row by inverting its cumulative distribution at a uniform number.

    logits (B, V), uniform (B,) in [0, 1). Returns (B,). A token of probability 0 is never drawn.
    """
    if top_p < 1:
        logits = TopPLogitsWarper(top_p)(None, logits)
    cumulative = logits.softmax(dim=-1).cumsum(dim=-1)  # (B, V)
    # Rounding may move the total away from 1, so scale the uniform number to it and keep it below.
    total = cumulative[:, -1:]
    below = torch.minimum(uniform.unsqueeze(1) * total, total.nextafter(torch.zeros_like(total)))
    return torch.searchsorted(cumulative, below, right=True).squeeze(1)


def reserve(cache: Cache, rows: Tensor, room: int) -> None:
    """Repeat a cache of P prompts for completions `rows` (B,) of at most `room` tokens."""
    for index, layer in enumerate(cache.layers):
        if type(layer) is DynamicLayer and layer.is_initialized:
            cache.layers[index] = _GrowingLayer(layer, rows, room)
        else:  # a sliding window is short and manages its own memory
            layer.batch_select_indices(rows)


class _GrowingLayer(DynamicLayer):
    """Keys and values (B, heads, length, D), written in place into preallocated memory.

    The memory grows with the completions, up to `room` tokens, because most end much earlier.
    """

    def __init__(self, layer: DynamicLayer, rows: Tensor, room: int):
        super().__init__()
        self.is_initialized = True
        self.dtype, self.device = _held_in(layer.keys), layer.keys.device
        self.stores = [layer.keys.to(self.dtype), layer.values.to(self.dtype)]
        length = layer.keys.shape[-2]
        self.limit = length + room
        self._view(length)
        # Pad the few prompts before repeating them, so the many rows are copied once.
        self._replace(lambda store: pad(store, (0, 0, 0, min(_BLOCK, room)))[rows])

    def update(self, key_states: Tensor, value_states: Tensor, *args, **kwargs):
        begin, end = self.keys.shape[-2], self.keys.shape[-2] + key_states.shape[-2]
        size = self.stores[0].shape[-2]
        if end > size:
            block = min(max(_BLOCK, size // 4), self.limit - size)
            self._replace(lambda store: pad(store, (0, 0, 0, block)))
        for store, new in zip(self.stores, (key_states, value_states), strict=True):
            store[:, :, begin:end] = new
        self._view(end)
        return self.keys, self.values

    def batch_select_indices(self, indices: Tensor) -> None:
        self._replace(lambda store: store[indices])

    def _replace(self, change: Callable[[Tensor], Tensor]) -> None:
        """Copy the keys, then the values, so that at most one of them exists twice."""
        length = self.keys.shape[-2]
        self.keys = self.values = None  # these views would keep the old memory alive
        for place in range(2):
            self.stores[place] = change(self.stores[place])
        self._view(length)

    def _view(self, length: int) -> None:
        self.keys, self.values = (store[:, :, :length] for store in self.stores)


def _held_in(keys: Tensor) -> torch.dtype:
    """What autocast computes attention in: it would cast all keys again for every token."""
    device = keys.device.type
    return torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else keys.dtype
