"""The figures: one function a figure, each from plain data to a matplotlib Figure.

They leave matplotlib's global state alone, need no display, and suit colour-blind readers.
"""

import math
import re
from itertools import cycle
from statistics import median

import matplotlib
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch, Rectangle
from matplotlib.ticker import LogLocator

from .evaluation import confidence_interval

INK, GREY, FAINT = "#222222", "#666666", "#dddddd"
BLUE, ORANGE, GREEN, RED = "#0072B2", "#E69F00", "#009E73", "#D55E00"  # Okabe and Ito's
_LOOKS = {"base": (GREY, "o"), "grpo": (ORANGE, "s"), "sgpo": (BLUE, "D")}
_LOOKS |= {"luffy": (GREEN, "^"), "hpt": ("#CC79A7", "P"), "sft": ("#000000", "*")}
_OTHER_LOOKS = (("#56B4E9", "X"), (RED, "v"), ("#F0E442", "p"), (GREEN, "<"), ("#CC79A7", ">"))
_OTHER_LOOKS += ((INK, "h"), ("#56B4E9", "d"), (RED, "8"), (ORANGE, "P"), (BLUE, "*"))
SMOOTHING_STEPS = 10
TOKENS_WIDTH = 84  # characters in a line of `token_kl_strip`
_END = re.compile(r"<\|(end|im_end|endoftext|eot_id|end_of_text)\|>|</s>|<eos>")

# Matplotlib's defaults and ours, whatever the caller has set for other plots.
_STYLE = {key: value for key, value in matplotlib.rcParamsDefault.items() if key != "backend"}
_STYLE |= {"font.family": ["DejaVu Sans"], "figure.dpi": 100, "figure.constrained_layout.use": True}
_STYLE |= {"figure.constrained_layout.w_pad": 0.1, "figure.constrained_layout.h_pad": 0.08}
_STYLE |= {"axes.titlelocation": "left", "axes.titleweight": "bold", "axes.titlesize": 11.5}
_STYLE |= {"axes.spines.top": False, "axes.spines.right": False, "axes.edgecolor": GREY}
_STYLE |= {"axes.labelcolor": INK, "text.color": INK, "legend.frameon": False}
_STYLE |= {"axes.grid": True, "ytick.major.size": 0, "ytick.major.pad": 7}
_STYLE |= {"grid.color": FAINT, "axes.axisbelow": True, "text.parse_math": False}
_own_style = matplotlib.rc_context(_STYLE)


@_own_style
def save(figure: Figure, path, dpi: float = 100) -> None:
    """Write a PNG without version or time, so that equal data gives an equal file."""
    figure.savefig(path, format="png", dpi=dpi, facecolor="white", metadata={"Software": None})


def _looks(methods) -> list[tuple[str, str, str]]:
    """(method, colour, marker), a method's own where it has them."""
    free = cycle(_OTHER_LOOKS)
    return [(method, *(_LOOKS.get(method.lower()) or next(free))) for method in methods]


@_own_style
def accuracy_by_step(curves: dict[str, list[tuple[int, float]]]) -> Figure:
    """How the share of right answers to validation problems grows with training, by method; the
    legend has the methods and their last values in the order in which the lines end."""
    figure = Figure((8, 4))
    axes = figure.add_subplot(xmargin=0, ylim=(0, 1), xlabel="training step")
    for method, color, marker in sorted(_looks(curves), key=lambda look: -max(curves[look[0]])[1]):
        steps, shares = zip(*sorted(curves[method]), strict=True)
        style = {"color": color, "marker": marker, "lw": 2, "ms": 6, "clip_on": False}
        axes.plot(steps, shares, **style, label=f"{method}  {shares[-1]:.2f}")
    axes.set(xlim=(0, None), ylabel="share of right answers", title="Validation accuracy by step")
    axes.legend(loc="center left", bbox_to_anchor=(1, 0.5))
    return figure


@_own_style
def bands_by_step(
    curves: dict[str, list[list[tuple[int, float]]]], label: str, smooth: int = 1
) -> Figure:
    """Any number by training step and method: the mean over seeds and its 95 % t interval (band),
    where all seeds have it; `smooth` takes means of so many steps first. A curve a seed."""
    figure = Figure((8, 4.4))
    axes = figure.add_subplot(xmargin=0, xlabel="training step", ylabel=label)
    for method, color, marker in _looks(curves):
        runs = [dict(run) for run in curves[method]]
        steps = sorted(set.intersection(*(set(run) for run in runs)))
        seeds = [_window_means([run[step] for step in steps], smooth) for run in runs]
        values = list(zip(*seeds, strict=True))  # (steps, seeds)
        means = [sum(row) / len(row) for row in values]
        style = {"color": color, "marker": marker, "lw": 1.8, "ms": 5}
        axes.plot(steps, means, **style, markevery=max(len(steps) // 8, 1), label=method)
        if len(seeds) > 1:
            low, high = zip(
                *(confidence_interval(row, over="seeds") for row in values), strict=True
            )
            axes.fill_between(steps, low, high, color=color, alpha=0.15, lw=0)
    axes.set_title(f"{label[0].upper()}{label[1:]} by step")
    axes.legend(loc="center left", bbox_to_anchor=(1, 0.5))
    return figure


def _window_means(values: list[float], size: int) -> list[float]:
    """Each value's mean with those before it, `size` in all."""
    windows = [values[max(0, i - size) : i] for i in range(1, len(values) + 1)]
    return [sum(window) / len(window) for window in windows]


@_own_style
def weights_by_step(rows: list[dict]) -> Figure:
    """How the strategy's weight α falls as the student learns to do alone what it could do with
    the strategy's help (bold: mean of the last 10 steps; faint: single steps; a value that is
    missing in a row of `metrics.jsonl`, or not finite, is left out)."""
    figure = Figure((8, 4.8))
    upper, lower = figure.subplots(2, sharex=True, height_ratios=[3, 2], subplot_kw={"xmargin": 0})
    for axes, name, label, color, line in (
        (upper, "p_guide", "p_guide: with the strategy", GREEN, "--"),
        (upper, "p_auto", "p_auto: alone", BLUE, "-"),
        (lower, "alpha", "α: weight of the strategy's KL", RED, "-"),
    ):
        known = [row for row in rows if row.get(name) is not None and math.isfinite(row[name])]
        steps, values = [row["step"] for row in known], [row[name] for row in known]
        smooth = _window_means(values, SMOOTHING_STEPS)
        axes.plot(steps, values, color=color, lw=0.8, alpha=0.35)
        axes.plot(steps, smooth, color=color, ls=line, lw=2.4, label=label if steps else None)
        axes.set_ylim(0, max([1, *values]))
    upper.legend(loc="lower right", ncols=2)
    lower.legend(loc="upper right")
    upper.set(ylabel="share of right answers", title="The strategy's help and its weight")
    lower.set(ylabel="weight (no unit)", xlabel="training step")
    return figure


@_own_style
def gain_by_difficulty(
    base: dict[str, float], after: dict[str, dict[str, float]], outside: set[str] = frozenset()
) -> Figure:
    """What each method made of each family of problems (share of right answers), the one that the
    base student solves least on top; hollow: sure and wrong, outside the averages."""
    order = sorted(base, key=lambda name: (name in outside, base[name], name))
    places = {name: i + (name in outside) for i, name in enumerate(order)}
    rows = max(places.values()) + 1
    figure = Figure((8, 1.6 + max(0.27, 0.07 * len(after)) * rows))
    axes = figure.add_subplot(xlim=(0, 1), ylim=(rows - 0.4, -0.6), title="Gain by family")
    for i, (method, color, marker) in enumerate(_looks(["base", *after])):
        shares = after[method] if i else base
        look = {"color": color, "marker": marker, "ms": 6 if i else 5, "mew": 1.5, "ls": ""}
        shift = 0.6 * ((i - 0.5) / len(after) - 0.5) if i else 0
        for name in [name for name in order if name in shares]:
            height, fill = places[name] + shift, "white" if name in outside else color
            axes.plot((base[name], shares[name]), (height, height), color=color, lw=1.6)
            axes.plot(shares[name], height, **look, mfc=fill, clip_on=False, zorder=3 + (not i))
        axes.plot([], [], **look, label=method if i else "base student")
    if rows > len(order):  # a row is left empty before the families outside
        axes.plot([], [], "o", color=GREY, mfc="white", mew=1.5, label="hollow: sure and wrong")
        note = {"ha": "center", "va": "center", "color": GREY, "backgroundcolor": "white"}
        gap = min(set(range(rows)) - set(places.values()))
        axes.text(0.5, gap, "sure and wrong: outside the averages", style="italic", **note)
    axes.set_yticks(list(places.values()), order)
    axes.set(xlabel="share of right answers, unguided", ylabel="family, hardest for base first")
    figure.legend(loc="outside lower center", ncols=6, handletextpad=0.2)
    return figure


@_own_style
def token_kl_strip(tokens: list[str], kl: list[float], delta: float | None = None) -> Figure:
    """Where the strategy moves the student's next token: the KL, in nats, at each token of one
    guided solution, its stop token included; framed: those above δ, which the loss leaves out."""
    cells, line, column = [], 0, 0  # a cell: (line, first column, width, text)
    for token in tokens:
        text = _END.sub("‖end‖", token).replace("\n", "⏎").strip() or "␣"
        width = max(len(text), 4) + 1  # room for the value below it
        if column and column + width > TOKENS_WIDTH:
            line, column = line + 1, 0
        cells.append((line, column, width, text))
        line, column = (line + 1, 0) if "\n" in token else (line, column + width)
    lines, longest = cells[-1][0] + 1, max(30, *(cell[1] + cell[2] for cell in cells))
    size = 9.2 * TOKENS_WIDTH / max(longest, 60)
    figure = Figure((8, 1.3 + 0.042 * size * lines))
    axes = figure.add_subplot(xlim=(0, longest), ylim=(lines, 0))
    shades = matplotlib.cm.ScalarMappable(cmap="Blues")
    shades.set_clim(0, max(*kl, delta or 0, 0.1))
    for (line, column, width, text), value in zip(cells, kl, strict=True):
        look = {"fc": shades.to_rgba(value), "ec": FAINT, "lw": 0.6, "gid": "token"}
        if delta is not None and value > delta:
            look |= {"ec": RED, "lw": 2.4, "zorder": 3, "gid": "framed"}
        axes.add_patch(Rectangle((column + 0.1, line + 0.08), width - 0.2, 0.84, **look))
        color = "white" if shades.norm(value) > 0.65 else INK
        look = {"ha": "center", "va": "center", "zorder": 4, "color": color}
        middle = column + width / 2
        axes.text(middle, line + 0.37, text, size=size, family="DejaVu Sans Mono", **look)
        axes.text(middle, line + 0.73, f"{max(value, 0):.2f}", size=0.68 * size, **look)
    axes.set_axis_off()
    axes.set_title("KL(guided ‖ unguided) at each token of one solution")
    bar = figure.colorbar(shades, ax=axes, fraction=0.03, pad=0.02, aspect=12, label="KL (nats)")
    if delta is not None:
        bar.ax.axhline(delta, color=RED, lw=2.4)
        look = {"ls": "", "marker": "s", "mfc": "white", "mec": RED, "mew": 2.4, "ms": 10}
        axes.plot([], [], **look, label=f"KL above δ = {delta:g}: left out of the loss")
        figure.legend(loc="outside lower left")
    return figure


@_own_style
def seed_differences(differences: dict[str, list[float]], first="GRPO", second="SGPO") -> Figure:
    """How much more often the second method is right than the first, in percentage points: the mean
    of the paired differences (diamond), its 95 % t interval over seeds (bar), each seed (dots)."""
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


@_own_style
def plan_confusion(
    counts: dict[str, dict[str, int]], own: dict[str, str], title: str = "Plans by family"
) -> Figure:
    """Which plan the solutions of each family follow (share of the row): counts[family][plan];
    framed: the family's own plan; last: plans of no family, and solutions without a plan."""
    families = sorted(counts, key=lambda name: (len(own[name]), own[name], name))
    plans = list(dict.fromkeys(own[name] for name in families))
    others = {plan for row in counts.values() for plan in row} - set(plans)
    plans += sorted(others, key=lambda plan: (plan.isalpha(), plan))  # words behind signs
    shares = [
        [counts[family].get(plan, 0) / sum(counts[family].values()) for plan in plans]
        for family in families
    ]
    figure = Figure((8, 2.8 + 0.26 * len(families)))
    axes = figure.add_subplot()
    axes.grid(False)
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1, aspect="auto")
    for y, family in enumerate(families):
        for x in range(len(plans)):
            if shares[y][x] >= 0.005:
                color = "white" if shares[y][x] > 0.65 else INK
                text = f"{100 * shares[y][x]:.0f}"
                axes.text(x, y, text, ha="center", va="center", size=7.5, color=color)
        place = (plans.index(own[family]) - 0.5, y - 0.5)
        axes.add_patch(Rectangle(place, 1, 1, fill=False, ec=RED, lw=1.6, gid="own"))
    axes.set_xticks(range(len(plans)), plans, rotation=90)
    axes.set_yticks(range(len(families)), families)
    axes.set(
        xlabel="plan read from the solution (percent of the family's)",
        ylabel="family (framed: its own plan)",
    )
    axes.set_title(title)
    return figure


@_own_style
def cost_growth(
    costs: dict[str, dict[str, list[tuple[int, list[float]]]]], label: str = "seconds"
) -> Figure:
    """How the cost of a step grows with one size at a time, a panel each: rollout and update by
    size, the median over repetitions (line) and their range (bar), both axes logarithmic; dotted:
    growth in proportion. costs[size][part]: pairs of a value and its measurements."""
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
        values = sorted({value for points in panel.values() for value, _ in points})
        axes.set_xticks(values, [_short(value) for value in values])
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


@_own_style
def method_picture() -> Figure:
    """SGPO in one picture: one student answers alone and with the strategy's help; the loss rewards
    its own right answers and moves the strategy's effect into the student without it."""
    figure = Figure((8, 4), layout="none")
    axes = figure.add_axes((0, 0, 1, 1), xlim=(0, 80), ylim=(0, 40))
    axes.set_axis_off()
    for x, y, width, height, color, title, text, note in (
        (1, 16, 9, 8, GREY, "problem", "q", ""),
        (13.5, 26, 11, 8, BLUE, "prompt", "q", ""),
        (13.5, 6, 11, 8, GREEN, "prompt", "q + strategy s", "s: steps in words,\nno number"),
        (28, 6, 10, 28, GREY, "student", "same weights\nfor both", ""),
        (42, 26, 13, 8, BLUE, "8 solutions", "autonomous", ""),
        (42, 6, 13, 8, GREEN, "4 solutions", "guided", "kept: the right one\nlikeliest without s"),
        (42, 16.5, 13, 7, RED, "weight α(q)", "does s help?", ""),
        (58.5, 26, 12, 8, BLUE, "GRPO loss", "right or wrong?", ""),
        (58.5, 6, 12, 8, GREEN, "α(q) · KL", "forward, clipped", "token by token,\ntarget: guided"),
        (68.5, 16, 11, 8, GREY, "one update", "of the student", ""),
    ):  # fmt: skip
        look = {"ec": color, "fc": (color, 0.1), "lw": 1.6}
        axes.add_patch(FancyBboxPatch((x, y), width, height, "round,pad=0,rounding_size=1", **look))
        x, middle = x + width / 2, y + height / 2
        axes.text(x, middle + 0.3, title, ha="center", va="bottom", weight="bold")
        axes.text(x, middle - 0.3, text, ha="center", va="top", size=8.5)
        axes.text(x, y - 1, note, ha="center", va="top", size=8, color=GREY)
    for color, *points in (
        (BLUE, (5.5, 24), (5.5, 30), (13.5, 30)), (GREEN, (5.5, 16), (5.5, 10), (13.5, 10)),
        (BLUE, (24.5, 30), (28, 30)), (GREEN, (24.5, 10), (28, 10)), (BLUE, (38, 30), (42, 30)),
        (GREEN, (38, 10), (42, 10)), (BLUE, (55, 30), (58.5, 30)), (GREEN, (55, 10), (58.5, 10)),
        (RED, (48.5, 26), (48.5, 23.5)), (RED, (48.5, 14), (48.5, 16.5)),
        (RED, (55, 20), (62, 20), (62, 14)), (BLUE, (70.5, 30), (73, 30), (73, 24)),
        (GREEN, (70.5, 10), (74, 10), (74, 16)), (GREY, (76, 24), (76, 38), (33, 38), (33, 34)),
    ):  # fmt: skip
        look = {"arrowstyle": "-|>", "mutation_scale": 12, "color": color, "lw": 1.6}
        axes.add_patch(FancyArrowPatch(path=matplotlib.path.Path(points), **look))
    return figure
