"""latex.py with the real math-verify, where it is installed."""

import pytest
from played_math_verify import rewards_in_threads

from sgpo_mini.problems import Problem
from sgpo_mini.support.latex import latex_reward

pytest.importorskip("math_verify")


@pytest.mark.parametrize(
    ("gold", "completion", "right"),
    [
        (r"\frac{1}{2}", "#### 0.5", 1),
        ("18.90\\$", r"\boxed{\$18.9}", 1),
        ("5", "#### x = 5", 1),
        ("5", r"\boxed{5 \text{ cm}}", 1),
        ("5", r"\boxed{5x}", 0),
        ("5", "#### 5 pi", 0),
        ("5", "#### 5 or 6", 0),
        ("1234", r"\boxed{1\,234}", 1),
        ("3/2", "#### 1½", 1),
        ("1 1/2", "#### -1.5", 0),
        ("-1 1/2", "#### -1.5", 1),
        ("1", "#### 1 3/4", 0),
        ("11", "#### 5 6", 0),
        ("5", "#### 5 squared", 0),
        ("5", "#### 5 hours 30 minutes", 0),
        ("-3", "#### negative 3", 1),
        ("3,5,7", r"\boxed{7, 5, 3}", 1),
        ("(3,5)", "The answer is (5,3).", 0),
        ("p - q", "The answer is $-q + p$.", 1),
        (r"\text{St. Ives}", r"\boxed{\text{St. Ives}}", 1),
        ("y = 2x + 3", "Answer: $y = 2x + 3$", 1),
        ("x^2", "#### **x^2**", 1),
    ],
)
def test_answers_of_many_forms_are_compared(gold, completion, right):
    assert latex_reward(completion, Problem("1", "?", gold)) == right


def test_the_real_one_is_ended_in_a_thread_and_compares_afterwards():
    problem = Problem("1", "?", r"\frac{1}{2}")
    endless = [r"9^{9^{9}}", r"(10^{8})!", r"\sum_{i=1}^{10^8}\frac1i"]
    asked = [f"\\boxed{{{answer}}}" for answer in endless]
    assert rewards_in_threads(asked, problem) == [0, 0, 0]
    assert rewards_in_threads([r"\boxed{\frac24}"], problem) == [1]
