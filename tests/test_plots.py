"""plots.py: what each figure shows of its data, that equal data gives an equal file, and that
nothing outside the figure is touched."""

import math
import os
import random
import subprocess
import sys

import matplotlib
import pytest
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch

from sgpo_mini import plots
from sgpo_mini.evaluation import confidence_interval

CURVES = {"GRPO": [(0, 0.4), (20, 0.6), (10, 0.5)], "SGPO": [(0, 0.4), (10, 0.6), (20, 0.75)]}
ROWS = [
    {"step": step, "p_auto": 0.3 + step / 100, "p_guide": 0.9, "alpha": 0.8 - step / 100}
    for step in range(1, 31)
]
BASE = {"easy": 0.9, "hard": 0.05, "middle": 0.4, "sure": 0.0}
AFTER = {
    "GRPO": {"easy": 0.95, "hard": 0.1, "middle": 0.6, "sure": 0.0},
    "SGPO": {"easy": 1.0, "hard": 0.5, "middle": 0.8, "sure": 0.1},
}
TOKENS = ["16", "-", "10", "=", "6", "\n", "####", " 6", "<|end|>"]
KL = [0.1, 2.5, 1.0, 0.0, 1.01, 0.0, 0.4, 0.0, -1e-8]
DIFFERENCES = {"student 0, test": [0.05, 0.06, 0.08], "student 1, test": [0.02]}

BANDS = {
    "GRPO": [[(2, 0.4), (1, 0.2), (3, 0.9)], [(1, 0.4), (2, 0.6)]],
    "one seed": [[(1, 0.5), (2, 0.7)]],
}
COUNTS = {"find": {"+": 3, "−": 1}, "lose": {"+": 2, "another": 1, "unreadable": 1}}
OWN = {"find": "+", "lose": "−"}

COSTS = {
    "problems": {"rollout": [(4, [0.4, 0.2, 0.3]), (2, [0.1])], "update": [(2, [0.2]), (4, [0.9])]},
    "rollouts": {"rollout": [(6, [0.1]), (12, [0.2])], "update": [(6, [0.2]), (12, [0.4])]},
    "tokens": {"rollout": [(8, [0.1]), (64, [0.8])], "update": [(8, [0.2]), (64, [1.2])]},
    "vocabulary": {"rollout": [(500, [0.1]), (150_000, [9.0])], "update": [(500, [0.2])]},
}

DRAWINGS = {
    "cost_growth": lambda: plots.cost_growth(COSTS),
    "bands_by_step": lambda: plots.bands_by_step(BANDS, "entropy"),
    "plan_confusion": lambda: plots.plan_confusion(COUNTS, OWN),
    "accuracy_by_step": lambda: plots.accuracy_by_step(CURVES),
    "weights_by_step": lambda: plots.weights_by_step(ROWS),
    "gain_by_difficulty": lambda: plots.gain_by_difficulty(BASE, AFTER, {"sure"}),
    "token_kl_strip": lambda: plots.token_kl_strip(TOKENS, KL, 1.0),
    "seed_differences": lambda: plots.seed_differences(DIFFERENCES),
    "method_picture": plots.method_picture,
}


def texts(axes) -> list[str]:
    return [text.get_text() for text in axes.texts]


def legend_texts(owner) -> list[str]:
    legend = owner.get_legend() if hasattr(owner, "get_legend") else owner.legends[0]
    return [text.get_text() for text in legend.get_texts()]


@pytest.mark.parametrize("name", DRAWINGS)
def test_equal_data_gives_an_equal_file_of_github_width(name, tmp_path):
    first, second = tmp_path / "first.png", tmp_path / "second.png"
    figure = DRAWINGS[name]()
    assert isinstance(figure, Figure) and figure.get_figwidth() * figure.dpi == 800
    plots.save(figure, first)
    dark = {"xtick.color": "white", "ytick.labelsize": 20, "grid.linewidth": 3, "savefig.dpi": 30}
    with matplotlib.rc_context(dark | {"axes.facecolor": "black", "savefig.bbox": "tight"}):
        plots.save(DRAWINGS[name](), second)  # whatever the caller has set for other plots
    assert first.read_bytes() == second.read_bytes()
    assert int.from_bytes(first.read_bytes()[16:20], "big") == 800
    assert b"Software" not in first.read_bytes()


@pytest.mark.parametrize("name", DRAWINGS)
def test_every_text_lies_inside_the_picture(name, tmp_path):
    figure = DRAWINGS[name]()
    plots.save(figure, tmp_path / "figure.png")
    box = figure.get_tightbbox()  # inches
    assert box.x0 >= 0 and box.y0 >= 0
    assert box.x1 <= figure.get_figwidth() and box.y1 <= figure.get_figheight()


@pytest.mark.parametrize("name", DRAWINGS)
def test_title_labels_and_caption(name):
    figure = DRAWINGS[name]()
    assert getattr(plots, name).__doc__.split(".")[0]
    if name != "method_picture":
        assert any(axes.get_title(loc="left") for axes in figure.axes)
    if name not in ("method_picture", "token_kl_strip"):
        assert figure.axes[-1].get_xlabel()


def test_cost_growth_has_a_panel_a_size_with_the_median_the_range_and_proportion():
    figure = plots.cost_growth(COSTS)
    assert [axes.get_xlabel() for axes in figure.axes] == list(COSTS)
    axes = figure.axes[0]
    rollout, proportion, update, _ = axes.lines
    assert list(rollout.get_xdata()) == [2, 4] and list(rollout.get_ydata()) == [0.1, 0.3]
    assert list(proportion.get_ydata()) == [0.1, 0.2]
    assert list(update.get_ydata()) == [0.2, 0.9]
    bars = axes.collections[0].get_segments()
    assert [list(bar[:, 1]) for bar in bars] == [[0.1, 0.1], [0.2, 0.4]]
    assert axes.get_xscale() == axes.get_yscale() == "log"
    assert legend_texts(figure) == ["rollout", "update", "in proportion"]
    ticks = [tick.get_text() for tick in figure.axes[3].get_xticklabels()]
    assert ticks == ["500", "150k"]
    assert len(plots.cost_growth({"problems": COSTS["problems"]}).axes) == 1


def test_no_display_and_no_global_state(tmp_path):
    code = (
        "import sys, matplotlib\n"
        "before = matplotlib.rcParams.copy()\n"
        "from sgpo_mini import plots\n"
        "plots.save(plots.method_picture(), sys.argv[1])\n"
        "after = matplotlib.rcParams.copy()\n"
        "value = dict.__getitem__  # reading the backend would choose one\n"
        "assert all(value(after, key) == value(before, key) for key in after)\n"
        "assert 'matplotlib.pyplot' not in sys.modules\n"
    )
    hidden = ("DISPLAY", "WAYLAND_DISPLAY", "MPLBACKEND")
    environment = {key: value for key, value in os.environ.items() if key not in hidden}
    path = tmp_path / "figure.png"
    subprocess.run([sys.executable, "-c", code, path], env=environment, check=True, timeout=120)
    assert path.read_bytes().startswith(b"\x89PNG")


def test_accuracy_has_a_line_a_method_and_the_best_first_in_the_legend():
    (axes,) = plots.accuracy_by_step(CURVES).axes
    assert len(axes.lines) == 2
    assert axes.get_xlim() == (0, 20) and axes.get_ylim() == (0, 1)
    assert legend_texts(axes) == ["SGPO  0.75", "GRPO  0.60"]
    grpo = axes.lines[1]
    assert list(grpo.get_xdata()) == [0, 10, 20] and list(grpo.get_ydata()) == [0.4, 0.5, 0.6]


def test_a_method_keeps_its_colour_and_all_differ():
    methods = ["HPT", "sgpo", "LUFFY", "GRPO", "SFT", "SFT+GRPO", "mine"]
    looks = {method: look for method, *look in plots._looks(methods)}
    assert looks["sgpo"] == list(plots._LOOKS["sgpo"])
    assert ["SFT+GRPO", *looks["SFT+GRPO"]] == list(plots._looks(["base", "SFT+GRPO"])[1])
    assert len({color for color, _ in looks.values()}) == len(methods)
    assert len({marker for _, marker in looks.values()}) == len(methods)
    okabe_ito = "#000000 #E69F00 #56B4E9 #009E73 #F0E442 #0072B2 #D55E00 #CC79A7".split()
    assert {color for color, _ in looks.values()} < set(okabe_ito)


def test_weights_are_smoothed_over_the_last_ten_steps():
    upper, lower = plots.weights_by_step(ROWS).axes
    assert len(upper.lines) == 4 and len(lower.lines) == 2
    assert upper.get_ylim() == lower.get_ylim() == (0, 1)
    raw, smooth = (line.get_ydata() for line in lower.lines)
    assert list(raw) == [row["alpha"] for row in ROWS]
    assert smooth[0] == raw[0]
    assert smooth[4] == pytest.approx(sum(raw[:5]) / 5)
    assert smooth[-1] == pytest.approx(sum(raw[-10:]) / 10)
    assert lower.lines[0].get_alpha() < 1 and lower.lines[1].get_linewidth() > 2


def test_weights_leave_out_what_was_not_measured():
    rows = [row | {"p_guide": None, "alpha": 0.0} for row in ROWS]  # as GRPO logs them
    rows[3]["p_auto"] = math.nan
    del rows[4]["p_auto"]
    upper, lower = plots.weights_by_step(rows).axes
    assert [len(line.get_xdata()) for line in upper.lines] == [0, 0, 28, 28]
    assert len(legend_texts(upper)) == 1
    assert set(lower.lines[1].get_ydata()) == {0.0}


def test_gain_orders_families_and_marks_those_outside():
    figure = plots.gain_by_difficulty(BASE, AFTER, {"sure"})
    (axes,) = figure.axes
    assert [label.get_text() for label in axes.get_yticklabels()] == [
        "hard", "middle", "easy", "sure",
    ]  # fmt: skip
    assert list(axes.get_yticks()) == [0, 1, 2, 4]  # a free row before those outside
    assert axes.get_xlim() == (0, 1)
    markers = [m for m in axes.lines if m.get_linestyle() == "None" and len(m.get_xdata()) == 1]
    assert len(markers) == 4 * 3
    hollow = [m for m in markers if to_hex(m.get_markerfacecolor()) == "#ffffff"]
    assert sorted(float(m.get_xdata()[0]) for m in hollow) == [0.0, 0.0, 0.1]
    assert legend_texts(figure) == ["base student", "GRPO", "SGPO", "hollow: sure and wrong"]
    assert texts(axes) == ["sure and wrong: outside the averages"]


def test_gain_without_families_outside_and_with_one_not_measured():
    after = {"SGPO": {"easy": 1.0}}
    figure = plots.gain_by_difficulty(BASE, after)
    (axes,) = figure.axes
    assert list(axes.get_yticks()) == [0, 1, 2, 3] and not axes.texts
    assert legend_texts(figure) == ["base student", "SGPO"]
    markers = [m for m in axes.lines if m.get_linestyle() == "None" and len(m.get_xdata()) == 1]
    assert len(markers) == 4 + 1


def test_strip_frames_the_tokens_above_delta():
    figure = plots.token_kl_strip(TOKENS, KL, 1.0)
    axes, bar = figure.axes
    assert texts(axes)[::2] == ["16", "-", "10", "=", "6", "⏎", "####", "6", "‖end‖"]
    assert texts(axes)[1::2] == [f"{abs(value):.2f}" for value in KL]
    framed = [cell.get_gid() == "framed" for cell in axes.patches]
    assert framed == [value > 1.0 for value in KL]
    edges = {to_hex(cell.get_edgecolor()) for cell in axes.patches if cell.get_gid() == "framed"}
    assert edges == {plots.RED.lower()}
    assert bar.get_ylabel() == "KL (nats)" and bar.get_ylim() == (0, 2.5)
    assert [int(cell.get_y()) for cell in axes.patches] == [0] * 6 + [1] * 3
    assert legend_texts(figure) == ["KL above δ = 1: left out of the loss"]
    darkness = [sum(cell.get_facecolor()[:3]) for cell in axes.patches]
    assert darkness[1] < darkness[4] < darkness[0] < darkness[3]


def test_strip_without_delta_frames_nothing():
    figure = plots.token_kl_strip(TOKENS, KL, None)
    assert {cell.get_gid() for cell in figure.axes[0].patches} == {"token"}
    assert not figure.legends
    plots.token_kl_strip(["7"], [0.0])
    with pytest.raises(ValueError):
        plots.token_kl_strip(TOKENS, KL[:-1], 1.0)


def test_strip_wraps_long_lines_and_shows_dollars_as_they_are(tmp_path):
    generator = random.Random(0)
    tokens = [generator.choice(["$", " $x_1$", "\\frac", " eggs", "\n\n", " "]) for _ in range(256)]
    figure = plots.token_kl_strip(tokens, [generator.random() for _ in tokens], 0.5)
    cells = figure.axes[0].patches
    assert max(cell.get_x() + cell.get_width() for cell in cells) <= plots.TOKENS_WIDTH
    places = [(int(cell.get_y()), cell.get_x()) for cell in cells]
    assert places == sorted(places) and len(set(places)) == 256  # in reading order
    assert {"$", "$x_1$", "⏎⏎", "␣"} < set(texts(figure.axes[0]))
    plots.save(figure, tmp_path / "figure.png")


def test_seed_differences_are_in_points_with_a_t_interval():
    (axes,) = plots.seed_differences(DIFFERENCES).axes
    points = [5, 6, 8]
    low, high = confidence_interval(points, over="seeds")
    zero, bar, seeds, mean, seeds_1, mean_1 = axes.lines
    assert list(zero.get_xdata()) == [0, 0]
    assert list(bar.get_xdata()) == pytest.approx([low, high])
    assert list(seeds.get_xdata()) == pytest.approx(points)
    assert mean.get_xdata()[0] == pytest.approx(19 / 3)
    assert list(seeds_1.get_xdata()) == list(mean_1.get_xdata()) == [2.0]  # one seed, no interval
    assert texts(axes) == [f"+6.3 ({low:+.1f} to {high:+.1f})", "+2.0 (one seed)"]
    assert [label.get_text() for label in axes.get_yticklabels()] == list(DIFFERENCES)
    assert "SGPO − GRPO" in axes.get_title(loc="left")
    assert "percentage points" in axes.get_xlabel()


def test_the_picture_has_every_part_of_the_method():
    (axes,) = plots.method_picture().axes
    boxes = [patch for patch in axes.patches if isinstance(patch, FancyBboxPatch)]
    arrows = [patch for patch in axes.patches if isinstance(patch, FancyArrowPatch)]
    assert (len(boxes), len(arrows)) == (10, 14)
    shown = " ".join(texts(axes))
    for part in ("problem", "strategy", "student", "8", "4", "GRPO", "KL", "α(q)", "update"):
        assert part in shown


def test_bands_are_means_and_t_intervals_over_seeds_where_all_have_the_step():
    (axes,) = plots.bands_by_step(BANDS, "entropy (nats)").axes
    grpo, single = axes.lines
    assert list(grpo.get_xdata()) == [1, 2] and list(grpo.get_ydata()) == pytest.approx([0.3, 0.5])
    assert list(single.get_ydata()) == [0.5, 0.7]
    (band,) = axes.collections  # one seed has none
    low, high = confidence_interval([0.2, 0.4], over="seeds")
    edges = band.get_paths()[0].vertices
    assert {round(y, 6) for x, y in edges if x == 1} >= {round(low, 6), round(high, 6)}
    (axes,) = plots.bands_by_step({"a": [[(1, 0.0), (2, 1.0), (3, 2.0)]]}, "x", smooth=2).axes
    assert list(axes.lines[0].get_ydata()) == [0.0, 0.5, 1.5]


def test_the_confusion_shows_shares_of_rows_and_frames_the_familys_own_plan():
    axes = plots.plan_confusion(COUNTS, OWN).axes[0]
    columns = [label.get_text() for label in axes.get_xticklabels()]
    assert columns == ["+", "−", "another", "unreadable"]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["find", "lose"]
    (image,) = axes.images
    assert image.get_array().tolist() == [[0.75, 0.25, 0, 0], [0.5, 0, 0.25, 0.25]]
    frames = [patch.get_xy() for patch in axes.patches if patch.get_gid() == "own"]
    assert frames == [(-0.5, -0.5), (0.5, 0.5)]


def test_ten_methods_look_different():
    looks = plots._looks([f"method {number}" for number in range(10)])
    assert len({look[1:] for look in looks}) == 10
