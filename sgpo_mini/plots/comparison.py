"""The figures of the whole comparison, beside those of the main job in `plots`."""

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from ..plots import own_style, window_means
from ..support.intervals import confidence_interval
from .looks import BLUE, FAINT, GREEN, GREY, INK, ORANGE, RED, looks_of

_ERROR_COLORS = (ORANGE, RED, GREEN, GREY, FAINT)  # of `plan_shares`, without the true plan
_DARK = (BLUE, RED, GREEN, GREY)


@own_style
def bands_by_step(
    curves: dict[str, list[list[tuple[int, float]]]],
    label: str,
    smooth: int = 1,
    largest: float = float("inf"),
) -> Figure:
    """A quantity by training step and method: the mean over seeds and its 95 % t interval (band).

    curves[method] holds one curve per seed, of (step, value) pairs with values from 0 to `largest`;
    steps that some seed lacks are left out. Each curve is first averaged over `smooth` steps.
    """
    figure = Figure((8, 4.4))
    axes = figure.add_subplot(xmargin=0, xlabel="training step", ylabel=label)
    for place, (method, (color, marker, line)) in enumerate(looks_of(curves).items()):
        runs = [dict(run) for run in curves[method]]
        steps = sorted(set.intersection(*(set(run) for run in runs)))
        seeds = [window_means([run[step] for step in steps], smooth) for run in runs]
        values = list(zip(*seeds, strict=True))  # (steps, seeds)
        means = [sum(row) / len(row) for row in values]
        # Methods have their markers at different steps, so that no marker covers another.
        every = max(len(steps) // 8, 1)
        style = {"color": color, "marker": marker, "ls": line, "lw": 1.8, "ms": 5}
        style |= {"markevery": (place * every // len(curves), every), "clip_on": False}
        axes.plot(steps, means, **style, zorder=3, label=method)
        if len(seeds) > 1:
            ends = [confidence_interval(row, over="seeds") for row in values]
            low, high = zip(*((max(a, 0), min(b, largest)) for a, b in ends), strict=True)
            axes.fill_between(steps, low, high, color=color, alpha=0.1, lw=0)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set(xlim=(0, None), ylim=(0, None), title=f"{label[0].upper()}{label[1:]} by step")
    axes.legend(loc="center left", bbox_to_anchor=(1, 0.5))
    return figure


@own_style
def gain_table(
    base: dict[str, float], after: dict[str, dict[str, float]], group: str = "verb"
) -> Figure:
    """The gain of each method on each group of problems, in percentage points, beside the base.

    `base` and after[method] hold accuracies by group on the same problems. The groups are sorted by
    the base student's accuracy, lowest first; `group` names their kind.
    """
    order = sorted(base, key=lambda name: (base[name], name))
    gains = [[100 * (after[method][name] - base[name]) for method in after] for name in order]
    figure = Figure((8, 2.2 + 0.24 * len(order)))
    axes = figure.add_subplot()
    axes.grid(False)
    # The base student's column is an accuracy, not a gain, so it has no color.
    image = [[0.0, *row] for row in gains]
    axes.imshow(image, cmap="RdBu", vmin=-100, vmax=100, aspect="auto")
    for y, name in enumerate(order):
        texts = [f"{100 * base[name]:.0f}"]
        texts += [
            f"{round(gain):+d}".replace("-", "−") if round(gain) else "0" for gain in gains[y]
        ]
        for x, text in enumerate(texts):
            color = "white" if abs(image[y][x]) > 55 else INK
            axes.text(x, y, text, ha="center", va="center", size=8, color=color)
    axes.axvline(0.5, color=INK, lw=1)
    axes.set_xticks(range(len(after) + 1), ["base student", *after], rotation=45, ha="right")
    axes.set_yticks(range(len(order)), order)
    axes.set(
        xlabel="base student: percent right; methods: gain in percentage points, unguided",
        ylabel=f"{group}, hardest first",
    )
    return figure


@own_style
def plan_shares(shares: dict[str, dict[str, dict[str, float]]]) -> Figure:
    """What the completions of each student did on each split, as bars that add up to 100 %.

    shares[split][student][kind] holds a share; the kinds have the same order everywhere, and the
    first one (the true plan) is the only one in blue.
    """
    rows = [(split, student) for split, table in shares.items() for student in table]
    kinds = list(next(iter(next(iter(shares.values())).values())))
    colors = (BLUE, *_ERROR_COLORS)
    figure = Figure((8, 2.0 + 0.42 * len(rows)))
    axes = figure.add_subplot(xlim=(0, 100), ylim=(len(rows) - 0.5, -0.5))
    axes.grid(False)
    for y, (split, student) in enumerate(rows):
        left = 0.0
        for kind, color in zip(kinds, colors, strict=True):
            width = 100 * shares[split][student][kind]
            axes.barh(y, width, 0.72, left=left, color=color, ec="white", lw=0.6, gid=kind)
            if width >= 6:
                look = {"color": "white" if color in _DARK else INK, "size": 9}
                axes.text(left + width / 2, y, f"{width:.0f}", ha="center", va="center", **look)
            left += width
    for kind, color in zip(kinds, colors, strict=True):
        axes.barh([0], [0], color=color, label=kind)
    axes.set_yticks(range(len(rows)), [f"{split}: {student}" for split, student in rows])
    axes.set_xlabel("percent of the unguided completions")
    figure.legend(loc="outside lower center", ncols=2, fontsize=9)
    return figure
