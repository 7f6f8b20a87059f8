"""plots: what each figure shows of its data, that equal data gives an equal file, and that
nothing outside the figure is touched."""

import math
import os
import random
import subprocess
import sys

import matplotlib
import pytest
from matplotlib.colors import to_hex, to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch

from sgpo_mini import plots
from sgpo_mini.plots import comparison as comparison_plots
from sgpo_mini.plots import looks
from sgpo_mini.plots.looks import LOOKS, looks_of
from sgpo_mini.study.rows import BASELINE
from sgpo_mini.study.rows import ROWS as ROWS_OF_COMPARISON
from sgpo_mini.support.intervals import confidence_interval

CURVES = {"GRPO": [(0, 0.4), (20, 0.6), (10, 0.5)], "SGPO": [(0, 0.4), (10, 0.6), (20, 0.75)]}
ROWS = [
    {"step": step, "p_auto": 0.3 + step / 100, "p_guide": 0.9, "alpha": 0.8 - step / 100}
    for step in range(1, 31)
]
BASE = {"easy": 1.0, "hard": 0.2, "middle": 0.1, "sure": 0.0}
AFTER = {
    "GRPO": {"easy": 0.95, "hard": 0.1, "middle": 0.6, "sure": 0.0},
    "SGPO": {"easy": 1.0, "hard": 0.5, "middle": 0.8, "sure": 0.1},
}
TOKENS = ["16", "-", "10", "=", "6", "\n", "####", " 6", "<|end|>"]
KL = [0.1, 2.5, 1.0, 0.0, 1.01, 0.0, 0.4, 0.0, -1e-8]
WITH, ALONE = [0.9, 1.0, 1.0, 0.2, 1.0, 1.0, 1.0, 1.0, 1.0], [0.9, 0.5, 1.0, 0.6, *[1.0] * 5]
DIFFERENCES = {"student 0, test": [0.05, 0.06, 0.08], "student 1, test": [0.02]}

BANDS = {
    "GRPO": [[(2, 0.4), (1, 0.2), (3, 0.9)], [(1, 0.4), (2, 0.6)]],
    "one seed": [[(1, 0.5), (2, 0.7)]],
}
KINDS = ("true", "wrong", "idle", "out", "twice", "none")
PLANS = {
    "test": {
        "base": dict(zip(KINDS, (0.2, 0.5, 0.0, 0.3, 0.0, 0.0), strict=True)),
        "sgpo": dict(zip(KINDS, (0.96, 0.0, 0.04, 0.0, 0.0, 0.0), strict=True)),
    },
    "unseen": {"base": dict(zip(KINDS, (0.0, 0.0, 0.0, 0.0, 0.25, 0.75), strict=True))},
}
LEVELS = {
    "grpo": {"test": [80.0, 90.0], "longer": [50.0, 52.0]},
    "sgpo": {"test": [95.0, 96.0], "longer": [99.0, 61.0]},
}
STAND = ({"test": 18.0, "longer": 9.0}, {"test": 3.8, "longer": 1.2}, {"test": 99.4})
NINE = [name for name, row in ROWS_OF_COMPARISON.items() if row.group == "baseline"]
OUTPUTS = [
    ("6 + 2 = 8\n#### 8", True, "right"),
    ("It is eight.", True, "in words"),
    ("8? No.\n#### 9 \\frac{1}{$", False, "another one is stated"),
]
PAYS = {"is it correct": [True, False, False], "gold anywhere": [1, 0, 1]}

GRID = [i / 4 for i in range(5)]
SHIFT = (["<|end|>", " * ", "\n"], [0.98, 0.02, 0.0], [0.3, 0.3, 0.4])
FITS = ([0.5, 0.0, 0.0, 0.5], [0.2, 0.3, 0.3, 0.2], [0.9, 0.1, 0.0, 0.0])
RATES = {"none": [0.0, 0.5, 0.5, 1.0], "own": [1.0, 1.0, 1.0, 0.5], "wrong": [0.0] * 4}
GROUPS = {  # rewards and advantages of a group
    "never": ([0, 0, 0, 0], [0.0, 0.0, 0.0, 0.0]),
    "always": ([1, 1, 1, 1], [0.0, 0.0, 0.0, 0.0]),
    "a long name of a problem": ([0, 1, 0, 0], [-0.5, 1.5, -0.5, -0.5]),
    "half": ([1, 0, 0, 1], [0.87, -0.87, -0.87, 0.87]),
}
SHARES = [(0.0, 0.0), (1.0, 0.0), (0.2, 0.6), (0.5, 0.9)]
FOREST = {
    "baselines": {"better": [5.0, 6.0, 7.0], "worse": [-9.0, -8.0, -7.0]},
    "controls": {"undecided": [-20.0, 0.0, 17.0]},
}

COSTS = {
    "problems": {"rollout": [(4, [0.4, 0.2, 0.3]), (2, [0.1])], "update": [(2, [0.2]), (4, [0.9])]},
    "rollouts": {"rollout": [(6, [0.1]), (12, [0.2])], "update": [(6, [0.2]), (12, [0.4])]},
    "tokens": {"rollout": [(8, [0.1]), (64, [0.8])], "update": [(8, [0.2]), (64, [1.2])]},
    "vocabulary": {"rollout": [(500, [0.1]), (150_000, [9.0])], "update": [(500, [0.2])]},
}

FIELDS = ("p_auto", "p_guide", "alpha", "alpha_applied", "kl", "masked_by_delta", "entropy",
          "completion_tokens", "groups_without_signal", "gradient_norm")  # fmt: skip


def log_of(slope, steps=30, **others):
    """A run's log in which every field grows by `slope` a step."""
    rows = [{"step": step, **dict.fromkeys(FIELDS, slope * step)} for step in range(1, steps + 1)]
    return [row | others for row in rows]


DYNAMICS = {  # the second method has no strategies: its log has zeros and no p_guide
    "sgpo": [log_of(0.01), log_of(0.02, 25)],
    "grpo": [log_of(0.005, p_guide=None, alpha=0.0, alpha_applied=0.0, kl=0.0, masked_by_delta=0)],
}

PROMPTS = [("alone", "test"), ("alone", "unseen"), ("with its strategy", "test")]
SHARES_OF_SPLITS = {"base": dict(zip(PROMPTS, (30.0, 25.6, 97.1), strict=True))}
SHARES_OF_SPLITS |= {"chance": dict(zip(PROMPTS[:2], (33.5, 27.1), strict=True))}
GAINS = {
    "methods": {"a long name of a method": {c: [50.0, 52.0, 54.0] for c in PROMPTS}},
    "controls": {
        "up and down": {c: [-9.0, 1.0, 8.0] for c in PROMPTS},
        "worse": dict(zip(PROMPTS, ([-3.0, -3.0], [-98.0, -99.0], [0.0, 0.0]), strict=True)),
    },
}
TOWN = (
    (2, -1),
    [((0, 0), (1, 0))],
    {
        "before": [
            ([(0, 0), (1, 0), (2, 0), (2, -1)], False),
            ([(0, 0), (0, -1), (1, -1), (2, -1)], True),
        ],
        "after": [([(0, 0), (0, -1), (1, -1), (2, -1)], True)] * 2,
    },
    {"Oak": [(0, 0), (1, 0), (2, 0)], "Ash": [(2, 0), (2, -1)]},
)
SUCCESSES = (
    {
        "often": {"GRPO": [[0.4, 0.8], [0.6, 1.0]], "SGPO": [[0.5, 0.9]]},
        "rarely": {"GRPO": [[0.0, 0.2]], "SGPO": [[0.1, 0.7]]},
    },
    {
        "often": {"base": [0.5], "GRPO": [0.8, 0.9], "SGPO": [0.9]},
        "rarely": {"base": [0.1], "GRPO": [0.3], "SGPO": [0.8]},
    },
)

DRAWINGS = {
    "training_dynamics": lambda: plots.training_dynamics(DYNAMICS),
    "training_dynamics of one run": lambda: plots.training_dynamics({"sgpo": [log_of(0.01)]}),
    "transfer_gains": lambda: plots.transfer_gains(SHARES_OF_SPLITS, GAINS),
    "cost_growth": lambda: plots.cost_growth(COSTS),
    "next_token_shift": lambda: plots.next_token_shift(*SHIFT),
    "two_fits": lambda: plots.two_fits(*FITS),
    "bands_by_step": lambda: comparison_plots.bands_by_step(BANDS, "entropy"),
    "bands_by_step of nine": lambda: comparison_plots.bands_by_step(
        {name: BANDS["GRPO"] for name in NINE}, "entropy"
    ),
    "plan_shares": lambda: comparison_plots.plan_shares(PLANS),
    "transfer_levels": lambda: plots.transfer_levels(LEVELS, *STAND),
    "gain_table": lambda: comparison_plots.gain_table(BASE, {name: AFTER["SGPO"] for name in NINE}),
    "accuracy_by_step": lambda: plots.accuracy_by_step(CURVES),
    "weights_by_step": lambda: plots.weights_by_step(ROWS),
    "gain_by_group": lambda: plots.gain_by_group(BASE, AFTER),
    "gain_by_group of nine": lambda: plots.gain_by_group(
        BASE, {name: AFTER["SGPO"] for name in NINE}
    ),
    "token_kl_strip": lambda: plots.token_kl_strip(TOKENS, KL, 1.0),
    "token_probability_strip": lambda: plots.token_probability_strip(TOKENS, WITH, ALONE),
    "seed_differences": lambda: plots.seed_differences(DIFFERENCES),
    "reward_verdicts": lambda: plots.reward_verdicts(OUTPUTS, PAYS),
    "groups_with_signal": lambda: plots.groups_with_signal(GROUPS, SHARES, 4, 16),
    "pass_rate_by_prompt": lambda: plots.pass_rate_by_prompt(RATES),
    "forest": lambda: plots.forest(FOREST, {"worse": -2.5}, "sgpo"),
    "walks_in_town": lambda: plots.walks_in_town(*TOWN),
    "success_by_student": lambda: plots.success_by_student(*SUCCESSES),
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
def test_labels_and_caption(name):
    figure = DRAWINGS[name]()
    place = comparison_plots if hasattr(comparison_plots, name.split()[0]) else plots
    assert getattr(place, name.split()[0]).__doc__.split(".")[0]
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


def test_walks_in_town_draws_each_block_as_often_as_it_is_walked_and_names_the_streets():
    before, after = plots.walks_in_town(*TOWN).axes
    assert [axes.get_title(loc="left") for axes in (before, after)] == ["before", "after"]
    walked = [
        [line for line in axes.lines if line.get_gid() == "walked"] for axes in (before, after)
    ]
    assert [len(lines) for lines in walked] == [6, 3]
    assert walked[1][0].get_linewidth() > walked[0][0].get_linewidth()
    assert {to_hex(line.get_color()) for line in walked[0]} == {"#0072b2", "#d55e00"}
    (closed,) = [line for line in before.lines if line.get_gid() == "closed"]
    assert (list(closed.get_xdata()), list(closed.get_ydata())) == ([0.5], [0])
    places = {text.get_text(): text.get_position() for text in before.texts}
    assert places == {"Oak": (1, 0.5), "Ash": (2.5, -0.5)}  # outside of start and goal
    assert not plots.walks_in_town(*TOWN[:3]).axes[0].texts


def test_success_by_student_has_a_panel_a_student_with_mean_curves_and_the_exam():
    often, rarely = plots.success_by_student(*SUCCESSES).axes
    assert [axes.get_title(loc="left") for axes in (often, rarely)] == ["often", "rarely"]

    def of(axes, kind):
        return [list(line.get_ydata()) for line in axes.lines if line.get_gid() == kind]

    grpo, sgpo = of(often, "mean")
    assert grpo == pytest.approx([0.5, 0.7]) and sgpo == pytest.approx([0.5, 0.7])  # of 10 steps
    assert of(often, "exam") == [[pytest.approx(0.85)], [0.9]] and of(often, "before") == [[0.5]]
    assert of(rarely, "exam") == [[0.3], [0.8]] and of(rarely, "before") == [[0.1]]
    one = {"often": SUCCESSES[0]["often"]}
    assert len(plots.success_by_student(one, SUCCESSES[1]).axes) == 1


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


def test_every_row_of_the_comparison_has_a_look_of_its_own_and_keeps_it():
    assert set(ROWS_OF_COMPARISON) | {"base"} == set(LOOKS)
    assert len(set(LOOKS.values())) == len(LOOKS)
    for names in (["HPT", "sgpo", "mine"], ["SGPO", "yours", "hpt"]):
        looks = {name.lower(): look for name, look in looks_of(names).items()}
        assert (looks["sgpo"], looks["hpt"]) == (LOOKS["sgpo"], LOOKS["hpt"])


@pytest.mark.parametrize("group", ["baseline", "ablation", "control"])
def test_in_one_figure_only_variants_of_one_method_share_a_colour(group):
    names = [name for name, row in ROWS_OF_COMPARISON.items() if row.group == group]
    names = dict.fromkeys([BASELINE, "sgpo", *names])
    assert len({(LOOKS[name].color, LOOKS[name].line) for name in names}) == len(names)
    solid = [LOOKS[name].color for name in names if LOOKS[name].line == "-"]
    assert len(set(solid)) == len(solid)
    for name in names:
        variant = name.endswith("own-form") or name.startswith(("grpo-", "long-", "easy-", "hard-"))
        assert (LOOKS[name].line == "-") != variant


def test_no_colour_is_lost_on_white():
    for look in LOOKS.values():
        linear = [
            value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4
            for value in to_rgb(look.color)
        ]
        luminance = sum(w * v for w, v in zip((0.2126, 0.7152, 0.0722), linear, strict=True))
        assert 1.05 / (luminance + 0.05) > 2, look  # contrast; the yellow has 1.3


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


def test_dynamics_have_four_panels_and_a_band_only_over_seeds():
    figure = plots.training_dynamics(DYNAMICS, smooth=2)
    panels = {axes.get_title(loc="left"): axes for axes in figure.axes}
    assert len(panels) == 4 and all(axes.get_ylabel() for axes in figure.axes)
    right, weight, entropy = (panels[n] for n in ("Right answers", "Weight α", "Entropy"))
    guided = [line for line in right.lines if line.get_linestyle() == "--"]
    assert len(guided) == 1 and len(guided[0].get_xdata()) == 25, "where all seeds have the step"
    assert len(weight.lines) == 2, "a method without strategies has no weight, not a weight of 0"
    assert {line.get_color() for line in weight.lines} == {LOOKS["sgpo"].color}
    mean, grpo, faint = entropy.lines
    assert list(mean.get_ydata()[:2]) == pytest.approx([0.015, 0.0225])
    low, high = confidence_interval([0.015, 0.03], over="seeds")
    (band,) = entropy.collections
    edges = [y for x, y in band.get_paths()[0].vertices if x == 2]
    assert max(edges) == pytest.approx(high) and low < 0 and min(edges) == 0
    assert list(grpo.get_ydata()[:2]) == pytest.approx([0.005, 0.0075])
    assert list(faint.get_ydata()) == [row["entropy"] for row in DYNAMICS["grpo"][0]]
    assert faint.get_alpha() < 1 and mean.get_marker() != grpo.get_marker()
    assert legend_texts(figure) == ["sgpo", "grpo"]
    assert legend_texts(right) == ["alone", "with strategy"]


def test_dynamics_leave_out_what_is_missing_or_not_finite():
    rows = log_of(0.01)
    rows[3]["entropy"], rows[4]["kl"] = math.nan, None
    del rows[5]["alpha"]
    panels = plots.training_dynamics({"sgpo": [rows]}).axes
    counts = {axes.get_title(loc="left"): len(axes.lines[0].get_xdata()) for axes in panels}
    assert [counts.pop(n) for n in ("Entropy", "KL at the targets")] == [29, 29]
    assert counts.pop("Weight α") == 29 and set(counts.values()) == {30}


def test_gain_orders_groups_by_the_base_student():
    figure = plots.gain_by_group(BASE, AFTER, "verb")
    (axes,) = figure.axes
    order = ["sure", "middle", "hard", "easy"]
    assert [label.get_text() for label in axes.get_yticklabels()] == order
    assert axes.get_xlim() == (0, 1) and axes.get_ylabel().startswith("verb")
    markers = [m for m in axes.lines if m.get_linestyle() == "None" and len(m.get_xdata()) == 1]
    assert len(markers) == 4 * 3
    assert legend_texts(figure) == ["base student", "GRPO", "SGPO"]
    starts = [line.get_xdata()[0] for line in axes.lines if len(line.get_xdata()) == 2]
    assert sorted(starts) == sorted(3 * [1.0, 0.2, 0.1, 0.0]), "each from the base's own answers"


def test_levels_stand_between_chance_and_ceiling():
    figure = plots.transfer_levels(LEVELS, *STAND)
    (axes,) = figure.axes
    assert [label.get_text() for label in axes.get_yticklabels()] == ["test", "longer"]
    upright = sorted(
        float(line.get_xdata()[0])
        for line in axes.lines
        if len(line.get_xdata()) == 2 and line.get_xdata()[0] == line.get_xdata()[1]
    )
    assert upright == [1.2, 3.8, 99.4], "no ceiling where none was measured"
    level = [line for line in axes.lines if len(line.get_xdata()) == 2]
    bars = [line.get_xdata() for line in level if line.get_ydata()[0] == line.get_ydata()[1]]
    assert len(bars) == 4 and all(0 <= low < high <= 100 for low, high in bars)
    means = {float(m.get_xdata()[0]) for m in axes.lines if len(m.get_xdata()) == 1}
    assert {85.0, 51.0, 95.5, 80.0, 18.0, 9.0} == means
    told = ["grpo", "sgpo", "before training", "chance", "ceiling"]
    assert legend_texts(figure) == told


def test_strip_frames_the_tokens_above_delta():
    figure = plots.token_kl_strip(TOKENS, KL, 1.0)
    axes, bar = figure.axes
    assert texts(axes)[::2] == ["16", "-", "10", "=", "6", "⏎", "####", "6", "‖end‖"]
    assert texts(axes)[1::2] == [f"{abs(value):.2f}" for value in KL]
    framed = [cell.get_gid() == "framed" for cell in axes.patches]
    assert framed == [value > 1.0 for value in KL]
    edges = {to_hex(cell.get_edgecolor()) for cell in axes.patches if cell.get_gid() == "framed"}
    assert edges == {looks.RED.lower()}
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


def test_probabilities_stand_in_two_boxes_below_each_token_dark_where_unlikely():
    figure = plots.token_probability_strip(TOKENS, WITH, ALONE)
    axes, bar = figure.axes
    shown = texts(axes)
    assert shown[:27:3] == ["16", "-", "10", "=", "6", "⏎", "####", "6", "‖end‖"]
    assert shown[1:27:3] == [f"{p:.2f}" for p in WITH]
    assert shown[2:27:3] == [f"{p:.2f}" for p in ALONE]
    assert shown[27:] == ["with strategy", "alone"] * 2  # of both lines
    boxes = axes.patches
    assert [int(box.get_y()) for box in boxes] == [0] * 12 + [1] * 6
    assert all(a.get_y() < b.get_y() for a, b in zip(boxes[::2], boxes[1::2], strict=True))
    darkness = [sum(box.get_facecolor()[:3]) for box in boxes]
    assert darkness[6] < darkness[3] < darkness[7] < darkness[0] == darkness[1] < darkness[2]
    assert axes.get_title(loc="left").endswith("probability 0.18 and 0.27")
    assert bar.get_xlabel().startswith("probability") and bar.get_xlim() == (0, 1)
    with pytest.raises(ValueError):
        plots.token_probability_strip(TOKENS, WITH, ALONE[:-1])


def test_probabilities_of_a_long_text_wrap_in_reading_order(tmp_path):
    tokens, generator = ["word"] * 200, random.Random(0)
    values = [generator.random() for _ in tokens]
    figure = plots.token_probability_strip(tokens, values, values[::-1])
    boxes = figure.axes[0].patches
    assert max(box.get_x() + box.get_width() for box in boxes) <= plots.TOKENS_WIDTH
    places = [(int(box.get_y()), box.get_x(), box.get_y()) for box in boxes]
    assert places == sorted(places) and len(set(places)) == 400
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
    (axes,) = comparison_plots.bands_by_step(BANDS, "entropy (nats)").axes
    grpo, single = axes.lines
    assert list(grpo.get_xdata()) == [1, 2] and list(grpo.get_ydata()) == pytest.approx([0.3, 0.5])
    assert list(single.get_ydata()) == [0.5, 0.7]
    (band,) = axes.collections  # one seed has none
    low, high = confidence_interval([0.2, 0.4], over="seeds")
    edges = band.get_paths()[0].vertices
    assert low < 0, "a t interval doesn't know that entropy can't be below 0; the band does"
    assert {round(y, 6) for x, y in edges if x == 1} >= {0, round(high, 6)}
    (axes,) = comparison_plots.bands_by_step(BANDS, "share", largest=1.0).axes
    heights = axes.collections[0].get_paths()[0].vertices[:, 1]
    assert heights.min() == 0 and heights.max() == 1
    rising = {"a": [[(1, 0.0), (2, 1.0), (3, 2.0)]]}
    (axes,) = comparison_plots.bands_by_step(rising, "x", smooth=2).axes
    assert list(axes.lines[0].get_ydata()) == [0.0, 0.5, 1.5]


def test_the_bars_of_plans_add_up_and_small_shares_have_no_number():
    figure = comparison_plots.plan_shares(PLANS)
    (axes,) = figure.axes
    rows = [label.get_text() for label in axes.get_yticklabels()]
    assert rows == ["test: base", "test: sgpo", "unseen: base"]
    widths = {kind: [b.get_width() for b in axes.patches if b.get_gid() == kind] for kind in KINDS}
    assert widths["true"] == [20, 96, 0] and widths["none"] == [0, 0, 75]
    assert [sum(values) for values in zip(*widths.values(), strict=True)] == [100, 100, 100]
    assert texts(axes) == ["20", "50", "30", "96", "25", "75"]
    assert legend_texts(figure) == list(KINDS)


def test_verdicts_frame_the_wrong_ones_and_count_them_both_ways():
    (axes,) = plots.reward_verdicts(OUTPUTS, PAYS, "Who?").axes
    cells = [patch for patch in axes.patches if patch.get_gid() in ("verdict", "framed")]
    assert len(cells) == 9
    framed = [
        (round(patch.get_x() + 0.42), round(patch.get_y() + 0.4))
        for patch in cells
        if patch.get_gid() == "framed"
    ]
    assert framed == [(1, 1), (2, 1), (2, 2)]  # (column, row); column 0 is what should be paid
    filled = [to_hex(patch.get_facecolor()) != "#ffffff" for patch in cells]
    assert filled == [True, True, False, True, False, False, True, False, True]
    shown = texts(axes)
    assert shown[:3] == ["1", "1", "0"] and shown[-3:] == [why for *_, why in OUTPUTS]
    assert shown[6:8] == ["0", "1"] and shown[11:13] == ["1", "1"]  # paid wrongly, refused wrongly
    labels = [label.get_text() for label in axes.get_yticklabels()]
    assert labels[0] == "6 + 2 = 8⏎#### 8" and len(labels) == 5
    columns = [label.get_text() for label in axes.get_xticklabels()]
    assert columns == ["should", "is\nit\ncorrect", "gold\nanywhere"]
    assert axes.get_title(loc="left") == "Who?"


def test_the_table_of_gains_has_the_bases_share_and_differences_to_it():
    (axes,) = comparison_plots.gain_table(BASE, AFTER).axes
    order = ["sure", "middle", "hard", "easy"]
    assert [label.get_text() for label in axes.get_yticklabels()] == order
    columns = [label.get_text() for label in axes.get_xticklabels()]
    assert columns == ["base student", "GRPO", "SGPO"]
    told = iter(texts(axes))
    assert [[next(told) for _ in columns] for _ in order] == [
        ["0", "0", "+10"],
        ["10", "+50", "+70"],
        ["20", "−10", "+30"],
        ["100", "−5", "0"],
    ]


def test_ten_methods_that_nobody_knows_look_different():
    assert len(set(looks_of(f"method {number}" for number in range(10)).values())) == 10


def test_the_shift_has_a_pair_of_bars_a_token_that_differ_without_colour():
    figure = plots.next_token_shift(*SHIFT)
    (axes,) = figure.axes
    guided, alone = axes.containers
    assert [bar.get_height() for bar in guided] == SHIFT[1]
    assert [bar.get_height() for bar in alone] == SHIFT[2]
    assert {bar.get_hatch() for bar in guided} == {"//"}
    assert {bar.get_hatch() for bar in alone} == {None}
    assert [label.get_text() for label in axes.get_xticklabels()] == ["‖end‖", "*", "⏎"]
    assert texts(axes) == ["0.98", "0.02", "0.00", "0.30", "0.30", "0.40"]
    assert legend_texts(figure) == ["with strategy", "alone"]
    with pytest.raises(ValueError):
        plots.next_token_shift(SHIFT[0], SHIFT[1][:-1], SHIFT[2])


def test_both_fits_stand_before_the_same_target():
    panels = plots.two_fits(*FITS).axes
    for axes, fit in zip(panels, FITS[1:], strict=True):
        assert [bar.get_height() for bar in axes.patches] == FITS[0]
        (line,) = axes.lines
        assert list(line.get_xdata()) == [0, 1, 2, 3] and list(line.get_ydata()) == fit
        assert sorted(legend_texts(axes)) == ["fit", "target"]
    assert panels[0].get_ylim() == panels[1].get_ylim() and panels[0].get_ylim()[1] > 0.9
    assert len({axes.lines[0].get_marker() for axes in panels}) == 2
    assert [axes.get_title(loc="left").split()[0] for axes in panels] == ["forward", "reverse"]


def test_groups_without_a_signal_are_grey_and_the_rest_show_their_advantages():
    figure = plots.groups_with_signal(GROUPS, SHARES, 4, 16)
    left, right = figure.axes
    order = [label.get_text() for label in left.get_yticklabels()]
    assert order == ["always", "half", "a long name of a problem", "never"]
    assert texts(left)[:-1] == ["0", "+0.87  −0.87", "+1.50  −0.50", "0"]
    marks = {
        (line.get_marker(), to_hex(line.get_color()), int(x), int(y))
        for line in left.lines
        for x, y in zip(line.get_xdata(), line.get_ydata(), strict=True)
    }
    assert {mark[2:] for mark in marks} == {(x, y) for x in range(1, 5) for y in range(4)}
    for kind, color, x, y in marks:
        rewards, advantages = GROUPS[order[y]]
        assert kind == ("o" if rewards[x - 1] else "x")
        full = looks.BLUE if rewards[x - 1] else looks.RED
        assert color == (full if any(advantages) else looks.GREY).lower()
    grey = [patch.get_y() + 0.5 for patch in left.patches if patch.get_gid() == "lost"]
    assert grey == [0, 3]
    theory, points = right.lines
    assert list(zip(points.get_xdata(), points.get_ydata(), strict=True)) == SHARES
    for p, share in zip(theory.get_xdata(), theory.get_ydata(), strict=True):
        assert share == pytest.approx(1 - p**4 - (1 - p) ** 4)
    (band,) = right.collections
    middle = {round(y, 6) for x, y in band.get_paths()[0].vertices if x == 0.5}
    spread = 1.96 * math.sqrt(0.875 * 0.125 / 16)
    assert {round(0.875 - spread, 6), 1.0} <= middle  # no share is above 1
    assert "theory: 1 − p⁴ − (1 − p)⁴" in legend_texts(figure)


def test_many_groups_and_large_ones_fit(tmp_path):
    groups = {f"problem {i}": ([1] + [0] * 15, [3.75] + [-0.25] * 15) for i in range(40)}
    figure = plots.groups_with_signal(groups, SHARES, 16, 4)
    plots.save(figure, tmp_path / "figure.png")
    assert "theory: 1 − p¹⁶ − (1 − p)¹⁶" in legend_texts(figure)


def test_each_prompt_has_its_mean_interval_and_problems():
    figure = plots.pass_rate_by_prompt(RATES)
    (axes,) = figure.axes
    assert [label.get_text() for label in axes.get_yticklabels()] == list(RATES)
    assert texts(axes) == ["0.50", "0.88", "0.00"]
    lines = {line.get_gid(): list(line.get_xdata()) for line in axes.lines if line.get_gid()}
    for bubbles, (name, values) in zip(axes.collections, RATES.items(), strict=True):
        assert lines[f"mean of {name}"] == [sum(values) / 4]
        assert lines[f"interval of {name}"] == list(confidence_interval(values))
        levels = [x for x, _ in bubbles.get_offsets()]
        assert levels == sorted(set(values))
        counts = [values.count(level) for level in levels]
        assert [size / 225 for size in bubbles.get_sizes()] == counts
    marks = {
        line.get_marker() for line in axes.lines if line.get_gid() and len(line.get_xdata()) == 1
    }
    assert len(marks) == 3
    (compared,) = [line for line in axes.lines if line.get_linestyle() == "--"]
    assert list(compared.get_xdata()) == [0.5, 0.5]


def test_the_surface_has_its_cap_its_zero_and_the_problems_counted(tmp_path):
    weights = [[min(0.8, max(0.0, 1 + y - 2 * x)) for x in GRID] for y in GRID]
    points = {"fair": [(0.5, 1.0), (0.5, 1.0), (0.0, 0.25)], "sure": [(0.0, 1.0), (0.5, 1.0)]}
    figure = plots.weight_surface(weights, points, 0.8)
    axes, bar = figure.axes
    marks = [line for line in axes.lines if line.get_gid() == "problems"]
    places = {(m.get_xdata()[0], round(m.get_ydata()[0], 6)): m for m in marks}
    assert set(places) == {(0.5, 1.0), (0.0, 0.25), (0.0, 1.0), (0.5, 0.91)}, "one below another"
    assert places[0.5, 1.0].get_markersize() > places[0.0, 0.25].get_markersize()
    assert len({mark.get_marker() for mark in marks}) == 2
    assert "2" in texts(axes), "two problems at one place"
    assert legend_texts(figure) == [
        "α = 0.8 left of it",
        "α = 0 right of it",
        "fair (3)",
        "sure (2)",
    ]
    assert bar.get_ylabel() == "α (no unit)" and bar.get_ylim() == pytest.approx((0, 0.8), abs=1e-5)
    assert "p_auto" in axes.get_xlabel() and "p_guide" in axes.get_ylabel()
    plots.save(figure, tmp_path / "figure.png")


def test_the_sweep_of_delta_keeps_all_at_its_end_and_marks_the_deltas(tmp_path):
    values = {"fair": [0.0, -1e-7, 0.5, 1.5], "sure": [0.2, 6.0]}
    figure = plots.kept_by_delta(values, [1.0, 4.0])
    (axes,) = figure.axes
    fair, sure, *marks = axes.lines
    for line, half in ((fair, 0.25), (sure, 0.2 / 6.2)):  # kept by δ = 1
        kept = dict(zip(line.get_xdata(), line.get_ydata(), strict=True))
        assert kept[max(delta for delta in kept if delta <= 1)] == pytest.approx(half)
        assert list(kept.values()) == sorted(kept.values()) and kept[max(kept)] == pytest.approx(1)
    assert [line.get_xdata()[0] for line in marks] == [1.0, 4.0]
    assert fair.get_linestyle() != sure.get_linestyle()
    assert legend_texts(figure) == ["fair", "sure"] and "δ = 4" in texts(axes)
    assert axes.get_xscale() == "log" and "nats" in axes.get_xlabel()
    plots.save(plots.kept_by_delta({"one": [0.0]}, []), tmp_path / "figure.png")


def test_gains_by_split_are_coloured_only_where_the_interval_leaves_out_0():
    (axes,) = plots.transfer_gains(SHARES_OF_SPLITS, GAINS, largest=50).axes
    rows = [label.get_text() for label in axes.get_yticklabels()]
    assert rows == ["base", "chance", "a long name of a method", "up and down", "worse"]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["test", "unseen", "test"]
    (image,) = axes.images
    assert image.get_array().tolist() == [
        [0, 0, 0],
        [0, 0, 0],
        [52, 52, 52],
        [0, 0, 0],
        [-3, -98.5, 0],
    ]
    assert image.get_clim() == (-50, 50) and image.get_cmap().name == "RdBu"
    told = iter(texts(axes))
    assert [next(told) for _ in range(6)] == ["30 %", "26 %", "97 %", "34 %", "27 %", "—"]
    low, high = confidence_interval([50.0, 52.0, 54.0], over="seeds")
    assert [next(told) for _ in range(2)] == ["+52.0", f"+{low:.0f} to +{high:.0f}"]
    assert {"0.0", "−3.0", "−98.5", "alone", "with its strategy"} <= set(texts(axes))
    blocks = [line.get_ydata()[0] for line in axes.lines if set(line.get_xdata()) == {0, 1}]
    assert blocks == [1.5, 2.5]


def test_forest_has_each_interval_its_verdict_and_the_papers_number():
    words, axes = plots.forest(FOREST, {"worse": -2.5}, "sgpo").axes
    marks = {line.get_gid(): line for line in axes.lines if line.get_gid()}
    height = {gid: line.get_ydata()[0] for gid, line in marks.items()}
    assert height["mean worse"] < height["mean better"] < height["mean undecided"]  # downwards
    for rows in FOREST.values():
        for name, values in rows.items():
            ends = confidence_interval(values, over="seeds")
            assert list(marks[f"interval {name}"].get_xdata()) == pytest.approx(ends)
            assert list(marks[f"mean {name}"].get_xdata()) == [sum(values) / 3]
            grey = ends[0] <= 0 <= ends[1]
            assert marks[f"mean {name}"].get_color() == (looks.GREY if grey else looks.BLUE)
            assert marks[f"mean {name}"].get_marker() == ("s" if grey else "o")
    assert [gid for gid in marks if gid.startswith("paper")] == ["paper worse"]
    assert list(marks["paper worse"].get_xdata()) == [-2.5]
    assert height["paper worse"] == height["mean worse"]
    assert texts(words)[:7] == ["baselines", "worse", "−8.0", "−2.5", "better", "+6.0", "—"]
