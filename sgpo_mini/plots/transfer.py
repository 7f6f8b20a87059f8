"""Gains by split, unguided and guided: does what was learned transfer?"""

from matplotlib.figure import Figure

from ..support.intervals import confidence_interval
from .looks import GREY, INK, RED, looks_of
from .style import own_style

Column = tuple[str, str]  # (prompt, split)


@own_style
def transfer_gains(
    shares: dict[str, dict[Column, float]],
    gains: dict[str, dict[str, dict[Column, list[float]]]],
    largest: float = 60.0,
) -> Figure:
    """The gain of each row over the base student, by column.

    gains[block][row][column] holds one value per seed, in percentage points; a cell shows the mean
    with its 95 % t interval, blue if the interval is above 0, red if below (full colour at
    `largest` points), white if it includes 0. The first rows, in grey, are `shares` in percent that
    are not gains: the base student's accuracy, and chance.
    """
    columns = list(next(iter(shares.values())))
    rows = [*shares, *(name for block in gains.values() for name in block)]
    told = {name: row for block in gains.values() for name, row in block.items()}
    figure = Figure((8, 1.9 + 0.37 * len(rows)))
    axes = figure.add_subplot()
    axes.grid(False)
    image = [[0.0] * len(columns) for _ in rows]
    for y, name in enumerate(rows):
        for x, column in enumerate(columns):
            if name in shares:
                share = shares[name].get(column)
                text = "—" if share is None else f"{share:.0f} %"
                axes.text(x, y, text, ha="center", va="center", size=10, color=GREY)
                continue
            values = told[name][column]
            mean, (low, high) = sum(values) / len(values), confidence_interval(values, "seeds")
            clear = low > 0 or high < 0
            image[y][x] = mean if clear else 0.0
            look = {"ha": "center", "color": "white" if abs(image[y][x]) > 0.62 * largest else INK}
            weight = "bold" if clear else "normal"
            axes.text(x, y + 0.02, _signed(mean, 1), **look, va="bottom", size=9.5, weight=weight)
            interval = f"{_signed(low)} to {_signed(high)}"
            axes.text(x, y + 0.1, interval, **look, va="top", size=7)
    axes.imshow(image, cmap="RdBu", vmin=-largest, vmax=largest, aspect="auto")
    line = len(shares) - 0.5
    for block in gains.values():
        axes.axhline(line, color=INK, lw=1.4)
        line += len(block)
    for x in range(1, len(columns)):
        new = columns[x][0] != columns[x - 1][0]
        axes.axvline(x - 0.5, color=INK if new else "white", lw=1.4 if new else 1)
    for prompt in dict.fromkeys(prompt for prompt, _ in columns):
        places = [x for x, column in enumerate(columns) if column[0] == prompt]
        middle = (places[0] + places[-1]) / 2
        axes.text(middle, -0.62, prompt, ha="center", va="bottom", weight="bold", size=10)
    axes.set_xticks(range(len(columns)), [split for _, split in columns], size=9.5)
    axes.set_yticks(range(len(rows)), rows)
    axes.set_title("Gain over the base student", pad=24)
    axes.set(
        xlabel="split; grey: percent right; below: gain in percentage points, 95 % interval over "
        "seeds\n(blue: above 0, red: below 0, white: the interval holds 0)",
        ylabel="training",
    )
    return figure


@own_style
def transfer_levels(
    levels: dict[str, dict[str, list[float]]],
    base: dict[str, float],
    chance: dict[str, float],
    ceiling: dict[str, float],
    label: str = "greedy accuracy (percent)",
) -> Figure:
    """How far each method climbs on each split, between chance and the ceiling, in percent.

    levels[method][split] holds one value per seed: mark and bar are the mean and its 95 % t
    interval. Grey circle: the student before training; black line: chance; red line: the ceiling,
    where it was measured.
    """
    splits = list(base)
    figure = Figure((8, 1.5 + 0.62 * len(splits)))
    axes = figure.add_subplot(xlim=(0, 101), ylim=(len(splits) - 0.45, -0.55), xlabel=label)
    axes.grid(False, axis="y")
    for y, split in enumerate(splits):
        for values, color in ((chance, INK), (ceiling, RED)):
            if split in values:
                axes.plot([values[split]] * 2, [y - 0.36, y + 0.36], color=color, lw=2)
        axes.plot(base[split], y, "o", color=GREY, ms=6, mec="white", zorder=4)
    looks = looks_of(levels)
    for row, (method, (color, marker, _)) in enumerate(looks.items()):
        shift = 0.22 * (2 * row - len(looks) + 1) / max(len(looks) - 1, 1)
        for y, split in enumerate(splits):
            values = levels[method][split]
            mean = sum(values) / len(values)
            if len(values) > 1:
                low, high = confidence_interval(values, over="seeds")
                axes.plot([max(low, 0), min(high, 100)], [y + shift] * 2, color=color, lw=2.2)
            axes.plot(mean, y + shift, color=color, marker=marker, ms=7, mec="white", zorder=3)
        axes.plot([], [], color=color, marker=marker, ms=7, ls="", label=method)
    axes.plot([], [], "o", color=GREY, ms=6, label="before training")
    axes.plot([], [], color=INK, lw=2, label="chance")
    axes.plot([], [], color=RED, lw=2, label="ceiling")
    axes.set_yticks(range(len(splits)), splits)
    figure.legend(loc="outside lower center", ncols=5, handletextpad=0.4)
    return figure


def _signed(value: float, digits: int = 0) -> str:
    rounded = round(value, digits) + 0.0
    return f"{rounded:+.{digits}f}".replace("-", "−") if rounded else f"{0:.{digits}f}"
