"""How a method is drawn: one colour, marker and line style per name, the same in every figure.

The colours are those of Okabe and Ito, which colour-blind readers can tell apart, without yellow,
which is hard to see on white, and with one of Tol's colours. Methods that share a figure (a group
of `rows.ROWS`, the baseline and SGPO) have different colours, except variants of the same method,
which have a broken line.
"""

from collections.abc import Iterable
from itertools import cycle
from typing import NamedTuple

INK, GREY, FAINT = "#222222", "#666666", "#dddddd"
BLUE, ORANGE, GREEN, RED = "#0072B2", "#E69F00", "#009E73", "#D55E00"
_SKY, _PINK, _BLACK, _WINE = "#56B4E9", "#CC79A7", "#000000", "#882255"


class Look(NamedTuple):
    """The matplotlib style of a method's lines and points."""

    color: str
    marker: str
    line: str | tuple = "-"  # a name, or matplotlib's (offset, lengths of dashes and gaps)


LOOKS = {
    "base": Look(GREY, "o"),
    "grpo": Look(ORANGE, "s"),
    "sft": Look(_BLACK, "*"),
    "sft-own-form": Look(_BLACK, "p", "--"),
    "luffy": Look(GREEN, "^"),
    "luffy-own-form": Look(GREEN, "v", "--"),
    "hpt": Look(_PINK, "P"),
    "hpt-own-form": Look(_PINK, "X", "--"),
    "sgpo": Look(BLUE, "D"),
    "sgpo-delta-1": Look(_SKY, "d"),
    "no-grpo": Look(RED, "v"),
    "no-clipping": Look(GREEN, "<"),
    "no-selection": Look(_PINK, ">"),
    "fixed-alpha": Look(_SKY, "X"),
    "no-constraints": Look(_BLACK, "8"),
    "reverse-kl": Look(GREY, "h"),
    "sft-on-target": Look(_WINE, "p"),
    "shuffled": Look(RED, "^"),
    "contentless": Look(GREY, "P"),
    "wrong-25": Look(_SKY, "<"),
    "wrong-50": Look(_WINE, ">"),
    "half": Look(GREEN, "D"),
    "grpo-8": Look(ORANGE, "o", ":"),
    "grpo-equal-time": Look(ORANGE, "P", "--"),
    "long-grpo": Look(ORANGE, "v", "-."),
    "long-sgpo": Look(BLUE, "v", "-."),
    "easy-grpo": Look(ORANGE, "*", (0, (1, 4))),
    "easy-sgpo": Look(BLUE, "*", (0, (1, 4))),
    "hard-grpo": Look(ORANGE, "X", (0, (8, 3))),
    "hard-sgpo": Look(BLUE, "X", (0, (8, 3))),
}
_OTHER_COLORS = (_SKY, RED, _WINE, GREEN, _PINK, INK, BLUE, ORANGE, GREY, _BLACK)
_OTHER_LOOKS = [Look(c, m, "-.") for c, m in zip(_OTHER_COLORS, "Xvp<>hd8P*", strict=True)]


def looks_of(names: Iterable[str]) -> dict[str, Look]:
    """The look of each name, ignoring case; unknown names get looks that no method has."""
    free = cycle(_OTHER_LOOKS)
    return {name: LOOKS.get(name.lower()) or next(free) for name in names}
