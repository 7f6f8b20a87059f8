"""What is distilled and how: targets, their share-out, the KL inside one forward pass. No TRL here.

The KL is computed inside the model's own `forward`, because whatever holds the weights in pieces
(FSDP, ZeRO-3) or sums gradients (DDP) puts them together there and only there.
"""

import functools
import types
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import PreTrainedModel
from transformers.utils import ModelOutput

from ..losses import forward_kl, in_chunks, reachable_target, reverse_kl

# The logits of one chunk hold at most this many numbers: 256 MiB in float32.
CHUNK_NUMBERS = 2**26
# Settings by which a model does more to its logits than apply the head; their neutral values.
_SHAPED_LOGITS = ("final_logit_softcapping", "logit_scale", "output_multiplier")
_SHAPED_LOGITS += ("lm_head_multiplier", "logits_scaling")


@dataclass
class KLOutput(ModelOutput):
    """kl (B, T): d_t of every completion token, in nats, 0 on padding."""

    kl: Tensor | None = None


@dataclass
class Targets:
    """B chosen completions õ⁺, after the autonomous and after the guided prompt, and their α.

    Prompts are padded on the left, completions on the right.
    """

    autonomous_ids: Tensor  # (B, L + T)
    autonomous_mask: Tensor
    guided_ids: Tensor  # (B, L' + T)
    guided_mask: Tensor
    completion_mask: Tensor  # (B, T)
    alpha: Tensor  # (B,); 0: a filler, there to keep the processes in step


def padded(
    prompts: Sequence[Sequence[int]], completions: Sequence[Sequence[int]], pad_id: int, device
) -> tuple[Tensor, Tensor, Tensor]:
    """(ids (B, L + T), mask (B, L + T), completion mask (B, T)) of prompts with completions."""
    left, right = max(map(len, prompts)), max(map(len, completions))
    ids, mask = [], []
    for prompt, completion in zip(prompts, completions, strict=True):
        before, after = left - len(prompt), right - len(completion)
        ids.append([pad_id] * before + [*prompt, *completion] + [pad_id] * after)
        mask.append([0] * before + [1] * (len(prompt) + len(completion)) + [0] * after)
    mask = torch.tensor(mask, device=device)
    return torch.tensor(ids, device=device), mask, mask[:, left:]


def choose(logps: Tensor, mask: Tensor, correct: Tensor, normalize: str) -> dict[int, int]:
    """{problem: the row of its target õ⁺} of the problems that have one.

    logps, mask (P · G2, T), correct (P, G2).
    """
    size, chosen = correct.shape[1], {}
    for problem in range(len(correct)):
        rows = slice(problem * size, (problem + 1) * size)
        best = reachable_target(logps[rows], mask[rows], correct[problem], normalize)
        if best is not None:
            chosen[problem] = problem * size + best
    return chosen


def share_out(
    problems: Sequence[int], processes: int, steps: int
) -> list[list[list[int | None]] | None]:
    """Which problem's target is learnt in which micro-batch of which process.

    Returns, for each of `steps`, None where no process has a target, else for each process a list
    of problems; all lists are of one length, with None as filler, because every process has to call
    the model equally often.
    """
    seats = processes * steps
    rounds = -(-len(problems) // seats)
    taken = [*problems, *[None] * (rounds * seats - len(problems))]
    table = []
    for step in range(steps):
        rows = [taken[step * processes + process :: seats] for process in range(processes)]
        table.append(rows if any(seat is not None for row in rows for seat in row) else None)
    return table


def add_kl_forward(model: PreTrainedModel) -> None:
    """Give a causal language model's `forward` a second use: the KL of a strategy at every token.

    `model(..., guided_ids=..., guided_mask=..., completion_mask=..., reverse=...)` returns a
    `KLOutput`; without `guided_ids` forward is what it was.
    """
    original = model.forward
    settings = model.config.get_text_config()
    plain = all(getattr(settings, name, None) in (None, 1, 1.0) for name in _SHAPED_LOGITS)
    size = max(CHUNK_NUMBERS // settings.vocab_size, 1)

    def states(model, ids: Tensor, mask: Tensor, inside: Tensor) -> Tensor:
        """What predicts each completion token: hidden states (N, H), or shaped logits (N, V)."""
        length = inside.shape[1]
        ids, mask = ids[:, :-1], mask[:, :-1]  # the last token predicts nothing that is learnt
        positions = (mask.cumsum(dim=1) - 1).clamp(min=0)
        inputs = {"input_ids": ids, "attention_mask": mask, "position_ids": positions}
        if plain:
            # Looked up at every call: LoRA and FSDP replace them after this function.
            output = model.base_model(**inputs, use_cache=False).last_hidden_state
            output = output[:, -length:]
        else:
            output = original(**inputs, use_cache=False, logits_to_keep=length).logits
        return output[inside]

    @functools.wraps(type(model).forward)  # `generate` reads the signature
    def forward(
        self, *args, guided_ids=None, guided_mask=None, completion_mask=None, reverse=False, **more
    ):
        if guided_ids is None:
            return original(*args, **more)
        inside = completion_mask.bool()
        with torch.no_grad():
            guided = states(self, guided_ids, guided_mask, inside)
        # The caller's autocast context is still open: torch 2.6 would give the weights that this
        # pass has cast to the next one, without a gradient.
        torch.clear_autocast_cache()
        autonomous = states(self, more["input_ids"], more["attention_mask"], inside)
        divergence = reverse_kl if reverse else forward_kl
        head = self.get_output_embeddings() if plain else torch.nn.Identity()
        kl = in_chunks(lambda g, a: divergence(head(g), head(a)), guided, autonomous, size=size)
        zeros = torch.zeros(inside.shape, dtype=kl.dtype, device=kl.device)
        return KLOutput(kl=zeros.masked_scatter(inside, kl))

    model.forward = types.MethodType(forward, model)
