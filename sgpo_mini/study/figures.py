"""The figures of the whole comparison, from its packed runs."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from .. import plots
from ..evaluation import Evaluation
from ..mini_gsm.strategy_use import (
    NO_FAMILY,
    NOT_FITTING,
    OTHER_QUANTITIES,
    OWN,
    UNREADABLE,
    family_signs,
    plan_confusion,
)
from ..plots import comparison as comparison_plots
from .evaluations import SURE_AND_WRONG
from .packed_runs import PackedRun
from .rows import BASELINE, ROWS
from .tables import accuracy_curve, family_means

_BAND = "band: 95 % t interval over seeds, up to the last step that all seeds reached"
_CAPTIONS = {
    "accuracy": f"Accuracy on `validation` during training, starting at the base student; {_BAND}.",
    "entropy": f"Entropy of the policy on its own completions (mean of 10 steps); {_BAND}.",
    "alpha": f"Weight α of the distillation loss (mean of 10 steps); {_BAND}.",
    "gain": "Gain by family: accuracy of greedy decoding on `test`, trained student minus base "
    "student (mean over seeds); families ordered by the base student's accuracy on `validation`.",
    "plans": "Whose plan the unguided completions follow: the family's own plan; its operations on "
    "other quantities of the story; the operations of other families (whose quantities aren't in "
    "the story; families with the same operations share a column); or none of these.",
}
_LABELS = {
    "accuracy": "share of right answers",
    "entropy": "entropy (nats a token)",
    "alpha": "weight α (no unit)",
}
_LARGEST = {"accuracy": 1.0, "entropy": float("inf"), "alpha": 1.0}
_PLANS_OF = ("test", "composed", "unseen")  # `reworded` has the families of `test`


def draw_figures(
    out: Path,
    runs: dict[str, PackedRun],
    names: Sequence[str],
    seeds: Sequence[int],
    difficulty: dict[str, float],
) -> list[tuple[str, str]]:
    """Draw the figures of every group of rows and of the plans, and return (name, caption) pairs.

    `runs` has "base" and every NAME-SEED; the families are ordered by `difficulty`.
    """
    figures = out / "figures"
    figures.mkdir(exist_ok=True)
    drawn = []

    def draw(name: str, figure, caption: str) -> None:
        plots.save(figure, figures / f"{name}.png")
        drawn.append((name, caption))

    of_seeds = {name: [runs[f"{name}-{seed}"] for seed in seeds] for name in names}
    curves = {name: _curves(made, runs["base"]) for name, made in of_seeds.items()}
    gained = {
        name: family_means([run.answers["test", False] for run in made])
        for name, made in of_seeds.items()
    }
    base = family_means([runs["base"].answers["test", False]])
    for group in dict.fromkeys(ROWS[name].group for name in names):
        # Ablations and controls are shown beside SGPO and the baseline, if these were run.
        shown = [n for n in names if ROWS[n].group == group or n in (BASELINE, "sgpo")]
        for kind, label in _LABELS.items():
            told = {name: curves[name][kind] for name in shown if kind in curves[name]}
            smooth = 1 if kind == "accuracy" else plots.SMOOTHING_STEPS
            if told:
                figure = comparison_plots.bands_by_step(told, label, smooth, _LARGEST[kind])
                draw(f"{kind}-{group}", figure, f"{_CAPTIONS[kind]} Rows: {group}s.")
        after = {name: gained[name] for name in shown}
        figure = comparison_plots.gain_table(difficulty, base, after, SURE_AND_WRONG)
        draw(f"gain-{group}", figure, f"{_CAPTIONS['gain']} Rows: {group}s.")
    for name in [n for n in ("base", BASELINE, "sgpo") if n == "base" or n in names]:
        made = [runs["base"]] if name == "base" else of_seeds[name]
        figure = comparison_plots.plan_confusion(
            {split: _confusion([run.answers[split, False] for run in made]) for split in _PLANS_OF},
            family_signs(),
            first=(OWN, OTHER_QUANTITIES),
            last=(NO_FAMILY, NOT_FITTING, UNREADABLE),
            title=f"Whose plan did it follow? {name}, unguided",
        )
        draw(f"plans-{name}", figure, f"{_CAPTIONS['plans']} Student: {name}.")
    return drawn


def _curves(runs: Sequence[PackedRun], base: PackedRun) -> dict[str, list]:
    """(step, value) pairs of each run, by kind of curve.

    A curve that is 0 or missing at every step is left out: GRPO's α, and SFT's entropy, because SFT
    samples nothing.
    """
    curves = {
        "accuracy": [
            accuracy_curve(
                run.metrics,
                base.answers["validation", False],
                run.answers["validation", False],
                run.asked["config"]["early_stop"],
            )
            for run in runs
        ]
    }
    for kind in ("entropy", "alpha"):
        logged = [
            [(row["step"], row[kind]) for row in run.metrics if row.get(kind) is not None]
            for run in runs
        ]
        if any(value for run in logged for _, value in run):
            curves[kind] = logged
    return curves


def _confusion(runs: Sequence[Evaluation]) -> dict[str, dict[str, int]]:
    total: dict[str, Counter[str]] = {}
    for run in runs:
        for family, row in plan_confusion(run).items():
            total.setdefault(family, Counter()).update(row)
    return total
