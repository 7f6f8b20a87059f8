"""The report on a file of strategies."""

import pytest

from sgpo_mini.problems import Problem
from sgpo_mini.strategies import Strategy
from sgpo_mini.strategy_sources.inspection import inspect_strategies

SUM = Strategy("totals", "add up", ("Add the parts", "Subtract the rest"))
SHARE = Strategy("shares", "divide", ("Divide the total by the people",))
STORE = {f"s-{number}": SUM if number % 4 else SHARE for number in range(20)}
PROBLEMS = [Problem(f"s-{number}", f"Question {number}?", "99") for number in range(25)]


def test_the_report_has_counts_lengths_and_reuse():
    report = inspect_strategies(STORE, PROBLEMS)
    assert "Strategies: 20\n" in report
    assert "Problems: 25, of which 20 have a strategy (80.0%)" in report
    assert "Steps in a strategy: 1.8 on average, median 2, 1 to 2" in report
    assert "Words in a strategy: " in report
    assert "Leaks: 0 of 20 (0.00%)" in report
    assert "Distinct: 2; each serves 10.00 problems on average" in report
    assert "share their strategy with another: 20 (100.0%)" in report
    most, next_most = (
        report.index("15 problems\n  Problem type: totals"),
        report.index("5 problems\n  Problem type: shares"),
    )
    assert most < next_most


def test_leaks_are_counted_and_named():
    leaking = STORE | {"s-3": Strategy("a", "b", ("Add 12 and seven",))}
    report = inspect_strategies(leaking, PROBLEMS)
    assert "Leaks: 1 of 20 (5.00%)\n  s-3: 12, seven" in report


def test_many_leaks_are_cut_short():
    leaking = {name: Strategy("a", "b", ("Add 12",)) for name in STORE}
    report = inspect_strategies(leaking, PROBLEMS)
    assert "Leaks: 20 of 20" in report and "... and 10 more" in report


def test_ten_are_shown_beside_their_problems_and_the_seed_draws_them():
    report = inspect_strategies(STORE, PROBLEMS, seed=1)
    assert report == inspect_strategies(STORE, PROBLEMS, seed=1)
    assert report != inspect_strategies(STORE, PROBLEMS, seed=2)
    assert "10 at random beside their problems" in report
    assert report.count("  Problem: Question") == 10
    few = inspect_strategies({"s-0": SHARE}, PROBLEMS)
    assert "1 at random" in few and "Most reused" not in few


def test_without_problems_leaks_are_not_known():
    report = inspect_strategies(STORE, None)
    assert "Leaks: not known without the problems (give --data)" in report
    assert "Problem: " not in report and "10 at random:" in report


def test_an_empty_store_and_other_problems_are_refused():
    with pytest.raises(ValueError, match="no strategies to inspect"):
        inspect_strategies({}, PROBLEMS)
    with pytest.raises(ValueError, match="none of the 1 problems .*such as 's-0'.* give"):
        inspect_strategies(STORE, [Problem("other", "q", "1")])
