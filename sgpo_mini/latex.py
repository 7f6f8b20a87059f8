"""Answers in LaTeX, compared by mathematics: \\frac{1}{2} is 0.5. Needs the extra `math`."""

import threading

from .problems import Problem

MISSING = "LaTeX answers need the package math-verify: pip install 'sgpo-mini[math]'"
SECONDS = 5  # for one answer to be read, and again to be compared
LONGEST = 1000  # characters of a stated answer: no answer is longer, and a longer one takes minutes


def latex_reward(completion: str, problem: Problem) -> float:
    """1.0 where the completion's stated answer equals the gold one, else 0.0.

    Stated: what follows the last `####`, or the last \\boxed{}, whichever comes later. Raises
    ValueError where math-verify is missing or the gold answer can't be read.
    """
    verify = _library().verify
    gold = _parsed(problem.answer)
    if not gold:
        raise ValueError(f"the gold answer {problem.answer[:80]!r} can't be read as LaTeX")
    stated = _stated(completion)
    given = _parsed(stated) if stated else []
    return float(bool(given) and verify(gold, given, timeout_seconds=_seconds()))


def reads_as_latex(answer: str) -> bool:
    """Whether a gold answer can be read; ValueError where math-verify is missing."""
    return bool(_parsed(answer))


def _stated(completion: str) -> str:
    """The stated answer without its mark; empty where there is none, or one too long to be one."""
    box, line = completion.rfind("\\boxed{"), completion.rfind("####")
    if max(box, line) < 0:
        return ""
    if line > box:
        text = completion[line + 4 :].strip().partition("\n")[0].strip().strip("$")
    else:
        text = _until_brace_closes(completion[box + len("\\boxed{") :])
    return text if len(text) <= LONGEST else ""


def _until_brace_closes(text: str) -> str:
    depth = 1
    for place, character in enumerate(text):
        depth += (character == "{") - (character == "}")
        if depth == 0:
            return text[:place]
    return ""


def _parsed(answer: str) -> list:
    """math-verify's reading of an answer; empty where it has none."""
    return _library().parse(f"\\boxed{{{answer.strip().strip('$')}}}", parsing_timeout=_seconds())


def _seconds() -> int | None:
    """math-verify's time limit works by signals, which only the main thread can have.

    Elsewhere it refuses to work with one, so there it goes without: LONGEST has to do.
    """
    return SECONDS if threading.current_thread() is threading.main_thread() else None


def _library():
    try:
        import math_verify
    except ImportError:
        raise ValueError(MISSING) from None
    return math_verify
