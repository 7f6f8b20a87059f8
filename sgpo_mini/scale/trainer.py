"""SGPO as a trainer on TRL: what is distilled from the guided group, and how much.

The exploration part, its generation, rewards, advantages and clipped loss, is TRL's GRPO. The
formulas of the strategy are those of `losses.py`. Source: SGPO (arXiv:2606.24064).
"""

from collections.abc import Callable

import torch
from accelerate.utils import gather_object
from datasets import Dataset
from torch import Tensor

from ..losses import adaptive_weight, distillation_loss
from .config import SGPOConfig
from .data import as_reward_function
from .distillation import Targets, add_kl_forward, choose, share_out
from .trl_internals import Groups, TwoGroupTrainer, refuse_if_moved

_NOT_OURS = ("tools", "rollout_func", "environment_factory")


class SGPOTrainer(TwoGroupTrainer):
    """TRL's `GRPOTrainer` with a guided group of every problem, distilled into the unguided model.

    The training data has the columns `prompt` (chat messages), `strategy` and, for our reward,
    `answer`: see `to_dataset`. A completion is right where the first reward function gives it 1.
    `reward_funcs`: TRL's, by default our numeric reward. Everything else is as in `GRPOTrainer`.
    Raises ValueError where data or tokenizer cannot be used, RuntimeError where TRL has moved what
    this trainer builds on.
    """

    def __init__(
        self,
        model,
        reward_funcs: Callable | list | None = None,
        args: SGPOConfig | None = None,
        train_dataset=None,
        **more,
    ) -> None:
        refuse_if_moved()
        args = SGPOConfig("sgpo-run") if args is None else args
        if not isinstance(args, SGPOConfig):
            raise ValueError(f"args must be an SGPOConfig, not {type(args).__name__}")
        if given := [name for name in _NOT_OURS if more.get(name)]:
            raise ValueError(
                f"{given[0]}: SGPO samples both groups by TRL's own generation, so it takes none"
            )
        _check_data(train_dataset, needs_answer=reward_funcs is None)
        reward_funcs = as_reward_function() if reward_funcs is None else reward_funcs
        super().__init__(model, reward_funcs, args, train_dataset, **more)
        add_kl_forward(self.base_model)
        self._sums = torch.zeros(4, dtype=torch.float64, device=self.accelerator.device)

    def choose_targets(self, groups: Groups) -> list[Targets | None]:
        """α(q), õ⁺ and its place, of every problem that has one; the same on every process."""
        args, correct = self.args, groups.guided_correct
        p_auto = groups.correct.float().mean(dim=1)  # (P,)
        p_guide = correct.float().mean(dim=1)  # (P,)
        if args.fixed_alpha is None:
            alpha = adaptive_weight(p_auto, p_guide, args.alpha0, args.gamma, args.alpha_max)
        else:
            alpha = torch.full_like(p_auto, args.fixed_alpha)
        self.record("p_auto", p_auto.mean().item())
        self.record("p_guide", p_guide.mean().item())
        self.record("alpha", alpha.mean().item())
        self.record("empty_c", (~correct.any(dim=1)).float().mean().item())
        # Where α is 0 there is nothing to learn, and so nothing to choose.
        rows = self._rows(groups, correct & (alpha > 0).unsqueeze(1))
        completions = self._completions(groups, rows)
        table = share_out(sorted(rows), self.accelerator.num_processes, args.steps_per_generation)
        return [
            None if seats is None else self._seated(groups, seats, completions, alpha)
            for seats in table
        ]

    def _rows(self, groups: Groups, correct: Tensor) -> dict[int, int]:
        """The row of each target; correct (P, G2)."""
        size = correct.shape[1]
        normalize = self.args.normalize_target
        if not self.args.select_target:  # the highest of random numbers is a draw
            generator = torch.Generator().manual_seed(self.args.seed + self.state.global_step)
            logps, normalize = torch.rand(correct.numel(), 1, generator=generator), "sum"
            mask = torch.ones_like(logps)
        elif (correct.sum(dim=1) > 1).any():
            places = range(groups.first, groups.first + len(groups.mine))
            prompts = [groups.prompts[place // size] for place in places]
            logps, mask = map(self.gathered, self.score(prompts, groups.mine))
        else:  # nobody has a rival
            logps = mask = torch.zeros(correct.numel(), 1)
        device = correct.device
        return choose(logps.to(device), mask.to(device), correct, normalize)

    def _completions(self, groups: Groups, rows: dict[int, int]) -> dict[int, list[int]]:
        """The tokens of each target, from the process that has sampled it."""
        places = range(groups.first, groups.first + len(groups.mine))
        held = [(p, groups.mine[row - groups.first]) for p, row in rows.items() if row in places]
        return dict(gather_object(held))

    def _seated(self, groups: Groups, seats: list, completions: dict, alpha: Tensor) -> Targets:
        problems = seats[self.accelerator.process_index]
        return self.micro_batch(
            [groups.prompts[problem or 0] for problem in problems],
            [groups.guided_prompts[problem or 0] for problem in problems],
            [completions.get(problem, []) for problem in problems],
            [0.0 if problem is None else alpha[problem].item() for problem in problems],
        )

    def distillation(self, model, targets: Targets | None) -> Tensor | float:
        """α · L_KD^clip of a micro-batch, as a mean over the problems that its rows stand for."""
        loss = 0.0
        problems = self.args.per_device_train_batch_size / self.num_generations
        if targets is not None:
            with self.accelerator.autocast():
                kl = model(
                    input_ids=targets.autonomous_ids,
                    attention_mask=targets.autonomous_mask,
                    guided_ids=targets.guided_ids,
                    guided_mask=targets.guided_mask,
                    completion_mask=targets.completion_mask,
                    reverse=self.args.reverse_kl,
                ).kl  # (B, T)
            losses = distillation_loss(kl, targets.completion_mask, self.args.delta)  # (B,)
            loss = (targets.alpha * losses).sum() / problems
            real = targets.completion_mask.bool() & (targets.alpha > 0).unsqueeze(1)
            delta = float("inf") if self.args.delta is None else self.args.delta
            kl = kl.detach()[real]
            self._sums += torch.stack(
                [kl.sum(), (kl > delta).sum(), real.sum(), loss.detach() * problems]
            )
        if self.accelerator.sync_gradients:
            self._record_step(problems)
        return loss

    def _record_step(self, problems: float) -> None:
        """The metrics of one update, over all its micro-batches and processes."""
        kl, masked, tokens, loss = self.accelerator.reduce(self._sums, reduction="sum").tolist()
        self._sums.zero_()
        batches = self.current_gradient_accumulation_steps * self.accelerator.num_processes
        self.record("kl", kl / max(tokens, 1))
        self.record("masked_by_delta", masked / max(tokens, 1))
        self.record("distillation_loss", loss / (problems * batches))


def _check_data(dataset, needs_answer: bool) -> None:
    columns = getattr(dataset, "column_names", None)
    if columns is None:  # a stream need not know its columns
        return
    needed = ["prompt", "strategy", *(["answer"] if needs_answer else [])]
    if missing := [name for name in needed if name not in columns]:
        raise ValueError(
            f"the training data has no column {missing[0]!r}: SGPO needs {', '.join(needed)} "
            "(to_dataset makes them from problems)"
        )
    if isinstance(dataset, Dataset):
        without = [row for row, text in enumerate(dataset["strategy"]) if not (text or "").strip()]
        if without:
            raise ValueError(
                f"{len(without)} of {len(dataset)} rows have no strategy, row {without[0]} first; "
                "give every problem one, or take the others out"
            )
        if not isinstance(dataset[0]["prompt"], list):
            raise ValueError("the column 'prompt' must hold chat messages, not plain text")
