"""All that this wing takes from TRL beyond its public interface, as read from TRL 1.16.0.

TRL's pages say: to change an objective, subclass the trainer and override what differs. What
differs here, a second group of completions and a second term of the loss, lies in methods that TRL
calls private and may move. They are all in this file, and `moved` says which have.
"""

import inspect
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from accelerate.utils import gather_object, is_peft_model
from torch import Tensor
from trl import GRPOTrainer
from trl import __version__ as TRL_VERSION

from ..support.chat import message_ids, set_template, stop_and_pad
from .data import guided_messages
from .distillation import Targets, padded

READ_FROM = "1.16.0"

# The parameters of each method that is overridden or called, as far as they are used.
_METHODS = {
    "_generate_and_score_completions": ("self", "inputs"),
    "_compute_loss": ("self", "model", "inputs"),
    "_calculate_rewards": ("self", "inputs", "prompts", "completions", "completion_ids_list"),
    "_tokenize_prompts": ("self", "prompts"),
    "_generate_single_turn": (
        "self",
        "prompt_ids",
        "images",
        "multimodal_fields",
        "num_generations",
    ),
    "_get_per_token_logps_and_entropies": (
        "self",
        "model",
        "input_ids",
        "attention_mask",
        "logits_to_keep",
        "batch_size",
    ),
}
# What is relied on inside a method, and why.
_LINES = {
    "__init__": {
        "self._metrics = ": "metrics are added to its lists",
        "self._tokenizer = ": "it pads",
        "self.eos_token_ids = ": "a completion without one of them was cut off",
        "self.generation_config = ": "it gets our stop tokens",
        "self.generation_kwargs = ": "it gets our stop tokens",
        "self._pending_extra_logs = ": "what a reward logs of guided completions is dropped",
        "self._pending_metrics = ": "what a reward logs of guided completions is dropped",
    },
    "_prepare_inputs": {
        "self._step % self.args.steps_per_generation": "micro-batches and targets are in step"
    },
    "_compute_loss": {
        "self.args.delta": "its second clip is switched off, for `delta` is SGPO's",
        "/ mask.sum(-1).clamp(min=1.0)).mean()": "the loss is a mean over rows",
        "self.current_gradient_accumulation_steps": "the loss is scaled for accumulation",
    },
    "_calculate_rewards": {"gather(rewards_per_func)": "rewards come from all processes"},
    "_generate_and_score_completions": {
        "view(-1, num_generations)": "the rows of a problem lie side by side over the processes"
    },
}


def moved(trainer: type = GRPOTrainer) -> list[str]:
    """What this file relies on and a trainer class no longer has; empty when all is in place."""
    found = []
    for name, parameters in _METHODS.items():
        method = getattr(trainer, name, None)
        if method is None:
            found.append(f"{name} is gone")
        elif not set(parameters) <= (has := set(inspect.signature(method).parameters)):
            found.append(f"{name} lacks {', '.join(sorted(set(parameters) - has))}")
    for name, lines in _LINES.items():
        source = inspect.getsource(getattr(trainer, name)) if hasattr(trainer, name) else ""
        found += [
            f"{name} no longer has `{line.strip()}` ({why})"
            for line, why in lines.items()
            if line not in source
        ]
    return found


def refuse_if_moved(trainer: type = GRPOTrainer) -> None:
    """Raise RuntimeError, naming what moved, where TRL is not as this file knows it."""
    if changes := moved(trainer):
        raise RuntimeError(
            f"sgpo_mini.scale was written against TRL {READ_FROM}, and TRL {TRL_VERSION} has moved "
            f"what it builds on: {'; '.join(changes)}. Install the version it knows: pip install "
            f'"trl=={READ_FROM}"'
        )


@dataclass
class Groups:
    """Both groups of the P problems of a generation batch; equal on every process but `mine`."""

    prompts: list[list[int]]  # (P) autonomous prompts
    guided_prompts: list[list[int]]  # (P)
    correct: Tensor  # (P, G1), of the autonomous completions
    guided_correct: Tensor  # (P, G2)
    mine: list[list[int]]  # the guided completions of this process, in order
    first: int  # the place of its first among all P · G2


class TwoGroupTrainer(GRPOTrainer):
    """GRPO, and beside its group a guided one of every problem; the subclass learns from it.

    A subclass implements `choose_targets` and `distillation`.
    """

    _tag_names = ["trl", "sgpo"]
    _name = "SGPO"
    _paper = {
        "title": "Beyond Trajectory Imitation: Strategy-Guided Policy Optimization for LLM "
        "Reasoning",
        "id": "2606.24064",
    }

    def __init__(self, *arguments, **settings) -> None:
        super().__init__(*arguments, **settings)
        tokenizer, model = self._tokenizer, self.base_model
        set_template(tokenizer, self.args.chat_template_kwargs)
        # What ends a completion in our loop; TRL knows what the model's settings name.
        stop_ids, _ = stop_and_pad(
            tokenizer, [model.generation_config, model.config.get_text_config()]
        )
        self.eos_token_ids = list(dict.fromkeys([*stop_ids, *self.eos_token_ids]))
        if not self.use_vllm:
            self.generation_config.eos_token_id = self.eos_token_ids
            self.generation_kwargs["eos_token_id"] = self.eos_token_ids

    def choose_targets(self, groups: Groups) -> list[Targets | None]:
        """What this process learns in each micro-batch of the generation batch."""
        raise NotImplementedError

    def distillation(self, model, targets: Targets | None) -> Tensor | float:
        """The second term of a micro-batch's loss, on the scale of a mean over its problems."""
        raise NotImplementedError

    def record(self, name: str, value: float) -> None:
        """Add a value, equal on every process, to a metric of the training log."""
        self._metrics["train"][name].append(value)

    @property
    def base_model(self):
        """The model itself, without the wrapper that LoRA puts around it."""
        return self.model.get_base_model() if is_peft_model(self.model) else self.model

    def gathered(self, values: Tensor) -> Tensor:
        """(n, T) of every process below each other, (n · processes, longest T)."""
        values = self.accelerator.pad_across_processes(values, dim=1)
        return self.accelerator.gather(values)

    def _tokenize_prompts(self, prompts):
        """As our loop writes them: a template whose clock stands still, or plain text."""
        ids = [message_ids(self._tokenizer, prompt, "\n\nSolution:\n") for prompt in prompts]
        return ids, None, {}

    # ---- the second group

    def _generate_and_score_completions(self, inputs):
        output = super()._generate_and_score_completions(inputs)
        if self.model.training:  # nobody has a strategy when the model is evaluated
            correct = self._correct.view(-1, self.num_generations)
            self._targets = self.choose_targets(self._guided_group(inputs, correct))
        return output

    def _guided_group(self, inputs: Sequence[dict], correct: Tensor) -> Groups:
        first_row = self.accelerator.process_index * len(inputs)
        examples = gather_object(
            [row for i, row in enumerate(inputs) if (first_row + i) % self.num_generations == 0]
        )
        size = self.args.guided_rollouts
        share = len(examples) * size // self.accelerator.num_processes
        first = self.accelerator.process_index * share
        mine = [row // size for row in range(first, first + share)]  # the problem of each
        prompts, _, _ = self._tokenize_prompts([row["prompt"] for row in examples])
        guided = [guided_messages(row["prompt"], row["strategy"]) for row in examples]
        guided_prompts, _, _ = self._tokenize_prompts(guided)
        completions, _ = self._generate_single_turn(
            [guided_prompts[problem] for problem in mine], None, {}, size
        )
        texts = self.processing_class.batch_decode(completions, skip_special_tokens=True)
        self._calculate_rewards(
            [examples[problem] for problem in mine],
            [examples[problem]["prompt"] for problem in mine],
            [[{"role": "assistant", "content": text}] for text in texts],
            completions,
        )
        self._pending_extra_logs.clear()  # TRL's table has the autonomous rows alone
        self._pending_metrics.clear()
        self._log_guided(completions, sum(len(guided_prompts[problem]) for problem in mine))
        guided_correct = self._correct.view(-1, size)
        return Groups(prompts, guided_prompts, correct, guided_correct, completions, first)

    def _log_guided(self, completions: list[list[int]], prompt_tokens: int) -> None:
        lengths = torch.tensor([len(ids) for ids in completions], device=self.accelerator.device)
        cut = torch.tensor(self._cut_off(completions), device=lengths.device).float()
        tokens = torch.tensor([prompt_tokens + int(lengths.sum())], device=lengths.device)
        self.record("guided/mean_length", self.accelerator.gather(lengths).float().mean().item())
        self.record("guided/clipped_ratio", self.accelerator.gather(cut).mean().item())
        self.state.num_input_tokens_seen += self.accelerator.gather(tokens).sum().item()

    def _cut_off(self, completions: Sequence[Sequence[int]]) -> list[bool]:
        return [not ids or ids[-1] not in self.eos_token_ids for ids in completions]

    def _calculate_rewards(self, inputs, prompts, completions, completion_ids_list):
        cut = self._cut_off(completion_ids_list)
        inputs = [{**row, "truncated": was} for row, was in zip(inputs, cut, strict=True)]
        rewards = super()._calculate_rewards(inputs, prompts, completions, completion_ids_list)
        self._correct = rewards[:, 0] == 1  # of all processes
        return rewards

    @torch.no_grad()
    def score(self, prompts: list[list[int]], completions: list[list[int]]) -> tuple:
        """(log-probabilities, mask) of this process's completions, (n, T), at TRL's temperature."""
        ids, mask, inside = padded(
            prompts, completions, self._tokenizer.pad_token_id, self.accelerator.device
        )
        logps, _, _ = self._get_per_token_logps_and_entropies(
            self.model,
            ids,
            mask,
            inside.shape[1],
            batch_size=self.args.per_device_train_batch_size,
        )
        return logps, inside

    def micro_batch(
        self,
        prompts: list[list[int]],
        guided_prompts: list[list[int]],
        completions: list[list[int]],
        alpha: list[float],
    ) -> Targets:
        """Targets on this process's device; without a completion, a filler."""
        pad_id, device = self._tokenizer.pad_token_id, self.accelerator.device
        completions = [ids or self.eos_token_ids[:1] for ids in completions]
        ids, mask, inside = padded(prompts, completions, pad_id, device)
        guided_ids, guided_mask, _ = padded(guided_prompts, completions, pad_id, device)
        weights = torch.tensor(alpha, device=device)
        return Targets(ids, mask, guided_ids, guided_mask, inside, weights)

    # ---- the second term of the loss

    def _compute_loss(self, model, inputs):
        with self._without_second_clip():
            loss = super()._compute_loss(model, inputs)
        if not self.model.training:
            return loss
        targets = self._targets[self._step % self.args.steps_per_generation]
        return loss + (self.distillation(model, targets) / self.current_gradient_accumulation_steps)

    @contextmanager
    def _without_second_clip(self) -> Iterator[None]:
        delta, self.args.delta = self.args.delta, None
        try:
            yield
        finally:
            self.args.delta = delta
