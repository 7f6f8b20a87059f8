"""One completion token by token, and one next-token distribution."""

import math
import re

import matplotlib
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from .looks import BLUE, FAINT, GREEN, GREY, INK, RED
from .style import own_style

TOKENS_WIDTH = 84  # characters in a line of `token_kl_strip`
_END = re.compile(r"<\|(end|im_end|endoftext|eot_id|end_of_text)\|>|</s>|<eos>")


@own_style
def token_kl_strip(tokens: list[str], kl: list[float], delta: float | None = None) -> Figure:
    """How much the strategy shifts the next-token distribution, along one guided completion.

    `kl` is the KL in nats at each token, the stop token included. Framed: tokens with a KL above δ,
    which the loss leaves out.
    """
    cells = _token_cells(tokens)
    lines, longest = cells[-1][0] + 1, max(30, *(cell[1] + cell[2] for cell in cells))
    size = 9.2 * TOKENS_WIDTH / max(longest, 60)
    figure = Figure((8, 1.3 + 0.042 * size * lines))
    axes = figure.add_subplot(xlim=(-0.2, longest + 0.2), ylim=(lines, -0.05))
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
        axes.text(middle, line + 0.73, f"{max(value, 0) + 0:.2f}", size=0.68 * size, **look)
    axes.set_axis_off()
    axes.set_title("KL(guided ‖ unguided) at each token of one solution")
    bar = figure.colorbar(shades, ax=axes, fraction=0.03, pad=0.02, aspect=12, label="KL (nats)")
    if delta is not None:
        bar.ax.axhline(delta, color=RED, lw=2.4, clip_on=False)
        look = {"ls": "", "marker": "s", "mfc": "white", "mec": RED, "mew": 2.4, "ms": 10}
        axes.plot([], [], **look, label=f"KL above δ = {delta:g}: left out of the loss")
        figure.legend(loc="outside lower left")
    return figure


def _token_cells(tokens: list[str]) -> list[tuple[int, int, int, str]]:
    """The place of each token in the figure: (line, first column, width, text), in characters."""
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
    """The probability of each token of one completion, with the strategy and without it.

    Upper box: guided prompt; lower box: unguided prompt; dark: the student expected another token.
    The stop token is included. The title has the products, the probabilities of the completion.
    """
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
def next_token_shift(tokens: list[str], guided: list[float], alone: list[float]) -> Figure:
    """The next-token probabilities of one student with the strategy (hatched) and without it."""
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
    """A target with two peaks (grey) and the one-peak fits of the forward and the reverse KL.

    Each list has the probabilities of the tokens 0, 1, 2, …
    """
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
