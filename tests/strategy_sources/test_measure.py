"""Whether strategies help: the shipped student with them, without them, and with two controls."""

import random
import re

import pytest
import torch
from small_world import STRATEGY, even_reward, pretrained_student, problem
from small_world import problems as small_problems

from sgpo_mini.evaluation import Evaluation
from sgpo_mini.mini_gsm.pretraining import MAX_NEW_TOKENS
from sgpo_mini.mini_gsm.world import make_problems
from sgpo_mini.strategy_sources.measure import StrategyMeasure, measure_strategies
from sgpo_mini.student import load_student

torch.set_num_threads(1)


@pytest.fixture(scope="module")
def tiny():
    return load_student("tiny", device="cpu")


def test_the_true_strategies_help_the_shipped_student_clearly_and_the_controls_do_not(tiny):
    """4 samples of 80 problems."""
    chosen = random.Random(0).sample(make_problems("validation"), 80)
    measured = measure_strategies(tiny, chosen, samples=4, max_new_tokens=MAX_NEW_TOKENS)
    gain, (low, _) = measured.gain("guided")
    assert gain > 0.15 and low > 0.1
    for control in ("shuffled", "contentless"):
        gain, (low, _) = measured.gain(control)
        assert gain < 0.03 and low < 0, control
    assert measured.text.endswith("80 problems, 4 samples each; the strategies help")
    assert measured.advice.startswith("SGPO has something to teach here: p_guide is 0.")


def test_the_table_has_what_was_measured():
    asked = small_problems(6)
    asked[1] = problem(1, STRATEGY.replace("two", "it"))
    settings = {"samples": 8, "max_new_tokens": 16, "reward": even_reward}
    measured = measure_strategies(pretrained_student(), asked, **settings)
    assert measured.unguided.guided is False
    assert measured.guided.guided and measured.shuffled.guided and measured.contentless.guided
    lines = measured.text.splitlines()
    for line, name in zip(
        lines[2:6], ("unguided", "guided", "shuffled", "contentless"), strict=True
    ):
        assert f"{getattr(measured, name).accuracy:.3f} (" in line
    gain, (low, high) = measured.gain("guided")
    assert f"| {gain:+.3f} ({low:+.3f} to {high:+.3f}) |" in lines[3] and low <= gain <= high
    assert measure_strategies(pretrained_student(), asked, **settings) == measured


def made_up(*right: float) -> StrategyMeasure:
    """60 problems, 4 samples each, with these shares of problems that are solved every time."""
    asked = tuple(small_problems(60))

    def evaluation(share: float, guided: bool) -> Evaluation:
        correct = tuple((i < 60 * share,) * 4 for i in range(60))
        texts, cut = (("",) * 4,) * 60, ((False,) * 4,) * 60
        return Evaluation(asked, texts, correct, cut, guided)

    return StrategyMeasure(*(evaluation(share, i > 0) for i, share in enumerate(right)))


@pytest.mark.parametrize(
    ("right", "told"),
    [
        (
            (0.2, 0.8, 0.1, 0.1),
            r"something to teach here: p_guide is 0.600 above .* to \+0.\d+\)\.$",
        ),
        ((0.1, 0.3, 0.1, 0.1), "something to .* 70% of the groups of 4 .* none is .* lower temper"),
        ((0.2, 0.8, 0.8, 0.1), "may have little .* but another problem's strategy is not clearly"),
        ((0.2, 0.8, 0.1, 0.8), "may have little .* but a contentless strategy is not clearly"),
        ((0.95, 0.95, 0.1, 0.1), "nothing clear .* 0.000 above .* alone, so take harder ones"),
        ((0.1, 0.1, 0.1, 0.1), "nothing clear .*; warm the student up longer .* or take easier"),
        ((0.5, 0.4, 0.1, 0.1), "nothing clear .* 0.100 below p_auto .*; make better strategies"),
    ],
)
def test_the_advice_says_whether_sgpo_can_teach_something_and_what_to_do_if_not(right, told):
    advice = made_up(*right).advice
    assert re.search(told, advice), advice
    assert "\n" not in advice and advice.endswith(".")


def test_problems_without_a_strategy_are_refused():
    with pytest.raises(ValueError, match="1 of 2 problems have no strategy"):
        measure_strategies(pretrained_student(), [problem(0), problem(1, "")])
