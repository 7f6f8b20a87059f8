"""A student in the reader's own domain: walks in a town, and the gain of training."""

from collections import Counter

from matplotlib.figure import Figure

from .looks import BLUE, FAINT, GREY, INK, RED, looks_of
from .style import own_style

Corner = tuple[int, int]


@own_style
def walks_and_gains(
    goal: Corner,
    closed: list[tuple[Corner, Corner]],
    walks: dict[str, list[tuple[list[Corner], bool]]],
    shares: dict[str, dict[str, list[float]]],
) -> Figure:
    """Walks in one town, one panel per student or prompt, and accuracies below.

    A line is thicker if more walks take this block (blue: correct walks, red: wrong walks; crosses:
    closed blocks). Below: the accuracy, shares[questions][student], with one value per seed (big
    mark: mean).
    """
    figure = Figure((8, 6.2))
    above, below = figure.subfigures(2, 1, height_ratios=(3.3, 2.2))
    xs, ys = sorted((0, goal[0])), sorted((0, goal[1]))
    for axes, (title, tries) in zip(above.subplots(1, len(walks)), walks.items(), strict=True):
        for x in range(xs[0] - 1, xs[1] + 2):
            axes.plot((x, x), (ys[0] - 1, ys[1] + 1), color=FAINT, lw=1, zorder=0)
        for y in range(ys[0] - 1, ys[1] + 2):
            axes.plot((xs[0] - 1, xs[1] + 1), (y, y), color=FAINT, lw=1, zorder=0)
        for side, color, shift in ((True, BLUE, 0.07), (False, RED, -0.07)):
            blocks = Counter(
                tuple(sorted(pair))
                for path, right in tries
                if right == side
                for pair in zip(path[:-1], path[1:], strict=True)
            )
            for ((x0, y0), (x1, y1)), count in blocks.items():
                look = {"color": color, "lw": 0.8 + 11 * count / len(tries), "gid": "walked"}
                places = ((x0 + shift, x1 + shift), (y0 + shift, y1 + shift))
                axes.plot(*places, **look, solid_capstyle="round", alpha=0.85, zorder=2)
        for (x0, y0), (x1, y1) in closed:
            look = {"color": INK, "marker": "x", "ms": 10, "mew": 2.4, "ls": "", "zorder": 4}
            axes.plot((x0 + x1) / 2, (y0 + y1) / 2, **look, gid="closed")
        for name, (x, y) in (("start", (0, 0)), ("goal", goal)):
            axes.plot(x, y, "o" if name == "start" else "s", color=INK, ms=9, zorder=5)
            side = -0.75 if y == ys[0] else 0.65
            axes.text(x, y + side, name, ha="center", va="center", zorder=6)
        axes.set(xlim=(xs[0] - 1, xs[1] + 1), ylim=(ys[0] - 1.1, ys[1] + 1), xticks=[], yticks=[])
        axes.set_aspect("equal")
        axes.grid(False)
        axes.spines[:].set_visible(False)
        axes.set_title(f"{title}: {sum(right for _, right in tries)} of {len(tries)} right")
    for color, label in ((BLUE, "right walks"), (RED, "wrong walks")):
        above.axes[0].plot([], [], color=color, lw=5, label=label)
    above.axes[0].plot([], [], "x", color=INK, ms=8, mew=2.4, ls="", label="closed block")
    above.legend(loc="outside lower center", ncols=3)
    axes = below.add_subplot(
        xlim=(0, 1), ylim=(len(shares) - 0.5, -0.5), title="Alone, all of them"
    )
    for i, (name, look) in enumerate(looks_of(next(iter(shares.values()))).items()):
        for row, students in enumerate(shares.values()):
            height, values = row + 0.22 * (i - 1), students[name]
            axes.plot(values, [height] * len(values), "o", color=GREY, ms=4, alpha=0.7, mew=0)
            mark = {"color": look.color, "marker": look.marker, "ms": 9, "ls": "", "mec": INK}
            axes.plot(sum(values) / len(values), height, **mark, gid="mean", clip_on=False)
        axes.plot([], [], **mark, label=name)
    axes.set_yticks(range(len(shares)), shares)
    axes.grid(False, axis="y")
    axes.set(xlabel="share of right walks, without a strategy")
    below.legend(loc="outside lower center", ncols=3)
    return figure
