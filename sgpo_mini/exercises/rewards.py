"""The checks of notebook 01: a reward function, and a text that cheats one."""

from collections.abc import Callable

from ..mini_gsm.world import make_problems
from ..problems import is_correct
from .checking import Wrong, answer_of, exercise, number_of, shortened


@exercise
def check_reward(function: Callable) -> str:
    """Exercise: the reward of an output, `f(text, truncated, answer) -> 0.0 or 1.0`.

    The answer is a number after the last `####`, and 0 is earned by what the length limit cut off.
    """
    cases = (
        # text, truncated, gold answer, what to think of
        ("9 + 9 = 18\n#### 18", False, "18", "the number after #### is the gold answer"),
        ("9 + 8 = 17\n#### 17", False, "18", "the number after #### is not the gold answer"),
        ("9 + 9 = 18\n#### 18", True, "18", "what the length limit cut off earns 0"),
        ("9 + 9 = 18", False, "18", "no number stands after ####, so nothing is stated"),
        ("9 + 9 = 18\n####", False, "18", "no number stands after ####, so nothing is stated"),
        ("So it is 18, I think.", False, "18", "without #### nothing is stated"),
        ("#### 17\nNo, once more.\n#### 18", False, "18", "the last #### decides"),
        ("#### 18\nNo, once more.\n#### 17", False, "18", "the last #### decides"),
        ("#### 118", False, "18", "118 is not 18: compare whole numbers, not pieces of text"),
        ("#### -18", False, "18", "the sign counts"),
        ("#### -5", False, "-5", "the sign counts"),
        ("#### 18.0", False, "18", "18.0 is 18: compare numbers, not texts"),
        ("#### 1,234", False, "1234", "commas between thousands are dropped"),
        ("#### $18 a day", False, "18", "a dollar sign in front and words behind are dropped"),
        ("#### 18.", False, "18", "a full stop behind the number is dropped"),
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
    return "the last stated number, compared exactly; nothing for what was cut off or not stated"


@exercise
def check_hack(function: Callable) -> str:
    """Exercise: an output that "the gold answer is somewhere in the text" pays for every story.

    `f(question) -> text` does not know the gold answer; `is_correct` must never pay it.
    """
    problems = make_problems("validation")
    unpaid, stated = [], []
    for problem in problems:
        call = f"f({shortened(problem.question)})"
        text = answer_of(function, call, problem.question)
        if not isinstance(text, str):
            raise Wrong(f"{call} returned {shortened(text)}, which is no text")
        if problem.answer not in text:
            unpaid.append(problem)
        elif is_correct(text, problem.answer):
            stated.append(problem)
    if unpaid:
        raise Wrong(
            f"{len(unpaid)} of {len(problems)} stories are not paid; the first has the gold answer "
            f"{unpaid[0].answer}, which is nowhere in the text"
        )
    if stated:
        raise Wrong(
            f"is_correct pays {len(stated)} of {len(problems)} stories, so there the text states "
            "the right answer; a hack is paid without stating one"
        )
    return f"paid for all {len(problems)} stories by the naive reward, for none by is_correct"
