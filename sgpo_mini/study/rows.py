"""The rows of the comparison: baselines, SGPO, its ablations and controls, each in one line."""

from dataclasses import dataclass
from typing import Any

from ..config import Config
from ..mini_gsm.pretraining import settings_for

BASELINE = "sft+grpo"  # every row is measured against it
MEASURED_EVERY = 20  # steps


@dataclass(frozen=True)
class Row:
    """One line of the table: what it is in words, and how it differs from its method's settings."""

    group: str  # "baseline", "ablation" or "control": which figure it is drawn in
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

# The shipped student's pretraining is its SFT: GRPO from there is the paper's SFT+GRPO, and its "no
# strategy distillation" too.
ROWS = {
    "sft+grpo": _baseline("GRPO from the shipped student = no strategy distillation", "grpo"),
    "sft": _baseline("SFT on expert solutions, early stop on validation", "sft"),
    "sft-own-form": _baseline("SFT on step-by-step solutions, early stop", "sft", **_OWN),
    "luffy": _baseline("11 own rollouts and 1 expert solution", "luffy"),
    "luffy-own-form": _baseline("11 own rollouts and 1 step-by-step solution", "luffy", **_OWN),
    "hpt": _baseline("SFT on the expert solution where no rollout is right, else GRPO", "hpt"),
    "hpt-own-form": _baseline("the same with step-by-step solutions", "hpt", **_OWN),
    "sgpo": _baseline("SGPO with the δ chosen on validation", "sgpo"),
    "sgpo-delta-1": _baseline("SGPO with the paper's δ = 1", "sgpo", delta=1.0),
    "no-grpo": _ablation("no autonomous GRPO; both groups sampled, for α", autonomous_grpo=False),
    "no-clipping": _ablation("no KL clipping: every token is kept", delta=None),
    "no-selection": _ablation("one of C at random, not the reachable target", select_target=False),
    "fixed-alpha": _ablation("α = 0.5 for every problem", fixed_alpha=0.5),
    "no-constraints": _ablation(
        "the last three together", delta=None, select_target=False, fixed_alpha=0.5
    ),
    "reverse-kl": _ablation("KL(unguided ‖ guided)", reverse_kl=True),
    "sft-on-target": _ablation("SFT on the guided trajectories in place of KL", sft_on_target=True),
    "shuffled": _control("every strategy is another family's", "shuffled"),
    "contentless": _control("strategies of equal length that say nothing", "contentless"),
    "wrong-25": _control("another family's strategy for 25 % of the problems", "wrong-25"),
    "wrong-50": _control("another family's strategy for 50 % of the problems", "wrong-50"),
    "grpo-8": Row(
        "control",
        "GRPO with 8 rollouts: what is left of SGPO where C is empty",
        {"method": "grpo", "guided_rollouts": 0},
    ),
}


def config_of(name: str, student: str = "tiny", steps: int | None = None) -> Config:
    """The configuration of a row on mini-GSM; ValueError, naming all rows, where there is none."""
    if name not in ROWS:
        raise ValueError(f"methods must be some of {', '.join(ROWS)}, not {name!r}")
    return on_mini_gsm(ROWS[name].settings, student, steps)


def on_mini_gsm(settings: dict[str, Any], student: str, steps: int | None = None) -> Config:
    """A method's configuration on mini-GSM: these settings, else the ones chosen for the method."""
    kind = settings.get("given_solution", "expert_solution")
    chosen = settings_for("mini-gsm", settings["method"], kind)
    chosen = {"evaluate_every": MEASURED_EVERY} | chosen
    asked = {} if steps is None else {"steps": steps}
    return Config(**{**chosen, **settings, **asked, "student": student})
