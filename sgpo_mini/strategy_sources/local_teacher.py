"""A teacher that runs in this process: a causal language model from a folder or the Hub."""

import time
from collections.abc import Callable, Iterator, Sequence

import torch

from ..rollout import sample
from ..student import compute_dtype, load_student
from .teacher_protocol import NotAccepted, Prompt, Reply


class LocalTeacher:
    """A causal language model from a folder or the Hub; it takes one batch of prompts at a time.

    The weights are kept in the compute dtype (bfloat16 on a recent GPU). Raises ValueError if no
    model can be loaded by this name.
    """

    most_parallel = 1

    def __init__(self, name: str, chat_template_kwargs: dict | None = None) -> None:
        device = "cuda" if torch.cuda.is_available() else "cpu"
        try:
            self.student = load_student(
                name, device="cpu", chat_template_kwargs=chat_template_kwargs
            )
        except ValueError as error:
            raise ValueError(f"the teacher can't be loaded: {error}") from error
        self.student.compute_dtype = compute_dtype(device)
        self.student.model.to(device, self.student.compute_dtype).eval()
        self.name = name

    def replies(
        self,
        prompts: Sequence[Prompt],
        *,
        temperature: float,
        max_new_tokens: int,
        seed: int = 0,
        pause: Callable[[float], object] = time.sleep,
    ) -> Iterator[Reply]:
        """The replies to one batch of prompts; the same prompts and seed give the same replies.

        Raises NotAccepted in place of the first reply whose prompt fills the model's context.
        """
        pause(0)
        config = self.student.causal_model.config.get_text_config()
        longest = getattr(config, "max_position_embeddings", None) or 2**31
        ids = [self.student.message_ids(prompt, "\n\n") for prompt in prompts]
        too_long = next((place for place, prompt in enumerate(ids) if len(prompt) >= longest), None)
        yield from self._sample(ids[:too_long], longest, temperature, max_new_tokens, seed)
        if too_long is not None:
            count = len(ids[too_long])
            raise NotAccepted(
                f"a prompt of {count} tokens is too long for the teacher, whose context holds "
                f"{longest}"
            )

    def _sample(
        self, ids: list[list[int]], longest: int, temperature: float, max_new_tokens: int, seed: int
    ) -> Iterator[Reply]:
        if not ids:
            return
        room = longest - max(map(len, ids))
        devices = [self.student.device] if self.student.device.type == "cuda" else []
        with torch.random.fork_rng(devices=devices):
            torch.manual_seed(seed)
            drawn = sample(
                self.student,
                ids,
                1,
                max_new_tokens=min(max_new_tokens, room),
                temperature=temperature,
            )
        lengths = drawn.mask.sum(dim=1).int().tolist()
        cuts = drawn.truncated.tolist()
        for prompt, text, length, cut in zip(ids, drawn.texts, lengths, cuts, strict=True):
            yield Reply(text, len(prompt) + length, cut)
