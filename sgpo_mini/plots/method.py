"""SGPO in one picture."""

import matplotlib
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch

from .looks import BLUE, GREEN, GREY, RED
from .style import own_style


@own_style
def method_picture() -> Figure:
    """SGPO in one picture: both groups of rollouts, the weight α, both losses and the update.

    One student answers without and with the strategy. GRPO learns from the autonomous rollouts, and
    the KL distills the guided student into the unguided one.
    """
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
