"""When to distill: the weight α of a problem, and the tokens that δ leaves out."""

import math

from matplotlib.figure import Figure

from .looks import BLUE, GREEN, GREY, INK, ORANGE, RED
from .style import own_style


@own_style
def weight_surface(
    weights: list[list[float]], points: dict[str, list[tuple[float, float]]], cap: float
) -> Figure:
    """The weight α over both pass rates, with contour lines, and the pass rates of real problems.

    weights[i][j] is α at p_guide = i / (rows - 1) and p_auto = j / (columns - 1); points[kind] has
    (p_auto, p_guide) pairs. A larger mark with a number stands for several problems at one place; a
    second kind is drawn a little lower, so that it does not hide the first.
    """
    figure = Figure((8, 5.4))
    axes = figure.add_subplot(xlim=(-0.04, 1.04), ylim=(-0.1, 1.07))
    across = [[i / (size - 1) for i in range(size)] for size in (len(weights[0]), len(weights))]
    heights = [[min(weight, cap) for weight in row] for row in weights]
    levels = [*(cap * i / 40 for i in range(40)), cap + 1e-6]
    shades = axes.contourf(*across, heights, levels=levels, cmap="Blues")
    inner = [level for level in (0.1, 0.2, 0.4, 0.6) if level < cap]
    lines = axes.contour(*across, heights, levels=inner, colors=INK, linewidths=0.9)
    axes.clabel(lines, fmt="%.1f", fontsize=9)
    for level, color, line, side in ((0.99 * cap, INK, "-", "left"), (1e-6, RED, "--", "right")):
        look = {"colors": color, "linewidths": 2.4, "linestyles": line}
        axes.contour(*across, heights, levels=[level], **look)
        label = f"α = {cap if side == 'left' else 0:g} {side} of it"
        axes.plot([], [], color=color, ls=line, lw=2.4, label=label)
    colors = ("white", ORANGE, GREEN, GREY)
    for row, (kind, places) in enumerate(points.items()):
        look = {"ls": "", "marker": "oDs^"[row], "mfc": colors[row], "mec": INK}
        for x, y in dict.fromkeys(places):
            count = places.count((x, y))
            spot = (x, y - 0.07 * row)
            size = 9 + 2.4 * (count - 1) ** 0.6
            axes.plot(*spot, **look, ms=size, clip_on=False, zorder=4, gid="problems")
            if count > 1:
                axes.text(*spot, f"{count}", size=8.5, ha="center", va="center", zorder=5)
        axes.plot([], [], **look, ms=9, label=f"{kind} ({len(places)})")
    axes.set(
        xlabel="p_auto: share of right answers alone", title="The weight α over both pass rates"
    )
    axes.set_ylabel("p_guide: share of right answers with the strategy")
    axes.grid(False)
    bar = figure.colorbar(shades, ax=axes, label="α (no unit)")
    bar.set_ticks([level for level in (0, 0.2, 0.4, 0.6, 0.8) if level <= cap])
    figure.legend(loc="outside lower center", ncols=4)
    return figure


@own_style
def kl_histogram(values: dict[str, list[float]], deltas: list[float]) -> Figure:
    """The distribution of the KL of the targets' tokens, in nats, on logarithmic axes.

    values[kind] holds the KL of each token; the bars are stacked by kind, and a KL below 0.001 is
    counted in the first bar. The loss leaves out the tokens to the right of a δ line.
    """
    figure = Figure((8, 4.4))
    axes = figure.add_subplot(xscale="log", yscale="log", xlabel="KL of a token (nats)")
    low, high, size = -3, math.log10(30), 28
    edges = [10 ** (low + (high - low) * i / size) for i in range(size + 1)]
    below = [0] * size
    looks = zip((BLUE, ORANGE, GREEN, GREY), ("", "//", "..", "xx"), strict=True)
    for (kind, some), (color, hatch) in zip(values.items(), looks, strict=False):
        counts = [0] * size
        for value in some:
            place = (math.log10(max(value, 1e-9)) - low) / (high - low) * size
            counts[min(max(int(place), 0), size - 1)] += 1
        widths = [right - left for left, right in zip(edges, edges[1:], strict=False)]
        look = {"color": color, "hatch": hatch, "ec": "white", "lw": 0.5, "label": kind}
        axes.bar(edges[:-1], counts, widths, bottom=below, align="edge", **look)
        below = [first + second for first, second in zip(below, counts, strict=True)]
    for delta, line in zip(deltas, ("--", "-", ":"), strict=False):
        above = sum(value > delta for some in values.values() for value in some)
        label = f"δ = {delta:g} leaves out {above}"
        axes.axvline(delta, color=RED, ls=line, lw=2.4, label=label)
    axes.set(ylabel="tokens (number)", xlim=(edges[0], edges[-1]), ylim=(0.7, 2 * max(below)))
    axes.set_title("KL of the targets' tokens")
    axes.set_xticks([0.001, 0.01, 0.1, 1, 10], ["≤ 0.001", "0.01", "0.1", "1", "10"])
    axes.set_yticks([1, 10, 100], ["1", "10", "100"])
    figure.legend(loc="outside lower center", ncols=4)
    return figure
