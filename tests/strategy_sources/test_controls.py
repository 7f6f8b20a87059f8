"""The controls: strategies of other families, and texts of equal length that say nothing."""

import re
from dataclasses import replace

import pytest
from small_world import problem

from sgpo_mini.mini_gsm.world import SPLITS, make_problems
from sgpo_mini.problems import Problem
from sgpo_mini.strategies import leaks
from sgpo_mini.strategy_sources.controls import (
    contentless,
    contentless_strategies,
    shuffled,
    wrong_strategies,
)
from sgpo_mini.student import load_student


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
    assert given == shuffled(asked, seed=1)
    if len(by_strategy) > 2:  # else there is one choice
        assert given != shuffled(asked, seed=2)


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


def of_families(count: int = 40):
    return [
        replace(problem(n, f"strategy of {n % 4}"), family=f"family {n % 4}") for n in range(count)
    ]


@pytest.mark.parametrize("share", [0.0, 0.25, 0.5, 1.0])
def test_the_share_of_problems_with_another_familys_strategy_is_as_asked(share):
    before = of_families()
    after = wrong_strategies(before, share, seed=1)
    changed = [(a, b) for a, b in zip(before, after, strict=True) if a != b]
    assert len(changed) == share * 40
    of_family = {p.strategy: p.family for p in before}
    for a, b in changed:
        assert replace(b, strategy=a.strategy) == a and of_family[b.strategy] != a.family
    assert after == wrong_strategies(before, share, seed=1)
    if 0 < share:
        assert after != wrong_strategies(before, share, seed=2)


@pytest.mark.parametrize("share", [-0.1, 1.5, float("nan")])
def test_a_share_outside_0_to_1_is_refused(share):
    with pytest.raises(ValueError, match="must lie between 0 and 1"):
        wrong_strategies(of_families(), share)


def test_the_contentless_control_says_nothing_at_the_same_length():
    text = "Problem type: x y\nApproach: a b c\nSteps:\n- do this"
    (after,) = contentless_strategies([problem(1, text)])
    assert [len(line.split()) for line in after.strategy.split("\n")] == [4, 4, 1, 3]
    assert "Problem type:" in after.strategy and "do this" not in after.strategy
