"""The figures of the whole comparison, from its packed runs."""

from collections.abc import Sequence
from pathlib import Path

from .. import plots
from ..plots import comparison as comparison_plots
from .evaluations import mean
from .packed_runs import PackedRun
from .rows import BASELINE, ROWS
from .strategy_use_table import shares_of
from .tables import accuracy

SMOOTHED = 5  # steps
_BAND = "band: 95 % t interval over seeds, up to the last step that all seeds reached"
_CAPTIONS = {
    "accuracy": f"Accuracy on `validation` during training, starting at the base student; {_BAND}.",
    "entropy": f"Entropy of the policy on its own completions (mean of {SMOOTHED} steps); {_BAND}.",
    "alpha": f"Weight α of the distillation loss (mean of {SMOOTHED} steps); {_BAND}.",
    "gain": "Gain by verb: greedy accuracy on the chains of `test` whose plan uses it, trained "
    "student minus base student (mean over seeds); verbs ordered by the base student's accuracy.",
    "plans": "What the unguided completions did on two splits (mean over seeds).",
}
_LABELS = {
    "accuracy": "share of right answers",
    "entropy": "entropy (nats a token)",
    "alpha": "weight α (no unit)",
}
_LARGEST = {"accuracy": 1.0, "entropy": float("inf"), "alpha": 1.0}
_PLANS_OF = ("test", "unseen")


def draw_figures(
    out: Path, runs: dict[str, list[PackedRun]], base: PackedRun
) -> list[tuple[str, str]]:
    """Draw the figures of each group of rows and of the plans; returns (name, caption) pairs."""
    figures = out / "figures"
    figures.mkdir(exist_ok=True)
    drawn = []

    def draw(name: str, figure, caption: str) -> None:
        plots.save(figure, figures / f"{name}.png", dpi=80)
        drawn.append((name, caption))

    curves = {name: curves_of(made, base) for name, made in runs.items()}
    before = accuracy_by_verb([base])
    gained = {name: accuracy_by_verb(made) for name, made in runs.items()}
    for group in dict.fromkeys(ROWS[name].group for name in runs):
        # Ablations and controls are shown beside SGPO and the baseline, if these were run.
        shown = [n for n in runs if ROWS[n].group == group or n in (BASELINE, "sgpo")]
        for kind, label in _LABELS.items():
            told = {name: curves[name][kind] for name in shown if kind in curves[name]}
            smooth = 1 if kind == "accuracy" else SMOOTHED
            if told:
                figure = comparison_plots.bands_by_step(told, label, smooth, _LARGEST[kind])
                draw(f"{kind}-{group}", figure, f"{_CAPTIONS[kind]} Rows: {group}s.")
        figure = comparison_plots.gain_table(before, {name: gained[name] for name in shown})
        draw(f"gain-{group}", figure, f"{_CAPTIONS['gain']} Rows: {group}s.")
    students = {"base": [base], **{n: runs[n] for n in (BASELINE, "sgpo") if n in runs}}
    shares = {
        split: {name: shares_of(made, split) for name, made in students.items()}
        for split in _PLANS_OF
    }
    draw("plans", comparison_plots.plan_shares(shares), _CAPTIONS["plans"])
    return drawn


def accuracy_by_verb(runs: Sequence[PackedRun], split: str = "test") -> dict[str, float]:
    """Greedy accuracy on the problems whose plan uses a verb, by verb; the mean over runs."""
    found: dict[str, list[float]] = {}
    for run in runs:
        evaluation = run.answers[split, False]
        for problem, right in zip(evaluation.problems, evaluation.accuracies, strict=True):
            for verb in {step.split()[-1] for step in problem.plan} - {"box"}:
                found.setdefault(verb, []).append(right)
    return {verb: mean(values) for verb, values in sorted(found.items())}


def curves_of(runs: Sequence[PackedRun], base: PackedRun) -> dict[str, list]:
    """(step, value) pairs of each run, by kind of curve: accuracy, entropy, alpha.

    A curve that is 0 or missing at every step is left out: GRPO's α, and SFT's entropy, because SFT
    samples nothing.
    """
    curves = {"accuracy": [accuracy_curve(run, base) for run in runs]}
    for kind in ("entropy", "alpha"):
        logged = [
            [(row["step"], row[kind]) for row in run.metrics if row.get(kind) is not None]
            for run in runs
        ]
        if any(value for run in logged for _, value in run):
            curves[kind] = logged
    return curves


def accuracy_curve(run: PackedRun, base: PackedRun) -> list[tuple[int, float]]:
    """(step, greedy accuracy on validation) pairs, from the base to the trained student.

    With early stopping the final weights are those of an earlier step, which was measured already.
    """
    key = "validation_accuracy"
    measured = {row["step"]: row[key] for row in run.metrics if row.get(key) is not None}
    points = {0: accuracy(base, "validation"), **measured}
    if not (run.asked["config"]["early_stop"] and measured):
        points[run.metrics[-1]["step"]] = accuracy(run, "validation")
    return sorted(points.items())
