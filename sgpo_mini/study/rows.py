"""The rows of the comparison: baselines, SGPO, its ablations and its controls, one line each."""

from dataclasses import dataclass
from typing import Any

from ..config import Config
from ..mini_gsm.pretraining import settings_for

BASELINE = "sft+grpo"  # every row is compared with it
MEASURED_EVERY = 20  # steps


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


def _control(about: str, control: str) -> Row:
    return Row("control", about, {"method": "sgpo"}, control)


_OWN = {"given_solution": "solution"}

# The pretraining of the shipped student is its SFT, so GRPO from this student is the paper's
# SFT+GRPO, and also its ablation "no strategy distillation".
ROWS = {
    "sft+grpo": _baseline("GRPO from the shipped student; also: no strategy distillation", "grpo"),
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
    "grpo-8": Row(
        "control",
        "GRPO with 8 rollouts: what SGPO reduces to if C is empty",
        {"method": "grpo", "guided_rollouts": 0},
    ),
}


def config_of(name: str, student: str = "tiny", steps: int | None = None) -> Config:
    """The configuration of a row on mini-GSM; ValueError if there is no such row."""
    if name not in ROWS:
        raise ValueError(f"methods must be some of {', '.join(ROWS)}, not {name!r}")
    return on_mini_gsm(ROWS[name].settings, student, steps)


def on_mini_gsm(settings: dict[str, Any], student: str, steps: int | None = None) -> Config:
    """A configuration on mini-GSM: these settings, and for the rest those chosen for the method."""
    kind = settings.get("given_solution", "expert_solution")
    chosen = settings_for("mini-gsm", settings["method"], kind)
    chosen = {"evaluate_every": MEASURED_EVERY} | chosen
    asked = {} if steps is None else {"steps": steps}
    return Config(**{**chosen, **settings, **asked, "student": student})
