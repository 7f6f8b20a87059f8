"""The reference of `decoding.decode`: transformers' `generate`, all rows until the longest ends.

Every completion draws from its own row of uniform numbers, as in `decode`, so that sampled tokens
can be compared one by one.
"""

import torch
from torch import Tensor
from transformers import GenerationConfig, LogitsProcessor, LogitsProcessorList

from sgpo_mini.decoding import draw
from sgpo_mini.student import Student


class OwnStreams(LogitsProcessor):
    """Leaves one token a row: the one that the row's next uniform number stands for."""

    def __init__(self, uniform: Tensor, temperature: float, top_p: float):
        self.uniform, self.temperature, self.top_p, self.step = uniform, temperature, top_p, 0

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        uniform = self.uniform[:, self.step]
        self.step += 1
        token = draw(scores.float() / self.temperature, uniform, self.top_p)
        return torch.full_like(scores, -torch.inf).scatter(1, token.unsqueeze(1), 0.0)


@torch.no_grad()
def generate(
    student: Student,
    prompts: list[list[int]],
    group_size: int,
    *,
    max_new_tokens: int,
    temperature: float = 1.0,
    top_p: float = 1.0,
) -> list[list[int]]:
    """The completions (their stop token included) of every prompt, alone and without padding."""
    uniform = torch.rand(len(prompts) * group_size, max_new_tokens)
    completions = []
    for number, prompt in enumerate(prompts):
        rows = slice(number * group_size, (number + 1) * group_size)
        ids = torch.tensor([prompt]).expand(group_size, -1)
        processors = [OwnStreams(uniform[rows], temperature, top_p)] if temperature > 0 else []
        output = student.causal_model.generate(
            ids,
            attention_mask=torch.ones_like(ids),
            logits_processor=LogitsProcessorList(processors),
            generation_config=GenerationConfig(
                do_sample=False,  # the processor has drawn
                max_new_tokens=max_new_tokens,
                eos_token_id=list(student.stop_ids),
                pad_token_id=student.pad_id,
            ),
        )
        for row in output[:, len(prompt) :].tolist():
            ends = [place for place, token in enumerate(row) if token in student.stop_ids]
            completions.append(row[: ends[0] + 1] if ends else row)
    return completions
