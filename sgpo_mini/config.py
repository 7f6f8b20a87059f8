"""The methods, and everything that a run of one of them depends on."""

import math
from collections.abc import Callable
from dataclasses import dataclass

# Group sizes (autonomous, guided) of each method, from the two that the configuration names: every
# method learns from the same number of solutions of a problem, G1 + G2. LUFFY's group is completed
# by one given solution; HPT has one beside its group; SFT samples nothing.
METHODS: dict[str, Callable[[int, int], tuple[int, int]]] = {
    "sgpo": lambda autonomous, guided: (autonomous, guided),
    "grpo": lambda autonomous, guided: (autonomous + guided, 0),
    "sft": lambda autonomous, guided: (0, 0),
    "luffy": lambda autonomous, guided: (autonomous + guided - 1, 0),
    "hpt": lambda autonomous, guided: (autonomous + guided, 0),
}
IMITATING = ("sft", "luffy", "hpt")  # they need a given solution of every problem


@dataclass
class Config:
    """Everything that a run depends on. The defaults are the paper's, where it gives a value.

    `student`, `data`, its columns, `strategies`, `lora_rank` and `gradient_checkpointing` say what
    was loaded before `train` is called; it takes these as it finds them. So do
    `chat_template_kwargs`, which a run keeps as the student has them.

    A completion is right when its reward is at least `right_reward`: set it where your reward gives
    a right completion something else than 1 or more. What is right counts in p_auto and p_guide,
    can be distilled, decides HPT's gate and is the accuracy on validation; the advantages are of
    the rewards themselves.
    """

    student: str = "tiny"
    data: str = "mini-gsm"
    question_column: str = ""  # of a file; empty: as load_problems finds it
    answer_column: str = ""
    strategies: str = ""
    chat_template_kwargs: dict | None = None  # such as {"enable_thinking": False}
    only_with_strategies: bool = False  # the problems that have none are left out, not refused
    method: str = "sgpo"
    steps: int = 100
    problems_per_step: int = 8
    autonomous_rollouts: int = 8  # G1
    guided_rollouts: int = 4  # G2
    max_new_tokens: int = 256
    temperature: float = 1.0
    right_reward: float = 1.0  # from this reward on a completion is right: p_auto, p_guide, C
    autonomous_grpo: bool = True
    clip_low: float = 0.2  # with one update a batch the ratio is 1 and the clip does nothing
    clip_high: float = 0.28
    updates_per_batch: int = 1
    strategy_distillation: bool = True
    delta: float | None = 1.0  # nats; None keeps every token
    select_target: bool = True  # False: one of the right guided trajectories at random
    normalize_target: str = "mean"
    reverse_kl: bool = False
    sft_on_target: bool = False  # SFT on õ⁺ in place of the KL
    fixed_alpha: float | None = None  # None: adaptive
    alpha0: float = 0.5
    gamma: float = 0.1
    alpha_max: float = 0.8
    given_solution: str = "expert_solution"  # or "solution": what sft, luffy and hpt are given
    hpt_gate: int = 0  # HPT: at most so many right rollouts, and the given solution is learnt
    sft_tokens_per_step: int = 0  # 0: as many solutions as the other methods sample
    learning_rate: float = 1e-6
    weight_decay: float = 0.0
    max_grad_norm: float = 1.0
    micro_batch_tokens: int = 0  # in one backward pass, padding included; 0: all at once
    lora_rank: int = 0  # 0: all weights are trained
    gradient_checkpointing: bool = False
    evaluate_every: int = 0  # steps; 0: never
    early_stop: int = 0  # so many measurements without a new best end the run there; 0: never
    checkpoint_every: int = 25  # steps; the last step always gets one
    seed: int = 0
    threads: int = 0  # 0: as torch is set; bit-for-bit repeats need the same number
    out: str = ""
    resume: bool = False

    def check(self) -> None:
        """Raise ValueError, naming what is allowed, where a value is impossible."""
        choices = {"method": METHODS, "normalize_target": ("sum", "mean")}
        choices |= {"given_solution": ("expert_solution", "solution")}
        for name, allowed in choices.items():
            if getattr(self, name) not in allowed:
                several = len(allowed) > 2
                told = f"one of {', '.join(allowed)}" if several else " or ".join(allowed)
                raise ValueError(f"{name} must be {told}, not {getattr(self, name)!r}")
        at_least = dict.fromkeys(
            ("micro_batch_tokens", "lora_rank", "evaluate_every", "threads"), 0
        )
        at_least |= dict.fromkeys(("alpha0", "alpha_max", "weight_decay", "fixed_alpha"), 0)
        at_least |= dict.fromkeys(("hpt_gate", "sft_tokens_per_step", "early_stop"), 0)
        at_least |= dict.fromkeys(("steps", "problems_per_step"), 1)
        at_least |= dict.fromkeys(("max_new_tokens", "updates_per_batch", "checkpoint_every"), 1)
        at_least |= {"autonomous_rollouts": 2, "guided_rollouts": int(self.method == "sgpo")}
        above_zero = ("temperature", "learning_rate", "max_grad_norm", "gamma", "delta")
        above_zero += ("right_reward",)  # a completion that was cut off earns 0, and is not right
        for name in (*at_least, *above_zero, "clip_low", "clip_high"):
            value = getattr(self, name)
            if value is None and name in ("delta", "fixed_alpha"):
                continue
            possible = value >= at_least[name] if name in at_least else value > 0
            if not (possible and math.isfinite(value)):
                limit = f"at least {at_least[name]}" if name in at_least else "above 0"
                raise ValueError(f"{name} must be {limit} and finite, not {value}")
        if not self.autonomous_grpo and (not self.strategy_distillation or self.method != "sgpo"):
            raise ValueError("without autonomous_grpo and strategy distillation nothing is learnt")
        if self.sft_on_target and self.reverse_kl:
            raise ValueError("sft_on_target takes the place of the KL: leave reverse_kl out")
        if self.early_stop and not self.evaluate_every:
            raise ValueError("early_stop goes by validation accuracy: set evaluate_every too")

    def group_sizes(self) -> tuple[int, int]:
        return METHODS[self.method](self.autonomous_rollouts, self.guided_rollouts)
