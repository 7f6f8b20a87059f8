"""The differences between methods or prompts."""

from matplotlib.figure import Figure

from ..support.intervals import confidence_interval
from .looks import BLUE, GREEN, GREY, INK, ORANGE, RED, looks_of
from .style import own_style


@own_style
def gain_by_group(
    base: dict[str, float], after: dict[str, dict[str, float]], group: str = "family"
) -> Figure:
    """The accuracy on each group of problems before and after training, one line per method.

    `base` and after[method] hold accuracies by group on the same problems. The groups are sorted by
    the base student's accuracy, lowest first; `group` names their kind.
    """
    order = sorted(base, key=lambda name: (base[name], name))
    figure = Figure((8, max(3.2, 1.6 + max(0.27, 0.07 * len(after)) * len(order))))
    axes = figure.add_subplot(xlim=(0, 1), ylim=(len(order) - 0.4, -0.6))
    looks = looks_of(["base", *after])
    for i, (method, (color, marker, _)) in enumerate(looks.items()):
        shares = after[method] if i else base
        look = {"color": color, "marker": marker, "ms": 6 if i else 5, "mew": 1.5, "ls": ""}
        shift = 0.8 * ((i - 0.5) / len(after) - 0.5) if i else 0
        for place, name in enumerate(order):
            height = place + shift
            axes.plot((base[name], shares[name]), (height, height), color=color, lw=1.6)
            axes.plot(shares[name], height, **look, clip_on=False, zorder=3 + (not i))
        axes.plot([], [], **look, label=method if i else "base student")
    axes.set_yticks(range(len(order)), order)
    axes.set(xlabel="share of right answers, unguided", ylabel=f"{group}, hardest for base first")
    figure.legend(loc="outside lower center", ncols=4, handletextpad=0.2)
    return figure


@own_style
def seed_differences(differences: dict[str, list[float]], first="GRPO", second="SGPO") -> Figure:
    """The difference in accuracy, second method minus first, in percentage points.

    differences[row] holds one difference (a share, paired by seed) per seed. Diamond: mean; bar:
    95 % t interval over seeds; dots: single seeds.
    """
    figure = Figure((8, 1.4 + 0.45 * len(differences)))
    axes = figure.add_subplot(ylim=(len(differences) - 0.4, -0.6))
    axes.axvline(0, color=INK, lw=1.2, zorder=1)
    for row, shares in enumerate(differences.values()):
        points, text = [100 * share for share in shares], "one seed"
        mean = sum(points) / len(points)
        if len(points) > 1:
            low, high = confidence_interval(points, over="seeds")
            text = f"{low:+.1f} to {high:+.1f}"
            axes.plot((low, high), (row, row), color=BLUE, lw=2.4)
        axes.plot(points, [row + 0.25] * len(points), "o", color=GREY, alpha=0.6, ms=4.5, mew=0)
        axes.plot(mean, row, "D", color=BLUE, ms=8)
        text = f"{mean:+.1f} ({text})".replace("-", "−")
        axes.text(1.03, row, text, transform=axes.get_yaxis_transform(), va="center")
    axes.set_yticks(range(len(differences)), list(differences))
    axes.set_title(f"{second} − {first}: mean and 95 % interval over seeds (dots)")
    axes.set_xlabel("difference in right answers (percentage points)")
    return figure


@own_style
def pass_rate_by_prompt(rates: dict[str, list[float]]) -> Figure:
    """The pass rate of a student with each prompt.

    rates[prompt] holds one rate per problem. Big mark: mean over problems with its 95 % interval;
    bubbles: single problems (a larger bubble stands for more problems with this rate); broken line:
    the mean of the first prompt, for comparison.
    """
    figure = Figure((8, 1.3 + 0.75 * len(rates)))
    axes = figure.add_subplot(xlim=(-0.04, 1.16), ylim=(len(rates) - 0.45, -0.6))
    looks = [(BLUE, "o"), (GREEN, "D"), (RED, "^"), (GREY, "P"), (ORANGE, "s"), (INK, "v")]
    for row, (name, values) in enumerate(rates.items()):
        color, marker = looks[row % len(looks)]
        mean = sum(values) / len(values)
        if not row:
            axes.axvline(mean, color=color, ls="--", lw=1.2, zorder=1)
        levels = sorted(set(values))
        sizes = [900 * values.count(level) / len(values) for level in levels]
        axes.scatter(levels, [row + 0.22] * len(levels), sizes, color=color, alpha=0.3, lw=0)
        low, high = confidence_interval(values)
        axes.plot([low, high], [row - 0.18] * 2, color=color, lw=3, gid=f"interval of {name}")
        look = {"color": color, "marker": marker, "ms": 9, "mec": INK, "zorder": 3}
        axes.plot([mean], [row - 0.18], **look, gid=f"mean of {name}")
        axes.text(1.15, row - 0.18, f"{mean:.2f}", ha="right", va="center", weight="bold")
    axes.set_yticks(range(len(rates)), rates)
    axes.set_xticks([i / 4 for i in range(5)])
    axes.grid(False, axis="y")
    axes.set(xlabel="share of right completions of a problem", title="Right with each prompt")
    return figure


@own_style
def forest(
    differences: dict[str, dict[str, list[float]]], paper: dict[str, float], reference: str
) -> Figure:
    """How far each row is above or below the reference, in percentage points.

    differences[block][row] holds one value per seed. Mark and bar: mean with 95 % t interval, blue
    if it excludes 0, else grey; open diamond: the paper's number, if it has one. The rows of each
    block are sorted from worst to best.
    """
    figure = Figure((8, 1.5 + 0.29 * sum(len(rows) + 1 for rows in differences.values())))
    words, axes = figure.subplots(1, 2, sharey=True, width_ratios=(5, 9))
    words.set_axis_off()
    words.set(xlim=(0, 1))
    place = 0
    for block, rows in differences.items():
        words.text(0, place, block, va="center", weight="bold")
        means = {name: sum(values) / len(values) for name, values in rows.items()}
        for name in sorted(rows, key=means.__getitem__):
            place += 1
            low, high = confidence_interval(rows[name], over="seeds")
            color, marker = (BLUE, "o") if low > 0 or high < 0 else (GREY, "s")
            axes.plot([low, high], [place] * 2, color=color, lw=2.4, gid=f"interval {name}")
            axes.plot(means[name], place, color=color, marker=marker, ms=6, gid=f"mean {name}")
            known = f"{paper[name]:+.1f}" if name in paper else "—"
            told = (name, f"{means[name]:+.1f}".replace("-", "−"), known.replace("-", "−"))
            for x, text, side in zip((0, 0.8, 1), told, ("left", "right", "right"), strict=True):
                words.text(x, place, text, ha=side, va="center", size=9.5)
            if name in paper:
                look = {"marker": "D", "ms": 8, "mfc": "none", "mec": RED, "mew": 1.6}
                axes.plot(paper[name], place, ls="", **look, zorder=4, gid=f"paper {name}")
        place += 1
    for x, text in ((0.8, "here"), (1, "paper")):
        words.text(x, 0, text, ha="right", va="center", size=9.5, color=GREY)
    axes.axvline(0, color=INK, lw=1.2)
    axes.tick_params(axis="y", labelleft=False)
    axes.grid(False, axis="y")
    axes.set(ylim=(place - 0.4, -0.7), xlabel=f"percentage points, row − {reference}")
    axes.set_title(f"Above or below {reference}?", loc="left")
    for color, marker, label in ((BLUE, "o", "leaves out 0"), (GREY, "s", "holds 0")):
        axes.plot([], [], color=color, marker=marker, lw=2.4, label=f"interval {label}")
    axes.plot([], [], ls="", marker="D", mfc="none", mec=RED, mew=1.6, label="the paper's number")
    figure.legend(loc="outside lower center", ncols=3)
    return figure
