"""A student in the reader's own domain: walks in a town, and who learns from which students."""

from collections import Counter
from itertools import pairwise

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from .learning import SMOOTHING_STEPS, window_means
from .looks import BLUE, FAINT, GREY, INK, RED, looks_of
from .style import own_style

Corner = tuple[int, int]
Walks = list[tuple[list[Corner], bool]]


@own_style
def walks_in_town(
    goal: Corner,
    closed: list[tuple[Corner, Corner]],
    walks: dict[str, Walks],
    streets: dict[str, list[Corner]] | None = None,
) -> Figure:
    """Walks in one town, walks[title], one panel per title; `streets` are named where they run.

    A walk is (its corners, whether it is right). A line is thicker if more walks of its panel take
    this block (blue: right walks, red: wrong walks; crosses: closed blocks).
    """
    figure = Figure((8, 2.9))
    xs, ys = sorted((0, goal[0])), sorted((0, goal[1]))
    for axes, (title, tries) in zip(figure.subplots(1, len(walks)), walks.items(), strict=True):
        for x in range(xs[0] - 1, xs[1] + 2):
            axes.plot((x, x), (ys[0] - 1, ys[1] + 1), color=FAINT, lw=1, zorder=0)
        for y in range(ys[0] - 1, ys[1] + 2):
            axes.plot((xs[0] - 1, xs[1] + 1), (y, y), color=FAINT, lw=1, zorder=0)
        shift = 0.07 * (len({right for _, right in tries}) > 1)  # neither hides the other
        _draw_blocks(axes, tries, True, BLUE, shift)
        _draw_blocks(axes, tries, False, RED, -shift)
        for (x0, y0), (x1, y1) in closed:
            look = {"color": INK, "marker": "x", "ms": 9, "mew": 2.2, "ls": "", "zorder": 4}
            axes.plot((x0 + x1) / 2, (y0 + y1) / 2, **look, gid="closed")
        for marker, (x, y) in (("o", (0, 0)), ("s", goal)):
            axes.plot(x, y, marker, color=INK, ms=9, zorder=5)
        for name, corners in (streets or {}).items():
            _name_street(axes, name, corners, goal)
        axes.set(xlim=(xs[0] - 1, xs[1] + 1), ylim=(ys[0] - 1, ys[1] + 1), xticks=[], yticks=[])
        axes.set_aspect("equal")
        axes.grid(False)
        axes.spines[:].set_visible(False)
        axes.set_title(title)
    axes.set_xlabel("one square: one block", size=9)
    for marker, color, label in (
        ("", BLUE, "right walk"), ("", RED, "wrong walk"), ("x", INK, "closed block"),
        ("o", INK, "start"), ("s", INK, "goal"),
    ):  # fmt: skip
        look = {"marker": marker, "ls": "", "ms": 8, "mew": 2.2} if marker else {"lw": 5}
        axes.plot([], [], color=color, label=label, **look)
    figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=5)
    return figure


def _draw_blocks(axes: Axes, tries: Walks, side: bool, color: str, shift: float) -> None:
    """Draw the right walks (side) or the wrong ones, a line a block, `shift` from the middle."""
    blocks = Counter(
        tuple(sorted(pair)) for path, right in tries if right == side for pair in pairwise(path)
    )
    for ((x0, y0), (x1, y1)), count in blocks.items():
        look = {"color": color, "lw": 0.8 + 7 * count / len(tries), "gid": "walked"}
        places = ((x0 + shift, x1 + shift), (y0 + shift, y1 + shift))
        axes.plot(*places, **look, solid_capstyle="round", alpha=0.85, zorder=2)


def _name_street(axes: Axes, name: str, corners: list[Corner], goal: Corner) -> None:
    """Write a street's name outside the rectangle between start and goal."""
    (x0, y0), (x1, y1) = corners[0], corners[-1]
    if y0 == y1:
        outwards = (y0 - goal[1] / 2) / abs(goal[1] / 2) * 0.5
        axes.text((x0 + x1) / 2, y0 + outwards, name, ha="center", va="center", size=9)
    else:
        outwards = (x0 - goal[0] / 2) / abs(goal[0] / 2) * 0.5
        look = {"ha": "center", "va": "center", "rotation": 90, "size": 9}
        axes.text(x0 + outwards, (y0 + y1) / 2, name, **look)


@own_style
def success_by_student(
    curves: dict[str, dict[str, list[list[float]]]], exam: dict[str, dict[str, list[float]]]
) -> Figure:
    """How often each student is right without a strategy, while it trains and in an exam.

    curves[student][method] has p_auto by step of each seed (faint; bold: the mean over seeds and
    the last 10 steps). exam[student][method] has one accuracy per seed, drawn at the right of the
    panel (small dots; big mark: mean); its "base" is the accuracy before training, at the left.
    """
    figure = Figure((8, 4.2))
    panels = figure.subplots(1, len(curves), sharey=True, squeeze=False)[0]
    for axes, (student, methods) in zip(panels, curves.items(), strict=True):
        for name, look in looks_of(methods).items():
            seeds = methods[name]
            steps = range(1, len(seeds[0]) + 1)
            for values in seeds:
                smooth = window_means(values, SMOOTHING_STEPS)
                axes.plot(steps, smooth, color=look.color, lw=0.9, alpha=0.45)
            mean = [sum(values) / len(values) for values in zip(*seeds, strict=True)]
            line = {"color": look.color, "lw": 2.6, "label": name, "gid": "mean"}
            axes.plot(steps, window_means(mean, SMOOTHING_STEPS), **line)
            place, values = 1.1 * len(steps), exam[student][name]
            small = {"color": look.color, "ms": 4, "mec": INK, "mew": 0.6}
            axes.plot([place] * len(values), values, "o", **small, clip_on=False, zorder=4)
            mark = {"color": look.color, "marker": look.marker, "ms": 9, "mec": INK, "gid": "exam"}
            axes.plot(place, sum(values) / len(values), **mark, clip_on=False, zorder=5)
        axes.axvline(1.03 * len(steps), color=GREY, lw=0.8, ls=":")
        before = sum(exam[student]["base"]) / len(exam[student]["base"])
        axes.plot(0, before, "o", color=GREY, ms=9, mec=INK, clip_on=False, zorder=5, gid="before")
        axes.set(xlim=(0, 1.17 * len(steps)), ylim=(0, 1), xlabel="training step, then the exam")
        axes.set_xticks([tick for tick in axes.get_xticks() if tick <= len(steps)])
        axes.set_title(student)
    panels[0].set_ylabel("share of right walks, without a strategy")
    axes.plot([], [], "o", color=GREY, ms=9, mec=INK, label="exam before training")
    axes.plot([], [], "o", color="white", ms=4, mec=INK, mew=0.6, label="exam of each seed")
    figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=4)
    return figure
