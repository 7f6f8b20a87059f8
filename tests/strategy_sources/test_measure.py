"""Whether strategies help: the shipped student with them, without them, and with two controls."""

import random

import pytest
import torch
from small_world import STRATEGY, even_reward, pretrained_student, problem
from small_world import problems as small_problems

from sgpo_mini.mini_gsm.pretraining import MAX_NEW_TOKENS
from sgpo_mini.mini_gsm.world import make_problems
from sgpo_mini.strategy_sources.measure import measure_strategies
from sgpo_mini.student import load_student
from sgpo_mini.study.evaluations import SURE_AND_WRONG

torch.set_num_threads(1)


@pytest.fixture(scope="module")
def tiny():
    return load_student("tiny", device="cpu")


def test_the_true_strategies_help_the_shipped_student_clearly_and_the_controls_do_not(tiny):
    """4 samples of 80 problems; the "sure and wrong" families are left out, as everywhere."""
    fair = [p for p in make_problems("validation") if p.family not in SURE_AND_WRONG]
    chosen = random.Random(0).sample(fair, 80)
    measured = measure_strategies(tiny, chosen, samples=4, max_new_tokens=MAX_NEW_TOKENS)
    gain, (low, _) = measured.gain("guided")
    assert gain > 0.15 and low > 0.1
    for control in ("shuffled", "contentless"):
        gain, (low, _) = measured.gain(control)
        assert gain < 0.05 and low < 0, control
    assert measured.text.endswith("80 problems, 4 samples each; the strategies help")


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


def test_problems_without_a_strategy_are_refused():
    with pytest.raises(ValueError, match="1 of 2 problems have no strategy"):
        measure_strategies(pretrained_student(), [problem(0), problem(1, "")])
