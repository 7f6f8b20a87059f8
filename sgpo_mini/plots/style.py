"""The style of every figure, independent of what the caller has set for other plots."""

import matplotlib
from matplotlib.figure import Figure

from .looks import FAINT, GREY, INK

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
    """Write a PNG without version and time, so that equal data gives an equal file."""
    figure.savefig(path, format="png", dpi=dpi, facecolor="white", metadata={"Software": None})
