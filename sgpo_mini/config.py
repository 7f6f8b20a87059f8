"""The methods, and every setting that a run depends on."""

import math
from collections.abc import Callable
from dataclasses import dataclass

# Group sizes (autonomous, guided) of each method, from G1 and G2 of the configuration. Every method
# learns from G1 + G2 solutions per problem. LUFFY's group includes one given solution; HPT has one
# in addition to its group; SFT samples nothing.
METHODS: dict[str, Callable[[int, int], tuple[int, int]]] = {
    "sgpo": lambda autonomous, guided: (autonomous, guided),
    "grpo": lambda autonomous, guided: (autonomous + guided, 0),
    "sft": lambda autonomous, guided: (0, 0),
    "luffy": lambda autonomous, guided: (autonomous + guided - 1, 0),
    "hpt": lambda autonomous, guided: (autonomous + guided, 0),
}
DTYPES = ("auto", "float32", "bfloat16")
IMITATING = ("sft", "luffy", "hpt")  # need a given solution for every problem


@dataclass
class Config:
    """Every setting of a run. The defaults are the paper's wherever it gives a value.

    `student`, `data`, its split, columns and `calculations`, `strategies`, `lora_rank`,
    `dtype`, `gradient_checkpointing` and `chat_template_kwargs` only record what was loaded before
    `train` is called.

    A completion is correct when its reward is at least `right_reward`: change it if your reward
    gives correct completions less than 1, or incorrect ones 1 or more. Correct completions count in
    p_auto, p_guide, HPT's gate and validation accuracy, and can be distilled; advantages use the
    rewards themselves.
    """

    student: str = "tiny"
    data: str = "mini-gsm"
    split: str = "train"  # of GSM8K: or "warmup" or "rl", parts of train
    calculations: int = 0  # of GSM8K: the problems with exactly so many; 0: all
    question_column: str = ""  # of a file; empty: load_problems finds it
    answer_column: str = ""
    strategies: str = ""
    chat_template_kwargs: dict | None = None  # such as {"enable_thinking": False}
    only_with_strategies: bool = False  # drop problems that have none, instead of an error
    grpo_without_strategy: bool = False  # SGPO: or learn from them by GRPO alone
    method: str = "sgpo"
    steps: int = 100
    problems_per_step: int = 8
    autonomous_rollouts: int = 8  # G1
    guided_rollouts: int = 4  # G2
    max_new_tokens: int = 256
    temperature: float = 1.0
    right_reward: float = 1.0  # a completion with at least this reward is correct
    autonomous_grpo: bool = True
    clip_low: float = 0.2  # no effect with one update per batch: the ratio is 1
    clip_high: float = 0.28
    updates_per_batch: int = 1
    strategy_distillation: bool = True
    delta: float | None = 1.0  # nats; None keeps every token
    select_target: bool = True  # False: a random correct guided trajectory
    normalize_target: str = "mean"
    reverse_kl: bool = False
    sft_on_target: bool = False  # SFT on õ⁺ instead of the KL
    fixed_alpha: float | None = None  # None: adaptive
    alpha0: float = 0.5
    gamma: float = 0.1
    alpha_max: float = 0.8
    given_solution: str = "expert_solution"  # or "solution": the field for sft, luffy, hpt
    hpt_gate: int = 0  # HPT imitates if at most this many rollouts are correct
    calculation_notes: bool = False  # learn GSM8K's solutions with their notes <<48/2=24>>
    sft_tokens_per_step: int = 0  # 0: as many solutions as the other methods sample
    learning_rate: float = 1e-6
    weight_decay: float = 0.0
    max_grad_norm: float = 1.0
    micro_batch_tokens: int = 0  # per backward pass, with padding; 0: all at once
    lora_rank: int = 0  # 0: train all weights
    dtype: str = "auto"  # or "float32", "bfloat16": what the student computes in
    gradient_checkpointing: bool = False
    evaluate_every: int = 0  # steps; 0: never
    early_stop: int = 0  # stop after this many evaluations without a new best; 0: never
    checkpoint_every: int = 25  # steps; the last step always gets one
    seed: int = 0
    threads: int = 0  # 0: keep torch's setting; exact repeats need the same number
    out: str = ""
    resume: bool = False

    def check(self) -> None:
        """Raise ValueError, with the allowed values, if a value is invalid."""
        choices = {"method": METHODS, "normalize_target": ("sum", "mean")}
        choices |= {"given_solution": ("expert_solution", "solution"), "dtype": DTYPES}
        for name, allowed in choices.items():
            if getattr(self, name) not in allowed:
                several = len(allowed) > 2
                told = f"one of {', '.join(allowed)}" if several else " or ".join(allowed)
                raise ValueError(f"{name} must be {told}, not {getattr(self, name)!r}")
        from_0 = "micro_batch_tokens lora_rank evaluate_every threads alpha0 alpha_max weight_decay"
        from_0 += " calculations fixed_alpha hpt_gate sft_tokens_per_step early_stop"
        from_1 = "steps problems_per_step max_new_tokens updates_per_batch checkpoint_every"
        at_least = dict.fromkeys(from_0.split(), 0) | dict.fromkeys(from_1.split(), 1)
        at_least |= {"autonomous_rollouts": 2, "guided_rollouts": int(self.method == "sgpo")}
        above_zero = ("temperature", "learning_rate", "max_grad_norm", "gamma", "delta")
        above_zero += ("right_reward",)  # 0 is the reward of a cut-off completion
        for name in (*at_least, *above_zero, "clip_low", "clip_high"):
            value = getattr(self, name)
            if value is None and name in ("delta", "fixed_alpha"):
                continue
            possible = value >= at_least[name] if name in at_least else value > 0
            if not (possible and math.isfinite(value)):
                limit = f"at least {at_least[name]}" if name in at_least else "above 0"
                raise ValueError(f"{name} must be {limit} and finite, not {value}")
        if not self.autonomous_grpo and (not self.strategy_distillation or self.method != "sgpo"):
            raise ValueError("nothing is learnt: turn on autonomous_grpo, or distillation in sgpo")
        if self.sft_on_target and self.reverse_kl:
            raise ValueError("sft_on_target replaces the KL: turn reverse_kl off")
        if self.early_stop and not self.evaluate_every:
            raise ValueError("early_stop uses validation accuracy: set evaluate_every too")

    def group_sizes(self) -> tuple[int, int]:
        return METHODS[self.method](self.autonomous_rollouts, self.guided_rollouts)
