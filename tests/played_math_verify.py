"""A stand-in for math-verify, a file that latex.py's processes import; and threads that ask."""

import os
import threading
from contextlib import contextmanager
from unittest.mock import patch

from sgpo_mini.support import latex

# Reads \\boxed{} of a number or \\frac; told to, it never ends, or brings the process down.
CODE = r"""
import os, sys
from fractions import Fraction

print("a library that prints")

def parse(text, parsing_timeout=5):
    assert parsing_timeout is None and text.startswith(r"\boxed{") and text.endswith("}")
    inside = text.removeprefix(r"\boxed{")[:-1]
    if inside == "crash":
        os._exit(3)
    if inside == "9^{9^{9}}":
        9 ** 9 ** 9  # holds the interpreter's lock: no thread of Python could end it
    try:
        return [Fraction(inside.replace(r"\frac{", "").replace("}{", "/").rstrip("}"))]
    except ValueError:
        return []

def verify(gold, target, timeout_seconds=5):
    assert timeout_seconds is None
    return gold == target
"""


@contextmanager
def played(folder, code=CODE):
    """Processes of latex.py that start meanwhile import this code as math_verify."""
    latex._end_all()
    (folder / "math_verify.py").write_text(code, encoding="utf-8")
    paths = os.pathsep.join(filter(None, [str(folder), os.environ.get("PYTHONPATH")]))
    try:
        with patch.dict(os.environ, PYTHONPATH=paths):
            yield
    finally:
        latex._end_all()


def rewards_in_threads(completions, problem):
    """The rewards of completions that are all asked for at once."""
    rewards = [None] * len(completions)

    def ask(place):
        rewards[place] = latex.latex_reward(completions[place], problem)

    threads = [threading.Thread(target=ask, args=(place,)) for place in range(len(completions))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return rewards
