"""The rows of the comparison in the next world, until it takes mini-GSM's place."""

from dataclasses import replace

from ..config import Config
from ..mini_gsm_next.pretraining import STEPS_OF_TRAINING, settings_for
from ..mini_gsm_next.world import TRANSFER_SPLITS
from .rows import ROWS, Row
from .worlds import NEXT

EQUAL_TIME_STEPS = STEPS_OF_TRAINING * 8 // 5  # an SGPO step takes 1.3 to 1.5 times as long
LONG = {"steps": STEPS_OF_TRAINING * 3}
EVALUATED = ("validation", "test", "reworded", *TRANSFER_SPLITS)
MEASURED_EVERY = 5  # steps

NEXT_ROWS = {name: row for name, row in ROWS.items() if name != "sft+grpo"} | {
    "grpo": replace(ROWS["sft+grpo"], about="GRPO; also: no strategy distillation"),
    "sft": replace(ROWS["sft"], about="SFT on expert solutions, the best of three checkpoints"),
    "sft-own-form": replace(
        ROWS["sft-own-form"], about="SFT on step-by-step solutions, the best of three checkpoints"
    ),
    "grpo-equal-time": Row(
        "control",
        f"GRPO for {EQUAL_TIME_STEPS} steps, a little longer than SGPO's {STEPS_OF_TRAINING} take",
        {"method": "grpo", "steps": EQUAL_TIME_STEPS},
    ),
    "long-grpo": Row(
        "control",
        "GRPO with three times the steps (settings of 30 steps)",
        {"method": "grpo", **LONG},
    ),
    "long-sgpo": Row(
        "control",
        "SGPO with three times the steps (settings of 30 steps)",
        {"method": "sgpo", **LONG},
    ),
    "half": Row(
        "control",
        "half of the families have strategies; the others learn by GRPO with 8 rollouts",
        {"method": "sgpo", "grpo_without_strategy": True},
        "half",
    ),
    "easy-grpo": Row(
        "control",
        "GRPO on the easy chains (settings of the training chains)",
        {"method": "grpo", "split": "easy"},
    ),
    "easy-sgpo": Row(
        "control",
        "SGPO on the easy chains (settings of the training chains)",
        {"method": "sgpo", "split": "easy"},
    ),
    "hard-grpo": Row("control", "GRPO on the hard chains", {"method": "grpo", "split": "hard"}),
    "hard-sgpo": Row("control", "SGPO on the hard chains", {"method": "sgpo", "split": "hard"}),
}


def next_config(name: str, student: str, data: str = NEXT) -> Config:
    """The configuration of a row; ValueError if there is no such row."""
    if name not in NEXT_ROWS:
        raise ValueError(f"methods must be some of {', '.join(NEXT_ROWS)}, not {name!r}")
    settings = NEXT_ROWS[name].settings
    kind = settings.get("given_solution", "expert_solution")
    split = settings.get("split", "train")
    chosen = {"evaluate_every": MEASURED_EVERY} | settings_for(settings["method"], kind, split)
    return Config(**{**chosen, **settings, "student": student, "data": data})
