"""How much is computed at once. These bounds on memory change no value."""

from collections.abc import Sequence

import torch

from ..student import Student
from .fused_head import can_fuse

# The logits of one chunk have at most this many numbers: 256 MiB in float32. On a CPU more rows do
# not make the product faster, and malloc takes blocks of 32 MiB and more from the kernel every
# time, which clears them page by page; that takes longer than a pass over the logits. So a chunk is
# just smaller there, unless autograd holds its logits (`in_chunks`): then malloc would reuse the
# gaps between freed blocks badly, and memory would grow with the number of chunks.
_CHUNK_NUMBERS, _CHUNK_NUMBERS_ON_CPU, _HELD_ON_CPU = 2**26, 2**23 - 2**19, 2**24


def chunk_size(student: Student) -> int:
    """The most tokens whose logits exist at once when tokens are scored."""
    return _rows(student, _CHUNK_NUMBERS_ON_CPU if can_fuse(student.head) else _HELD_ON_CPU)


def rows_sampled_at_once(student: Student) -> int:
    """The most completions that get their next token at once."""
    return _rows(student, _CHUNK_NUMBERS_ON_CPU)


def completions_at_once(student: Student, tokens: int) -> int:
    """The most completions of at most `tokens`, prompt included, that are sampled together.

    For where nothing else decides it, as in an evaluation. Their keys and values may take a quarter
    of a GPU's memory, and 512 MiB on a CPU, where more than 128 rows make no product faster.
    """
    config = student.causal_model.config.get_text_config()
    heads = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
    size = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    a_token = 2 * config.num_hidden_layers * heads * size * student.compute_dtype.itemsize
    if student.device.type == "cpu":
        return max(min(2**29 // (a_token * tokens), 128), 1)
    memory = torch.cuda.get_device_properties(student.device).total_memory
    return max(memory // 4 // (a_token * tokens), 1)


def _rows(student: Student, on_cpu: int) -> int:
    """How many rows of logits have `_CHUNK_NUMBERS` numbers, or on a CPU at most `on_cpu`."""
    numbers = min(_CHUNK_NUMBERS, on_cpu) if student.device.type == "cpu" else _CHUNK_NUMBERS
    return max(numbers // student.causal_model.config.get_text_config().vocab_size, 1)


def micro_batches(lengths: Sequence[tuple[int, ...]], budget: int) -> list[list[int]]:
    """Indices of sequences, sorted by length, in batches of at most `budget` tokens.

    lengths: tokens of each sequence's parts, such as (prompt, completion). Padding counts: each
    part is padded to the longest of its batch (prompts left, completions right). A sequence above
    the budget gets its own batch; budget 0 puts all into one batch, in order.
    """
    if not budget:
        return [list(range(len(lengths)))] if lengths else []
    batches: list[list[int]] = []
    longest: list[int] = []  # of each part, in the last batch
    for place in sorted(range(len(lengths)), key=lambda place: sum(lengths[place])):
        together = list(map(max, longest, lengths[place]))
        if batches and (len(batches[-1]) + 1) * sum(together) <= budget:
            batches[-1].append(place)
            longest = together
        else:
            batches.append([place])
            longest = list(lengths[place])
    return batches
