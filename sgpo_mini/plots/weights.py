"""When to distill: the weight α of a problem, and the tokens that δ leaves out."""

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
    kind is drawn below another that is at the same place already.
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
    taken: list[tuple[float, float]] = []
    for row, (kind, places) in enumerate(points.items()):
        look = {"ls": "", "marker": "oDs^"[row], "mfc": colors[row], "mec": INK}
        for x, y in dict.fromkeys(places):
            count = places.count((x, y))
            spot = (x, y - 0.09 * taken.count((x, y)))
            taken.append((x, y))
            size = 9 + 2.4 * (count - 1) ** 0.6
            axes.plot(*spot, **look, ms=size, clip_on=False, zorder=4, gid="problems")
            if count > 1:
                axes.text(*spot, f"{count}", size=8.5, ha="center", va="center", zorder=5)
        axes.plot([], [], **look, ms=9, label=f"{kind} ({len(places)})")
    axes.set_xlabel("p_auto: share of right answers alone")
    axes.set_ylabel("p_guide: share of right answers with the strategy")
    axes.grid(False)
    bar = figure.colorbar(shades, ax=axes, label="α (no unit)")
    bar.set_ticks([level for level in (0, 0.2, 0.4, 0.6, 0.8) if level <= cap])
    figure.legend(loc="outside lower center", ncols=4)
    return figure


@own_style
def kept_by_delta(values: dict[str, list[float]], deltas: list[float]) -> Figure:
    """The share of the KL that each δ keeps, for several kinds of problems.

    values[kind] holds the KL of each target token, in nats. Vertical lines mark `deltas`.
    """
    figure = Figure((8, 3.6))
    axes = figure.add_subplot(
        xscale="log", xlabel="δ (nats)", ylabel="share of the KL that is kept"
    )
    low, high = 0.05, 2 * max(10.0, *(value for some in values.values() for value in some))
    grid = [low * (high / low) ** (i / 300) for i in range(301)]
    looks = zip((BLUE, GREEN, ORANGE, GREY), ("-", "--", "-.", ":"), strict=True)
    for (kind, some), (color, line) in zip(values.items(), looks, strict=False):
        total = sum(some) or 1.0
        kept = [sum(value for value in some if value <= delta) / total for delta in grid]
        axes.plot(grid, kept, color=color, ls=line, lw=2.4, label=kind)
    for delta in deltas:
        axes.axvline(delta, color=RED, lw=1.4)
        axes.text(delta, 1.07, f"δ = {delta:g}", color=RED, ha="center", va="bottom")
    axes.set(xlim=(low, high), ylim=(-0.03, 1.05))
    ticks = [tick for tick in (0.1, 0.3, 1, 3, 10) if tick < high]
    axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    axes.minorticks_off()
    figure.legend(loc="outside lower center", ncols=4)
    return figure
