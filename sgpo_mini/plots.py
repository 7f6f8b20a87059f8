"""The figures: one function a figure, each from plain data to a matplotlib Figure.

They leave matplotlib's global state alone, need no display, and suit colour-blind readers.
"""

import math
import re
from statistics import median

import matplotlib
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch, Rectangle
from matplotlib.ticker import LogLocator

from .evaluation import confidence_interval
from .looks import BLUE, FAINT, GREEN, GREY, INK, ORANGE, RED, looks_of

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
own_style = matplotlib.rc_context(_STYLE)


@own_style
def save(figure: Figure, path, dpi: float = 100) -> None:
    """Write a PNG without version or time, so that equal data gives an equal file."""
    figure.savefig(path, format="png", dpi=dpi, facecolor="white", metadata={"Software": None})


@own_style
def accuracy_by_step(curves: dict[str, list[tuple[int, float]]]) -> Figure:
    """How the share of right answers to validation problems grows with training, by method; the
    legend has the methods and their last values in the order in which the lines end."""
    figure = Figure((8, 4))
    axes = figure.add_subplot(xmargin=0, ylim=(0, 1), xlabel="training step")
    looks = looks_of(curves)
    for method in sorted(curves, key=lambda name: -max(curves[name])[1]):
        steps, shares = zip(*sorted(curves[method]), strict=True)
        color, marker, line = looks[method]
        style = {"color": color, "marker": marker, "ls": line, "lw": 2, "ms": 6, "clip_on": False}
        axes.plot(steps, shares, **style, label=f"{method}  {shares[-1]:.2f}")
    axes.set(xlim=(0, None), ylabel="share of right answers", title="Validation accuracy by step")
    axes.legend(loc="center left", bbox_to_anchor=(1, 0.5))
    return figure


def window_means(values: list[float], size: int) -> list[float]:
    """Each value's mean with those before it, `size` in all."""
    windows = [values[max(0, i - size) : i] for i in range(1, len(values) + 1)]
    return [sum(window) / len(window) for window in windows]


@own_style
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
        smooth = window_means(values, SMOOTHING_STEPS)
        axes.plot(steps, values, color=color, lw=0.8, alpha=0.35)
        axes.plot(steps, smooth, color=color, ls=line, lw=2.4, label=label if steps else None)
        axes.set_ylim(0, max([1, *values]))
    upper.legend(loc="lower right", ncols=2)
    lower.legend(loc="upper right")
    upper.set(ylabel="share of right answers", title="The strategy's help and its weight")
    lower.set(ylabel="weight (no unit)", xlabel="training step")
    return figure


@own_style
def gain_by_difficulty(
    difficulty: dict[str, float],
    base: dict[str, float],
    after: dict[str, dict[str, float]],
    outside: set[str] = frozenset(),
) -> Figure:
    """What each method made of each family of problems: from the base student's share of right
    answers to its own, both to the same problems. The family of least `difficulty` (how often the
    base student solves it, measured apart) is on top; hollow: sure and wrong, outside averages."""
    order = sorted(base, key=lambda name: (name in outside, difficulty[name], name))
    places = {name: i + (name in outside) for i, name in enumerate(order)}
    rows = max(places.values()) + 1
    figure = Figure((8, 1.6 + max(0.27, 0.07 * len(after)) * rows))
    axes = figure.add_subplot(xlim=(0, 1), ylim=(rows - 0.4, -0.6), title="Gain by family")
    looks = looks_of(["base", *after])
    for i, (method, (color, marker, _)) in enumerate(looks.items()):
        shares = after[method] if i else base
        look = {"color": color, "marker": marker, "ms": 6 if i else 5, "mew": 1.5, "ls": ""}
        shift = 0.8 * ((i - 0.5) / len(after) - 0.5) if i else 0
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
    figure.legend(loc="outside lower center", ncols=4, handletextpad=0.2)
    return figure


@own_style
def token_kl_strip(tokens: list[str], kl: list[float], delta: float | None = None) -> Figure:
    """Where the strategy moves the student's next token: the KL, in nats, at each token of one
    guided solution, its stop token included; framed: those above δ, which the loss leaves out."""
    cells = _token_cells(tokens)
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


def _token_cells(tokens: list[str]) -> list[tuple[int, int, int, str]]:
    """Where each token of a text stands: (line, first column, width, text), in characters."""
    cells, line, column = [], 0, 0
    for token in tokens:
        text = _END.sub("‖end‖", token).replace("\n", "⏎").strip() or "␣"
        width = max(len(text), 4) + 1  # room for the value below it
        if column and column + width > TOKENS_WIDTH:
            line, column = line + 1, 0
        cells.append((line, column, width, text))
        line, column = (line + 1, 0) if "\n" in token else (line, column + width)
    return cells


@own_style
def token_probability_strip(tokens: list[str], guided: list[float], alone: list[float]) -> Figure:
    """How likely the student finds each token of one solution, its stop token included: with the
    strategy in its prompt (upper box) and alone (lower box), dark where it expected another token;
    in the title their products, the probabilities of the whole."""
    cells = _token_cells(tokens)
    lines, longest = cells[-1][0] + 1, max(30, *(cell[1] + cell[2] for cell in cells))
    size = 9.2 * TOKENS_WIDTH / max(longest + 11, 60)
    figure = Figure((8, 1.6 + 0.054 * size * lines))
    axes = figure.add_subplot(xlim=(-11, longest), ylim=(lines, 0))
    shades = matplotlib.cm.ScalarMappable(cmap="Blues_r")
    shades.set_clim(0, 1)
    middle = {"ha": "center", "va": "center"}
    for (line, column, width, text), *values in zip(cells, guided, alone, strict=True):
        x = column + width / 2
        axes.text(x, line + 0.2, text, size=size, family="DejaVu Sans Mono", **middle)
        for y, value in zip((line + 0.37, line + 0.65), values, strict=True):
            look = {"fc": shades.to_rgba(value), "ec": FAINT, "lw": 0.6, "gid": "token"}
            axes.add_patch(Rectangle((column + 0.1, y), width - 0.2, 0.27, **look))
            color = "white" if value < 0.45 else INK
            axes.text(x, y + 0.135, f"{value:.2f}", size=0.72 * size, color=color, **middle)
    for line in range(lines):
        for y, name in ((line + 0.505, "with strategy"), (line + 0.785, "alone")):
            axes.text(-0.5, y, name, ha="right", va="center", size=0.72 * size, color=GREY)
    axes.set_axis_off()
    whole = " and ".join(f"{math.prod(values):.2g}" for values in (guided, alone))
    axes.set_title(f"One solution, read with the strategy and alone: probability {whole}")
    look = {"location": "bottom", "fraction": 0.05, "pad": 0.03, "aspect": 40}
    figure.colorbar(shades, ax=axes, **look, label="probability of the token (no unit)")
    return figure


@own_style
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


@own_style
def reward_verdicts(
    outputs: list[tuple[str, bool, str]], pays: dict[str, list[bool]], title: str = "Who is paid?"
) -> Figure:
    """Which outputs each reward pays (1) and which not (0). An output is (text, whether it should
    be paid, why), pays[reward] has a truth value for each; framed: the reward is wrong; below: how
    often, in both directions."""
    names, rows = ["should", *pays], len(outputs)
    should = [bool(due) for _, due, _ in outputs]
    figure = Figure((8, 1.5 + 0.3 * (rows + 2)))
    axes = figure.add_subplot(xlim=(-0.5, len(names) - 0.5), ylim=(rows + 2.1, -0.5))
    axes.grid(False)
    axes.spines[:].set_visible(False)
    for x, verdicts in enumerate([should, *pays.values()]):
        for y, (paid, due) in enumerate(zip(verdicts, should, strict=True)):
            color = (BLUE if x else GREY) if paid else "white"
            look = {"fc": color, "ec": FAINT, "lw": 0.8, "gid": "verdict"}
            if bool(paid) != due:
                look |= {"ec": RED, "lw": 2.4, "zorder": 3, "gid": "framed"}
            axes.add_patch(Rectangle((x - 0.42, y - 0.4), 0.84, 0.8, **look))
            look = {"ha": "center", "va": "center", "zorder": 4, "color": "white" if paid else INK}
            axes.text(x, y, f"{bool(paid):d}", size=9, **look)
        for y, wrong in ((rows, True), (rows + 1, False)):
            if x:
                pairs = [(bool(paid), due) for paid, due in zip(verdicts, should, strict=True)]
                count = pairs.count((wrong, not wrong))
                look = {"weight": "bold", "color": RED if count else GREY}
                axes.text(x, y + 0.35, f"{count}", ha="center", va="center", size=9.5, **look)
    texts = [text.replace("\n", "⏎") for text, _, _ in outputs]
    texts += ["paid and should not be", "not paid and should be"]
    axes.set_yticks([*range(rows), rows + 0.35, rows + 1.35], texts)
    for label in axes.get_yticklabels()[:rows]:
        label.set(family="DejaVu Sans Mono", size=7.6)
    for y, (_, _, why) in enumerate(outputs):
        look = {"transform": axes.get_yaxis_transform(), "va": "center", "color": GREY}
        axes.text(1.02, y, why, size=8, **look)
    axes.set_xticks(range(len(names)), [name.replace(" ", "\n") for name in names], size=8.5)
    axes.tick_params(axis="x", length=0, labeltop=True, labelbottom=False)
    axes.xaxis.set_label_position("top")
    axes.set_xlabel("what should be paid, and what each reward pays")
    axes.axhline(rows - 0.2, color=GREY, lw=0.8)
    axes.set_title(title)
    return figure


@own_style
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


@own_style
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


@own_style
def next_token_shift(tokens: list[str], guided: list[float], alone: list[float]) -> Figure:
    """What a strategy does to the next token: the probability of each, by the same student with the
    strategy in its prompt (hatched) and without it."""
    figure = Figure((8, 3.3))
    axes = figure.add_subplot(ylim=(0, 1.1), xlabel="next token", ylabel="probability")
    axes.grid(False, axis="x")
    for shift, shares, look in (
        (-0.2, guided, {"fc": (GREEN, 0.25), "ec": GREEN, "hatch": "//", "label": "with strategy"}),
        (0.2, alone, {"fc": BLUE, "ec": BLUE, "label": "alone"}),
    ):
        places = [place + shift for place in range(len(tokens))]
        axes.bar(places, shares, 0.36, lw=1.2, **look)
        for place, share in zip(places, shares, strict=True):
            axes.text(place, share + 0.02, f"{share:.2f}", ha="center", size=9)
    shown = [_END.sub("‖end‖", token).replace("\n", "⏎").strip() or "␣" for token in tokens]
    axes.set_xticks(range(len(tokens)), shown, family="DejaVu Sans Mono", size=12)
    axes.set_title("One student, two prompts: the next token")
    figure.legend(loc="outside lower center", ncols=2)
    return figure


@own_style
def two_fits(target: list[float], forward: list[float], reverse: list[float]) -> Figure:
    """A target with two peaks (grey) and what fitting a single hump to it gives by each direction
    of the KL: probabilities of the tokens 0, 1, 2, …"""
    figure = Figure((8, 3.5))
    top = 1.08 * max(*target, *forward, *reverse)
    panels = figure.subplots(1, 2, sharey=True, subplot_kw={"ylim": (0, top)})
    for axes, fit, title, color, marker in (
        (panels[0], forward, "forward KL: covers both", BLUE, "o"),
        (panels[1], reverse, "reverse KL: seeks a peak", RED, "D"),
    ):
        axes.bar(range(len(target)), target, 0.9, color="#bbbbbb", label="target")
        axes.plot(range(len(fit)), fit, color=color, marker=marker, ms=4, lw=1.8, label="fit")
        axes.set(xlabel="token", title=title)
        axes.legend(loc="upper right")
    panels[0].set_ylabel("probability")
    return figure


@own_style
def groups_with_signal(
    groups: dict[str, tuple[list[float], list[float]]],
    shares: list[tuple[float, float]],
    group_size: int,
    count: int,
) -> Figure:
    """Which groups teach (left: rewards and advantages of each group; grey: all equal, no signal)
    and how often one does at a pass rate p (right: theory, and (p, share of groups with a signal)
    of single problems, `count` groups each; 95 % of the points should lie in the band)."""
    order = sorted(groups, key=lambda name: (-sum(groups[name][0]), list(groups).index(name)))
    figure = Figure((8, 1.6 + 0.23 * max(len(groups), 15)))
    left, right = figure.subplots(1, 2, width_ratios=(5, 4))
    for row, name in enumerate(order):
        rewards, advantages = groups[name]
        lost = not any(advantages)
        if lost:
            left.axhspan(row - 0.5, row + 0.5, color=FAINT, alpha=0.5, lw=0, zorder=0, gid="lost")
        for kind, look in (
            (1, {"marker": "o", "color": GREY if lost else BLUE}),
            (0, {"marker": "x", "color": GREY if lost else RED, "mew": 2}),
        ):
            places = [i + 1 for i, reward in enumerate(rewards) if (reward > 0) == kind]
            left.plot(places, [row] * len(places), ls="", ms=7 if kind else 6, **look)
        text = "0" if lost else f"{max(advantages):+.2f}  {min(advantages):+.2f}"
        left.text(group_size + 0.9, row, text.replace("-", "−"), va="center", size=9)
    left.set(xlim=(0.4, group_size + 4.2), ylim=(len(order) - 0.5, -1.6), xlabel="tries of a group")
    left.text(group_size + 0.9, -1, "advantages", va="center", size=9, color=GREY)
    left.set_xticks(range(1, group_size + 1))
    left.set_yticks(range(len(order)), order)
    left.grid(False)
    left.set_title("Which groups teach")
    p = [i / 200 for i in range(201)]
    theory = [1 - x**group_size - (1 - x) ** group_size for x in p]
    spread = [1.96 * math.sqrt(max(y * (1 - y), 0) / count) for y in theory]
    band = [
        [min(max(y + s * b, 0), 1) for y, b in zip(theory, spread, strict=True)] for s in (-1, 1)
    ]
    right.fill_between(p, *band, color=BLUE, alpha=0.15, lw=0, label="95 % of the points")
    power = str(group_size).translate(str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹"))
    right.plot(p, theory, color=BLUE, lw=2, label=f"theory: 1 − p{power} − (1 − p){power}")
    look = {"ls": "", "marker": "D", "ms": 7, "color": ORANGE, "mec": INK, "clip_on": False}
    right.plot(*zip(*shares, strict=True), **look, zorder=3, label=f"a problem, {count} groups")
    right.set(xlim=(0, 1), ylim=(0, 1), xlabel="pass rate p (share of right tries)")
    right.set(ylabel="share of groups with a signal", title="How often one teaches")
    right.set_box_aspect(1)
    right.set_anchor("N")
    for look in (("o", BLUE, "right"), ("x", RED, "wrong"), ("s", FAINT, "all equal, no signal")):
        left.plot([], [], ls="", marker=look[0], color=look[1], mew=2, label=look[2])
    figure.legend(
        handles=[*left.get_legend_handles_labels()[0], *right.get_legend_handles_labels()[0]],
        loc="lower right",
        bbox_to_anchor=(0.98, 0.05),
    )
    return figure


@own_style
def pass_rate_by_prompt(rates: dict[str, list[float]]) -> Figure:
    """How often a student is right with each prompt: mean over problems with its 95 % interval
    (big mark), and the single problems (bubbles: the larger, the more problems have this rate).
    The first prompt is the one that the others are compared with (broken line)."""
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
    axes.set(xlabel="share of right tries at a problem", title="Right with each prompt")
    return figure


@own_style
def weight_surface(
    weights: list[list[float]], points: dict[str, list[tuple[float, float]]], cap: float
) -> Figure:
    """The weight α over both pass rates: weights[i][j] at p_guide = i / (rows - 1) and p_auto =
    j / (columns - 1), with lines of equal weight; points: (p_auto, p_guide) of real problems by
    kind, a larger mark for several at one place, with their number; a second kind stands a little
    lower, so as not to hide the first."""
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
    """How many tokens of the targets have which KL, in nats, stacked by kind of target, both axes
    logarithmic (a KL below 0.001 is counted at the left end); each δ: what lies right of its line
    is left out of the loss."""
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


@own_style
def forest(
    differences: dict[str, dict[str, list[float]]], paper: dict[str, float], reference: str
) -> Figure:
    """How far each row ends above or below the reference: differences[block][row], one value a seed
    in percentage points; mean with 95 % t interval (blue where it leaves out 0, grey where not),
    and the paper's number (open diamond) where there is one. Each block from worst to best."""
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
                look = {"marker": "D", "ms": 7, "mfc": "white", "mec": RED, "mew": 1.6}
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
    axes.plot([], [], ls="", marker="D", mfc="white", mec=RED, mew=1.6, label="the paper's number")
    figure.legend(loc="outside lower center", ncols=3)
    return figure
