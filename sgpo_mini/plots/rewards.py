"""Which outputs each reward accepts, and which groups have a learning signal."""

import math

from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from .looks import BLUE, FAINT, GREY, INK, ORANGE, RED
from .style import own_style


@own_style
def reward_verdicts(
    outputs: list[tuple[str, bool, str]], pays: dict[str, list[bool]], title: str = "Who is paid?"
) -> Figure:
    """Which outputs each reward accepts (1) or rejects (0).

    An output is (text, whether it should be accepted, why); pays[reward] has a truth value for each
    output. Framed: the reward is wrong; below: how often, in each direction.
    """
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
def groups_with_signal(
    groups: dict[str, tuple[list[float], list[float]]],
    shares: list[tuple[float, float]],
    group_size: int,
    count: int,
) -> Figure:
    """Which groups have a learning signal, and how often they do at a pass rate p.

    Left: rewards and advantages, groups[name]; grey: all rewards are equal, so there is no signal.
    Right: theory, and `shares`, the (p, share of groups with a signal) of single problems from
    `count` groups each; 95 % of the points should lie in the band.
    """
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
    left.set(
        xlim=(0.4, group_size + 4.2), ylim=(len(order) - 0.5, -1.6), xlabel="completions of a group"
    )
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
    right.set(xlim=(0, 1), ylim=(0, 1), xlabel="pass rate p (share that is right)")
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
