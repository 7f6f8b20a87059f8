"""The settings of a run: TRL's for GRPO, ours for the strategy, the paper's values as defaults."""

from dataclasses import dataclass, field

from trl import GRPOConfig

from ..config import Config

CLIPPED_LOSSES = ("grpo", "bnpo", "dr_grpo", "dapo")
CLIP_LOW, CLIP_HIGH = Config.clip_low, Config.clip_high


@dataclass
class SGPOConfig(GRPOConfig):
    """GRPO's settings in TRL's names and, below, SGPO's in ours.

    `num_generations` is G1, the autonomous rollouts of a problem. `delta` is the threshold on the
    KL of a token: TRL's own setting of that name, a second clip of the ratio, is not to be had.
    Raises ValueError for what contradicts SGPO; any other setting of GRPO's acts on the exploration
    part alone, as TRL documents it.
    """

    # The clipped loss of the paper: a mean over sequences of the mean over their tokens.
    loss_type: str = field(default="grpo", metadata={"help": "Loss of the exploration part."})
    epsilon_high: float | None = field(
        default=None, metadata={"help": "Upper clip; with the default `epsilon`, 0.28."}
    )
    lr_scheduler_type: str = field(
        default="constant", metadata={"help": "Schedule of the learning rate."}
    )
    # Dropout would make the policy that learns another than the one that sampled.
    disable_dropout: bool = field(default=True, metadata={"help": "Disable dropout."})

    guided_rollouts: int = field(
        default=Config.guided_rollouts, metadata={"help": "G2: guided completions a problem."}
    )
    delta: float | None = field(
        default=Config.delta,
        metadata={"help": "Nats: a token whose KL is above is left out; None keeps every token."},
    )
    alpha0: float = field(default=Config.alpha0, metadata={"help": "Scale of the weight α."})
    gamma: float = field(default=Config.gamma, metadata={"help": "Keeps α finite at p_auto = 0."})
    alpha_max: float = field(default=Config.alpha_max, metadata={"help": "Upper bound of α."})
    select_target: bool = field(
        default=True, metadata={"help": "False: any right guided completion, at random."}
    )
    normalize_target: str = field(
        default=Config.normalize_target,
        metadata={"help": "Mean or sum of log-probabilities, in choosing the target."},
    )
    reverse_kl: bool = field(
        default=False, metadata={"help": "KL(autonomous || guided) in place of its reverse."}
    )
    fixed_alpha: float | None = field(
        default=None, metadata={"help": "One α for all problems; None: adaptive."}
    )

    def __post_init__(self) -> None:
        if self.epsilon_high is None:
            if self.epsilon != CLIP_LOW:
                raise ValueError(
                    f"epsilon is {self.epsilon:g} and epsilon_high is not given: SGPO clips with "
                    f"two bounds ({CLIP_LOW}, {CLIP_HIGH}), so give both"
                )
            self.epsilon_high = CLIP_HIGH
        super().__post_init__()
        self._refuse_contradictions()
        # Our names, our rules.
        Config(
            autonomous_rollouts=self.num_generations,
            guided_rollouts=self.guided_rollouts,
            max_new_tokens=self.max_completion_length,
            temperature=self.temperature,
            clip_low=self.epsilon,
            clip_high=self.epsilon_high,
            updates_per_batch=self.num_iterations,
            delta=self.delta,
            normalize_target=self.normalize_target,
            fixed_alpha=self.fixed_alpha,
            alpha0=self.alpha0,
            gamma=self.gamma,
            alpha_max=self.alpha_max,
        ).check()
        rows = self.problems_per_generation * self.guided_rollouts
        if rows % self.world_size:
            raise ValueError(
                f"{self.problems_per_generation} problems with {self.guided_rollouts} guided "
                f"rollouts each are {rows} rows, which {self.world_size} processes cannot share "
                "equally: change the problems a step (generation_batch_size) or guided_rollouts"
            )

    @property
    def problems_per_generation(self) -> int:
        """P, the problems that are sampled together on all processes."""
        return self.generation_batch_size // self.num_generations

    def _refuse_contradictions(self) -> None:
        liger = (self.liger_kernel_config or {}).get("fused_linear_cross_entropy")
        contradictions = {
            f"beta={self.beta:g}": self.beta != 0 and "SGPO has no KL to a reference model; set 0",
            f"loss_type={self.loss_type!r}": self.loss_type not in CLIPPED_LOSSES
            and f"SGPO explores with GRPO's clipped loss; take one of {', '.join(CLIPPED_LOSSES)}",
            f"importance_sampling_level={self.importance_sampling_level!r}": (
                self.importance_sampling_level != "token"
            )
            and "SGPO's ratio is one a token; set 'token'",
            f"off_policy_mask_threshold={self.off_policy_mask_threshold}": (
                self.off_policy_mask_threshold is not None
            )
            and "SGPO masks no sequences; set None",
            "liger_kernel_config's fused_linear_cross_entropy": liger
            and "the KL of a token needs the logits, which Liger's fused loss never gives; leave "
            "it out (its layer kernels may stay)",
        }
        for setting, reason in contradictions.items():
            if reason:
                raise ValueError(f"{setting}: {reason}")
