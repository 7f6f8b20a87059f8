"""The figures of the whole comparison, beside those of the main job in `plots`."""

from collections.abc import Sequence
from itertools import pairwise
from textwrap import fill

from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator

from ..plots import own_style, window_means
from ..support.intervals import confidence_interval
from .looks import FAINT, GREY, INK, looks_of

_WORDS_WIDTH = 1.7  # width in `plan_confusion` of a column titled in words (with signs: 1)


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
    difficulty: dict[str, float],
    base: dict[str, float],
    after: dict[str, dict[str, float]],
    outside: set[str] = frozenset(),
) -> Figure:
    """The gain of each method on each family, in percentage points, beside the base accuracy.

    `base` and after[method] hold accuracies by family on the same problems. Families are sorted by
    `difficulty`, the base student's accuracy on other problems, lowest first; the families in
    `outside` (sure and wrong, in no average) come last, below a line.
    """
    families = sorted(base, key=lambda name: (name in outside, difficulty[name], name))
    gains = [[100 * (after[method][f] - base[f]) for method in after] for f in families]
    figure = Figure((8, 2.2 + 0.24 * len(families)))
    axes = figure.add_subplot()
    axes.grid(False)
    # The base student's column is an accuracy, not a gain, so it has no color.
    image = [[0.0, *row] for row in gains]
    axes.imshow(image, cmap="RdBu", vmin=-100, vmax=100, aspect="auto")
    for y, family in enumerate(families):
        texts = [f"{100 * base[family]:.0f}"]
        texts += [
            f"{round(gain):+d}".replace("-", "−") if round(gain) else "0" for gain in gains[y]
        ]
        for x, text in enumerate(texts):
            color = "white" if abs(image[y][x]) > 55 else INK
            axes.text(x, y, text, ha="center", va="center", size=8, color=color)
    axes.axvline(0.5, color=INK, lw=1)
    if apart := sum(name not in outside for name in families) % len(families):
        axes.axhline(apart - 0.5, color=INK, lw=1.6)
    axes.set_xticks(range(len(after) + 1), ["base student", *after], rotation=45, ha="right")
    axes.set_yticks(range(len(families)), families)
    note = "\n(below the line: sure and wrong, outside the averages)" if apart else ""
    axes.set(
        xlabel=f"base student: percent right; methods: gain in percentage points, unguided{note}",
        ylabel="family, hardest first",
        title="Gain by family",
    )
    return figure


@own_style
def plan_confusion(
    counts: dict[str, dict[str, dict[str, int]]],
    signs: dict[str, str],
    first: Sequence[str],
    last: Sequence[str],
    title: str = "Whose plan did it follow?",
) -> Figure:
    """Whose plan the completions of each family followed, in percent of the family's completions.

    counts[split][family][plan]; each split is a block of rows. Columns: `first` (the family's own
    operations), then the operations of other families, from `signs` (families with the same
    operations share a column), then `last` (plans of no family). A family's own operations among
    the signs are grey, because the first columns count them.
    """
    rows = [
        (split, family)
        for split, table in counts.items()
        for family in sorted(table, key=lambda name: (len(signs[name]), signs[name], name))
    ]
    shown = sorted(set(signs.values()), key=lambda operations: (len(operations), operations))
    columns = [*first, *shown, *last]
    shares = []
    for split, family in rows:
        row = counts[split][family]
        shares.append([row.get(column, 0) / sum(row.values()) for column in columns])
    # Columns with words in their title need more room.
    widths = [_WORDS_WIDTH if column in (*first, *last) else 1 for column in columns]
    edges = [sum(widths[:x]) for x in range(len(columns) + 1)]
    middles = [(left + right) / 2 for left, right in pairwise(edges)]
    figure = Figure((8, 2.8 + 0.24 * len(rows)))
    axes = figure.add_subplot(ylim=(len(rows) - 0.5, -0.5))
    axes.grid(False)
    lines = [y - 0.5 for y in range(len(rows) + 1)]
    axes.pcolormesh(edges, lines, shares, cmap="Blues", vmin=0, vmax=1)
    for y, (_, family) in enumerate(rows):
        for x, share in zip(middles, shares[y], strict=True):
            if round(100 * share):
                color = "white" if share > 0.65 else INK
                text = f"{100 * share:.0f}"
                axes.text(x, y, text, ha="center", va="center", size=7.5, color=color)
        place = (edges[columns.index(signs[family])], y - 0.5)
        axes.add_patch(Rectangle(place, 1, 1, fc=FAINT, ec="none", gid="own operations"))
    for x in (edges[len(first)], edges[-1 - len(last)]):
        axes.axvline(x, color=GREY, lw=1)
    for y in range(1, len(rows)):
        if rows[y][0] != rows[y - 1][0]:
            axes.axhline(y - 0.5, color=INK, lw=1.6)
    for split in counts:
        places = [y for y, row in enumerate(rows) if row[0] == split]
        middle = (places[0] + places[-1]) / 2
        where = {"rotation": 270, "va": "center", "transform": axes.get_yaxis_transform()}
        axes.text(1.01, middle, split, **where)
    titles = [fill(column, 19) for column in columns]
    axes.set_xticks(middles, titles, rotation=90, size=8.5)
    axes.set_yticks(range(len(rows)), [f"{family}  {signs[family]}" for _, family in rows])
    axes.set(
        xlabel="what the solutions did; signs: the operations of other families, in their order\n"
        "(percent of the family's solutions; grey: its own operations, in the first columns)",
        ylabel="family, and the operations of its plan",
    )
    axes.set_title(title)
    return figure
