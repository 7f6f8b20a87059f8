"""The checks of notebook 01: a reward function, and a reward hack."""

from collections.abc import Callable

from ..mini_gsm.world import make_problems
from ..problems import is_correct
from .checking import Wrong, answer_of, exercise, number_of, shortened


@exercise
def check_reward(function: Callable) -> str:
    """Exercise: the reward of a completion, `f(text, truncated, answer) -> 0.0 or 1.0`.

    The answer is the number after the last `####`; a truncated completion earns 0.
    """
    cases = (
        # text, truncated, gold answer, hint
        ("9 + 9 = 18\n#### 18", False, "18", "the number after #### is the gold answer"),
        ("9 + 8 = 17\n#### 17", False, "18", "the number after #### is not the gold answer"),
        ("9 + 9 = 18\n#### 18", True, "18", "a truncated completion earns 0"),
        ("9 + 9 = 18", False, "18", "there is no number after ####, so no answer"),
        ("9 + 9 = 18\n####", False, "18", "there is no number after ####, so no answer"),
        ("So it is 18, I think.", False, "18", "without #### there is no answer"),
        ("#### 17\nNo, once more.\n#### 18", False, "18", "the last #### decides"),
        ("#### 18\nNo, once more.\n#### 17", False, "18", "the last #### decides"),
        ("#### 118", False, "18", "118 is not 18: compare numbers, not parts of the text"),
        ("#### -18", False, "18", "the sign counts"),
        ("#### -5", False, "-5", "the sign counts"),
        ("#### 18.0", False, "18", "18.0 is 18: compare numbers, not texts"),
        ("#### 1,234", False, "1234", "drop the commas between thousands"),
        ("#### $18 a day", False, "18", "drop a dollar sign before the number and words after it"),
        ("#### -$7", False, "-7", "the dollar sign may stand after the minus sign"),
        ("#### 18.", False, "18", "drop a full stop after the number"),
        ("#### 3/4", False, "0.75", "a fraction is a number too"),
        ("#### 0.75", False, "3/4", "a fraction is a number too"),
        ("#### 0.3333333333333333", False, "1/3", "compare exactly (Fraction), not as floats"),
    )
    for text, truncated, answer, hint in cases:
        call = f"f({text!r}, truncated={truncated}, answer={answer!r})"
        number = number_of(answer_of(function, call, text, truncated, answer), call)
        expected = float(is_correct(text, answer) and not truncated)
        if number != expected:
            raise Wrong(f"{call} returned {number:g}, not {expected:g}; {hint}")
    return "the number after the last ####, compared exactly; 0 if truncated or without an answer"


@exercise
def check_hack(function: Callable) -> str:
    """Exercise: a text that the reward "the gold answer is somewhere in the text" always accepts.

    `f(question) -> text` does not know the gold answer; `is_correct` must never accept the text.
    """
    problems = make_problems("validation")
    unpaid, stated = [], []
    for problem in problems:
        call = f"f({shortened(problem.question)})"
        text = answer_of(function, call, problem.question)
        if not isinstance(text, str):
            raise Wrong(f"{call} returned {shortened(text)}, which is not text")
        if problem.answer not in text:
            unpaid.append(problem)
        elif is_correct(text, problem.answer):
            stated.append(problem)
    if unpaid:
        raise Wrong(
            f"{len(unpaid)} of {len(problems)} stories earn nothing; the first has the gold answer "
            f"{unpaid[0].answer}, which is not in the text"
        )
    if stated:
        raise Wrong(
            f"is_correct accepts {len(stated)} of {len(problems)} stories, because the text states "
            "the correct answer; a hack earns the reward without stating it"
        )
    return f"the naive reward accepts all {len(problems)} stories, and is_correct none"
