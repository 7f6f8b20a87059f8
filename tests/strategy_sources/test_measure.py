"""Whether strategies help: the two controls, and what the shipped student makes of all of them."""

import random
import re

import pytest
import torch
from small_world import STRATEGY, even_reward, pretrained_student, problem
from small_world import problems as small_problems

from sgpo_mini.mini_gsm.pretraining import MAX_NEW_TOKENS
from sgpo_mini.mini_gsm.world import SPLITS, make_problems
from sgpo_mini.problems import Problem
from sgpo_mini.strategies import leaks
from sgpo_mini.strategy_sources.measure import contentless, measure_strategies, shuffled
from sgpo_mini.student import load_student
from sgpo_mini.study.runs import SURE_AND_WRONG

torch.set_num_threads(1)


@pytest.fixture(scope="module")
def tiny():
    return load_student("tiny", device="cpu")


@pytest.mark.parametrize("split", SPLITS)
def test_shuffled_strategies_are_other_families_and_never_the_own(split):
    asked = make_problems(split)[::7]
    by_strategy: dict[str, set[str]] = {}
    for told in asked:
        by_strategy.setdefault(told.strategy, set()).add(told.family)
    given = shuffled(asked, seed=1)
    for before, after in zip(asked, given, strict=True):
        assert after.strategy != before.strategy
        assert by_strategy[after.strategy] - {before.family}
        assert (after.id, after.question) == (before.id, before.question)
    assert given == shuffled(asked, seed=1) != shuffled(asked, seed=2)


def test_where_families_are_unknown_another_problems_different_strategy_is_given():
    asked = [Problem(str(i), "q", "1", strategy="ab"[i % 2]) for i in range(30)]
    assert [p.strategy for p in shuffled(asked)] == ["ba"[i % 2] for i in range(30)]
    rare = [Problem(str(i), "q", "1", strategy="a" if i else "b") for i in range(300)]
    assert [p.strategy for p in shuffled(rare)][1:] == ["b"] * 299


def test_without_another_strategy_there_is_no_control():
    alike = [Problem(str(i), "q", "1", strategy="a") for i in range(3)]
    family = [Problem(str(i), "q", "1", strategy=str(i), family="f") for i in range(3)]
    for asked in (alike, family):
        with pytest.raises(ValueError, match="no other family .* '0', so there is no control"):
            shuffled(asked)


def test_the_contentless_text_has_the_form_and_nothing_else():
    text = (
        "Problem type: rate and total\nApproach: find the amount, then scale it\nSteps:\n- Add it"
    )
    assert contentless(text) == (
        "Problem type: the problem step\nApproach: the problem step by step and the\n"
        "Steps:\n- the problem"
    )
    assert contentless("Choose an even one.\n* so") == "the problem step by step\n* the"
    assert contentless("") == ""


def test_the_contentless_text_is_as_long_to_the_tiny_student_which_knows_all_of_it(tiny):
    texts = {problem.strategy for split in SPLITS for problem in make_problems(split)}
    for text in texts:
        told = contentless(text)
        assert len(tiny.prompt_ids("", told)) == len(tiny.prompt_ids("", text))
        assert tiny.decode(tiny.prompt_ids("", told)).count("problem step") == len(
            re.findall("problem step", told)
        ) + tiny.decode(tiny.prompt_ids("")).count("problem step")
        assert leaks(told, Problem("a", "q", "1")) == []


def test_the_true_strategies_help_the_shipped_student_clearly_and_the_controls_do_not(tiny):
    """4 samples of 80 problems; "sure and wrong" families are outside, as everywhere."""
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
