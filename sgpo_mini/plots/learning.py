"""Curves over training steps."""

import math

from matplotlib.figure import Figure

from .looks import BLUE, GREEN, RED, looks_of
from .style import own_style

SMOOTHING_STEPS = 10


@own_style
def accuracy_by_step(curves: dict[str, list[tuple[int, float]]]) -> Figure:
    """Validation accuracy by training step and method.

    curves[method] holds (step, accuracy) pairs. The legend has the methods and their last values,
    in the order in which the lines end.
    """
    figure = Figure((8, 4))
    axes = figure.add_subplot(xmargin=0, ylim=(0, 1), xlabel="training step")
    looks = looks_of(curves)
    for method in sorted(curves, key=lambda name: -max(curves[name])[1]):
        steps, shares = zip(*sorted(curves[method]), strict=True)
        color, marker, line = looks[method]
        style = {"color": color, "marker": marker, "ls": line, "lw": 2, "ms": 6, "clip_on": False}
        axes.plot(steps, shares, **style, label=f"{method}  {shares[-1]:.2f}")
    axes.set(xlim=(0, None), ylabel="share of right answers", title="Validation accuracy by step")
    axes.legend(loc="center left", bbox_to_anchor=(1, 0.5))
    return figure


def window_means(values: list[float], size: int) -> list[float]:
    """The mean of each value and the ones before it, `size` values in all."""
    windows = [values[max(0, i - size) : i] for i in range(1, len(values) + 1)]
    return [sum(window) / len(window) for window in windows]


@own_style
def weights_by_step(rows: list[dict]) -> Figure:
    """The two pass rates and the weight α by step: α falls as the student learns.

    `rows` are those of `metrics.jsonl`; missing and non-finite values are left out. Bold: mean of
    the last 10 steps; faint: single steps.
    """
    figure = Figure((8, 4.8))
    upper, lower = figure.subplots(2, sharex=True, height_ratios=[3, 2], subplot_kw={"xmargin": 0})
    for axes, name, label, color, line in (
        (upper, "p_guide", "p_guide: with the strategy", GREEN, "--"),
        (upper, "p_auto", "p_auto: alone", BLUE, "-"),
        (lower, "alpha", "α: weight of the strategy's KL", RED, "-"),
    ):
        known = [row for row in rows if row.get(name) is not None and math.isfinite(row[name])]
        steps, values = [row["step"] for row in known], [row[name] for row in known]
        smooth = window_means(values, SMOOTHING_STEPS)
        axes.plot(steps, values, color=color, lw=0.8, alpha=0.35)
        axes.plot(steps, smooth, color=color, ls=line, lw=2.4, label=label if steps else None)
        axes.set_ylim(0, max([1, *values]))
    upper.legend(loc="lower right", ncols=2)
    lower.legend(loc="upper right")
    upper.set(ylabel="share of right answers", title="The strategy's help and its weight")
    lower.set(ylabel="weight (no unit)", xlabel="training step")
    return figure
