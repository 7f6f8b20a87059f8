"""The decode loop: every completion gets its next token together, and leaves when it has ended.

The reference is transformers' `generate` (`tests/plain_decoding.py`): the same tokens come out of
both, greedy and sampled. This loop does less. Keys and values are written into memory that is set
aside a block of tokens at a time, and a completion that has ended is no longer computed and gives
its memory back, where `generate` goes on with all rows until the longest is done.
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

# Taking rows out copies the keys and values of those that stay: it waits until so many have ended.
_ENDED_SHARE = 1 / 8
# Room for so many tokens is set aside at a time, or for a quarter of what is there if that is more:
# every growth copies what is there.
_BLOCK = 64


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
) -> tuple[Tensor, Tensor]:
    """Complete B prompts, up to the first stop token of each or `max_new_tokens`.

    cache: keys and values of P prompts but their last tokens, `last` (P,); mask (P, L), 0 on the
    padding at their left; rows (B,), which prompt each completion answers. Returns the tokens
    (B, T), T being the longest completion, and the entropies in nats of the distributions they were
    drawn from (before `top_p`), (B, T); what stands behind a stop token has no meaning. Where the
    logits are the LM head's alone, there are never those of more than `rows_at_once` completions.
    Both tensors are of inference mode: autograd takes a clone of them, and not the tensors.
    """
    reserve(cache, rows, max_new_tokens)
    mask, length = mask[rows], mask.shape[1]  # of what the next token is drawn from
    position = mask.sum(dim=1, keepdim=True) - 1  # (B, 1), of the token read
    stops = torch.tensor(student.stop_ids, device=last.device)
    # A row of random numbers for every completion: which others are computed beside it, and until
    # when, changes none of its draws. Nothing else is as long as the limit from the start.
    uniform = torch.rand(len(rows), max_new_tokens, device=last.device)
    steps = []  # (the completions computed, their tokens, the entropies), (n,) each
    going = torch.arange(len(rows), device=last.device)  # the completions still computed
    ended = torch.zeros(len(rows), dtype=torch.bool, device=last.device)  # those of them that ended
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
        numbers = uniform[going, len(steps)].split(rows_at_once)
        parts = zip(states[:, -1].split(rows_at_once), numbers, strict=True)
        drawn = [_next(student, *part, temperature, top_p) for part in parts]
        token, entropy = (torch.cat(part) for part in zip(*drawn, strict=True))
        steps.append((going, token, entropy))
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
    """The next token of n completions, from their states (n, H), and the entropies: (n,) each."""
    logits = student.head(states)  # (n, V)
    if temperature == 0:
        return logits.argmax(dim=-1), logits.new_zeros(len(logits), dtype=torch.float32)
    logits = tempered(logits, temperature)
    return draw(logits, uniform, top_p), token_entropy(logits)


def tempered(logits: Tensor, temperature: float) -> Tensor:
    """Logits of any shape divided by a temperature above 0, in float32 at least.

    They are raised first: in half precision the division would round. At temperature 1 nothing is
    divided, for the quotients would be a copy of all logits.
    """
    logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
    return logits if temperature == 1 else logits / temperature


def draw(logits: Tensor, uniform: Tensor, top_p: float = 1.0) -> Tensor:
    """One token a row by inverting its cumulative distribution: a uniform number in, a token out.

    logits (B, V), uniform (B,) in [0, 1). Returns (B,). A token of probability 0 is never drawn.
    """
    if top_p < 1:
        logits = TopPLogitsWarper(top_p)(None, logits)
    cumulative = logits.softmax(dim=-1).cumsum(dim=-1)  # (B, V)
    # The sum of all is 1 but for rounding, so the number is stretched to it, and kept below it.
    total = cumulative[:, -1:]
    below = torch.minimum(uniform.unsqueeze(1) * total, total.nextafter(torch.zeros_like(total)))
    return torch.searchsorted(cumulative, below, right=True).squeeze(1)


def reserve(cache: Cache, rows: Tensor, room: int) -> None:
    """Repeat a cache of P prompts for their completions, `rows` (B,), of at most `room` tokens."""
    for index, layer in enumerate(cache.layers):
        if type(layer) is DynamicLayer and layer.is_initialized:
            cache.layers[index] = _GrowingLayer(layer, rows, room)
        else:  # a sliding window is short, and keeps its own books
            layer.batch_select_indices(rows)


class _GrowingLayer(DynamicLayer):
    """Keys and values (B, heads, length, D), written in place in memory with room for more.

    The room grows with the completions, up to `room` tokens: most end long before.
    """

    def __init__(self, layer: DynamicLayer, rows: Tensor, room: int):
        super().__init__()
        self.is_initialized = True
        self.dtype, self.device = layer.keys.dtype, layer.keys.device
        self.stores = [layer.keys, layer.values]
        length = layer.keys.shape[-2]
        self.limit = length + room
        self._view(length)
        # Room is made in the few prompts, so that the many rows are copied once.
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
        """Put the keys into other memory, then the values: only one of them is there twice."""
        length = self.keys.shape[-2]
        self.keys = self.values = None  # they are views, and would keep the old memory
        for place in range(2):
            self.stores[place] = change(self.stores[place])
        self._view(length)

    def _view(self, length: int) -> None:
        self.keys, self.values = (store[:, :, :length] for store in self.stores)
