"""How the cost of a training step grows with its sizes."""

import math
from statistics import median

from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator

from .looks import BLUE, GREEN, GREY, ORANGE, RED
from .style import own_style


@own_style
def cost_growth(
    costs: dict[str, dict[str, list[tuple[int, list[float]]]]], label: str = "seconds"
) -> Figure:
    """The cost of a step against one size at a time, one panel per size, on logarithmic axes.

    costs[size][part] holds (value of the size, measurements) pairs for each part of a step, such as
    the rollout. Line: median over repetitions; bar: their range; dotted line: proportional growth.
    """
    figure = Figure((8, 3.2 * math.ceil(len(costs) / 2) + 0.4))
    panels = figure.subplots(math.ceil(len(costs) / 2), 2, squeeze=False).flatten()
    parts = dict.fromkeys(part for panel in costs.values() for part in panel)
    looks = dict(zip(parts, ((BLUE, "o"), (ORANGE, "s"), (GREEN, "^"), (RED, "D")), strict=False))
    for axes, (size, panel) in zip(panels, costs.items(), strict=False):
        for part, points in panel.items():
            color, marker = looks[part]
            values, measured = zip(*sorted(points), strict=True)
            middle = [median(seconds) for seconds in measured]
            low, high = zip(*((min(row), max(row)) for row in measured), strict=True)
            axes.vlines(values, low, high, color=color, lw=1.6, alpha=0.6)
            axes.plot(values, middle, color=color, marker=marker, lw=2, ms=6, label=part)
            proportion = [middle[0] * value / values[0] for value in values]
            axes.plot(values, proportion, ":", color=color, lw=1.2, scalex=False, scaley=False)
        axes.set(xscale="log", yscale="log", xlabel=size, ylabel=label, title=f"By {size}")
        shown = sorted({value for points in panel.values() for value, _ in points})
        axes.set_xticks(shown, [_short(value) for value in shown])
        axes.set_xticks([], minor=True)
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.yaxis.set_major_formatter(lambda value, place: f"{value:g}")
        axes.yaxis.set_minor_formatter(lambda value, place: "")
    for axes in panels[len(costs) :]:
        axes.remove()
    handles = {line.get_label(): line for line in panels[0].lines if line.get_label() in parts}
    dotted = Line2D([], [], ls=":", color=GREY)
    names = [*handles, "in proportion"]
    figure.legend([*handles.values(), dotted], names, loc="outside lower center", ncols=4)
    return figure


def _short(value: int) -> str:
    """152,000 as 152k."""
    return f"{value / 1000:g}k" if value >= 1000 and value % 1000 == 0 else f"{value}"
