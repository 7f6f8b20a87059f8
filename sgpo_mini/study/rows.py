"""The rows of the comparison: baselines, SGPO, its ablations and its controls, one line each."""

from dataclasses import dataclass
from typing import Any

from ..config import Config
from ..mini_gsm.pretraining import STEPS_OF_TRAINING, settings_for
from ..mini_gsm.world import DATA, EXAMS

BASELINE = "grpo"  # every row is compared with it
EVALUATED = ("validation", *EXAMS)
MEASURED_EVERY = 5  # steps
EQUAL_TIME_STEPS = STEPS_OF_TRAINING * 8 // 5  # an SGPO step takes 1.3 to 1.5 times as long
LONG = {"steps": STEPS_OF_TRAINING * 3}


@dataclass(frozen=True)
class Row:
    """A row of the table: a description, and the settings that differ from the method's own."""

    group: str  # "baseline", "ablation" or "control"; each group has its own figures
    about: str
    settings: dict[str, Any]
    control: str = ""  # a name in strategy_sources.controls.CONTROLS


def _baseline(about: str, method: str, **settings) -> Row:
    return Row("baseline", about, {"method": method, **settings})


def _ablation(about: str, **settings) -> Row:
    return Row("ablation", about, {"method": "sgpo", **settings})


def _control(about: str, control: str = "", method: str = "sgpo", **settings) -> Row:
    return Row("control", about, {"method": method, **settings}, control)


_OWN = {"given_solution": "solution"}

# The pretraining of the shipped student is its SFT, so GRPO from this student is the paper's
# SFT+GRPO, and also its ablation "no strategy distillation".
ROWS = {
    "grpo": _baseline("GRPO from the shipped student; also: no strategy distillation", "grpo"),
    "sft": _baseline("SFT on expert solutions, early stopping on validation", "sft"),
    "sft-own-form": _baseline("SFT on step-by-step solutions, early stopping", "sft", **_OWN),
    "luffy": _baseline("11 rollouts and 1 expert solution", "luffy"),
    "luffy-own-form": _baseline("11 rollouts and 1 step-by-step solution", "luffy", **_OWN),
    "hpt": _baseline("SFT on the expert solution if no rollout is correct, else GRPO", "hpt"),
    "hpt-own-form": _baseline("the same with step-by-step solutions", "hpt", **_OWN),
    "sgpo": _baseline("SGPO with the δ chosen on validation", "sgpo"),
    "sgpo-delta-1": _baseline("SGPO with the paper's δ = 1", "sgpo", delta=1.0),
    "no-grpo": _ablation("no autonomous GRPO (still sampled, for α)", autonomous_grpo=False),
    "no-clipping": _ablation("no KL clipping: δ leaves out no token", delta=None),
    "no-selection": _ablation("a random target from C, not the reachable one", select_target=False),
    "fixed-alpha": _ablation("α = 0.5 for every problem", fixed_alpha=0.5),
    "no-constraints": _ablation(
        "the last three combined", delta=None, select_target=False, fixed_alpha=0.5
    ),
    "reverse-kl": _ablation("KL(unguided ‖ guided)", reverse_kl=True),
    "sft-on-target": _ablation("SFT on the guided target instead of the KL", sft_on_target=True),
    "shuffled": _control("every problem has another family's strategy", "shuffled"),
    "contentless": _control("contentless strategies of the same length", "contentless"),
    "wrong-25": _control("another family's strategy for 25 % of the problems", "wrong-25"),
    "wrong-50": _control("another family's strategy for 50 % of the problems", "wrong-50"),
    "half": _control(
        "half of the families have strategies; the others learn by GRPO with 8 rollouts",
        "half",
        grpo_without_strategy=True,
    ),
    "grpo-8": _control(
        "GRPO with 8 rollouts: what SGPO reduces to if C is empty",
        method="grpo",
        guided_rollouts=0,
    ),
    "grpo-equal-time": _control(
        f"GRPO for {EQUAL_TIME_STEPS} steps, a little longer than SGPO's {STEPS_OF_TRAINING} take",
        method="grpo",
        steps=EQUAL_TIME_STEPS,
    ),
    "long-grpo": _control("GRPO with three times the steps", method="grpo", **LONG),
    "long-sgpo": _control("SGPO with three times the steps", **LONG),
    "easy-grpo": _control("GRPO on the easy chains", method="grpo", split="easy"),
    "easy-sgpo": _control("SGPO on the easy chains", split="easy"),
    "hard-grpo": _control("GRPO on the hard chains", method="grpo", split="hard"),
    "hard-sgpo": _control("SGPO on the hard chains", split="hard"),
}


def config_of(
    name: str, student: str = "tiny", steps: int | None = None, data: str = DATA
) -> Config:
    """The configuration of a row on mini-GSM; ValueError if there is no such row.

    The settings that the row does not name are those chosen for its method and training set;
    `steps` replaces the number of steps of every row.
    """
    if name not in ROWS:
        raise ValueError(f"methods must be some of {', '.join(ROWS)}, not {name!r}")
    settings = ROWS[name].settings
    kind = settings.get("given_solution", "expert_solution")
    split = settings.get("split", "train")
    chosen = {"evaluate_every": MEASURED_EVERY}
    chosen |= settings_for(data, settings["method"], kind, split)
    asked = {} if steps is None else {"steps": steps}
    return Config(**{**chosen, **settings, **asked, "student": student, "data": data})
