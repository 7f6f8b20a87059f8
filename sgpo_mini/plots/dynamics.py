"""The metrics of a run by training step."""

import math

from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from ..support.intervals import confidence_interval
from .learning import SMOOTHING_STEPS, window_means
from .looks import INK, looks_of
from .style import own_style

# For each panel: title, unit, largest possible value, and its fields of `metrics.jsonl` (the first
# is drawn solid, the second dashed).
_PANELS = (
    ("Right answers", "share", 1.0, {"p_auto": "alone", "p_guide": "with strategy"}),
    ("Weight α", "no unit", math.inf, {"alpha": "computed", "alpha_applied": "applied"}),
    ("KL at the targets", "nats a token", math.inf, {"kl": ""}),
    ("Entropy", "nats a token", math.inf, {"entropy": ""}),
)
_OF_STRATEGIES = ("alpha", "alpha_applied", "kl")


@own_style
def training_dynamics(runs: dict[str, list[list[dict]]], smooth: int = SMOOTHING_STEPS) -> Figure:
    """The rows of `metrics.jsonl` in four panels: pass rates, weight α, KL and entropy.

    runs[method] holds the rows of one run per seed. One seed: bold is the mean of the last `smooth`
    steps, faint are single steps. Several seeds: the mean of the smoothed runs and its 95 % t
    interval, at the steps that all seeds have. Missing and non-finite values are left out; so are α
    and KL of a method without strategies.
    """
    figure = Figure((8, 5.4))
    grid = figure.subplots(2, 2, sharex=True, subplot_kw={"xmargin": 0}).flat
    looks = looks_of(runs)
    for axes, (title, unit, largest, fields) in zip(grid, _PANELS, strict=True):
        for (field, _), line in zip(fields.items(), ("-", "--"), strict=False):
            for place, (method, seeds) in enumerate(runs.items()):
                curves = [curve for rows in seeds if (curve := _curve(rows, field))]
                if curves:
                    color, marker, _ = looks[method]
                    style = {"color": color, "ls": line, "marker": marker, "ms": 4}
                    _draw(axes, curves, smooth, largest, style, place / len(runs))
        axes.set(title=title, ylabel=unit)
        axes.set_ylim(0, 1.02 if "p_auto" in fields else None)
        if len(fields) > 1:
            ways = zip(fields.values(), ("-", "--"), strict=True)
            lines = [Line2D([], [], color=INK, ls=line, lw=2, label=name) for name, line in ways]
            axes.legend(handles=lines, loc="best", fontsize=9, ncols=2)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    for axes in figure.axes[-2:]:
        axes.set_xlabel("training step")
    handles = [
        Line2D([], [], color=color, marker=marker, ms=5, lw=2, label=method)
        for method, (color, marker, _) in looks.items()
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=4)
    return figure


def _curve(rows: list[dict], field: str) -> dict[int, float]:
    """The finite values of a field by step; none of α and KL if there are no guided rollouts."""
    if field in _OF_STRATEGIES:
        rows = [row for row in rows if row.get("p_guide") is not None]
    known = [row for row in rows if row.get(field) is not None and math.isfinite(row[field])]
    return {row["step"]: row[field] for row in known}


def _draw(axes, curves: list[dict], smooth: int, largest: float, style: dict, shift: float) -> None:
    """Draw one run, or the mean of several with its interval; `shift` moves the markers."""
    steps = sorted(set.intersection(*(set(curve) for curve in curves)))
    seeds = [window_means([curve[step] for step in steps], smooth) for curve in curves]
    values = list(zip(*seeds, strict=True))  # (steps, seeds)
    every = max(len(steps) // 5, 1)
    marks = {"markevery": (int(shift * every), every)}
    axes.plot(steps, [sum(row) / len(row) for row in values], **style, **marks, lw=2, zorder=3)
    if len(curves) == 1:
        single = [curves[0][step] for step in steps]
        axes.plot(steps, single, color=style["color"], ls=style["ls"], lw=0.8, alpha=0.35)
    else:
        ends = [confidence_interval(row, over="seeds") for row in values]
        low, high = zip(*((max(a, 0), min(b, largest)) for a, b in ends), strict=True)
        axes.fill_between(steps, low, high, color=style["color"], alpha=0.15, lw=0)
