r"""Answers in LaTeX, compared by value: \frac{1}{2} equals 0.5. Needs the extra `math`.

A student may state 9^{9^{9}}, which math-verify would evaluate for years, and its time limit works
only on the main thread. So a separate process, `python -m sgpo_mini.support.latex`, reads and
compares: one line of JSON in, one line out. It exits if a question takes too long or its input is
closed, so it doesn't outlive the program that started it.
"""

import atexit
import faulthandler
import json
import os
import re
import subprocess
import sys
from functools import lru_cache
from pathlib import Path

from ..problems import Problem
from .answers import HEDGES, NUMBER_WORDS, last_statement
from .characters import plain_characters
from .notes import NOTE

MISSING = "LaTeX answers need the package math-verify: pip install math-verify"
SECONDS = 10  # to read and compare an answer; nearly all need less than one
LONGEST = 1000  # characters of a stated answer: no answer is longer

_MARKUP = [
    (re.compile(pattern), new)
    for pattern, new in (
        (NOTE.pattern, ""),
        (r"(?<=[0-9])\\[,:; ](?=[0-9]{3}(?![0-9]))", ""),  # thin spaces between thousands
        (r"(?<![\w)])(?:\*\*|__)|(?:\*\*|__)(?![\w(])|`", " "),  # bold, but not x**2
        (r"(?<!\\)(?:\$\$|\\[(\[])\s*|(?<!\\)\\[)\]]", "$"),  # but not the \\[2pt] of a matrix
        (r"[ \t\r\f\v\xa0]+", " "),
        (r"\b(?i:negative|minus) (?=\$?\.?[0-9\\])", "-"),
    )
]
_AMOUNT = re.compile(  # "5 dollars each": math-verify reads unknown words as variables
    r"([-+]?\.?[0-9][0-9.,/]*+)"
    rf"(?: (?!(?:{NUMBER_WORDS}|and|or|to|sqrt|root|mod|times|factorial|squared|cubed)\b)"
    r"[A-Za-z]{2,}+[,.]?)++"
)
_UNKNOWN = re.compile(  # a variable or a function: makes it an equation, not a calculation
    r"\\(?!(?:[dt]?frac|cdot|times|div|text)(?![A-Za-z]))[A-Za-z]"
    r"|(?<![\\A-Za-z])[A-Za-z](?![A-Za-z])"
)

_idle: list[subprocess.Popen] = []  # processes that wait for a question


def latex_reward(completion: str, problem: Problem) -> float:
    """1.0 if the completion's stated answer equals the gold one, else 0.0.

    Only the marks in answers.py state an answer. An answer that takes more than SECONDS is wrong.
    Raises ValueError if math-verify is missing or the gold answer can't be read.
    """
    gold = _without_markup(_plain(problem.answer))
    if not _ask(gold):
        raise ValueError(f"the gold answer {problem.answer[:80]!r} can't be read as LaTeX")
    stated = _stated(completion)
    return float(bool(stated) and _ask(gold, stated))


def reads_as_latex(answer: str) -> bool:
    """Whether a gold answer can be read; ValueError if math-verify is missing."""
    return _ask(_without_markup(_plain(answer)))


def _stated(completion: str) -> str:
    """The stated answer without markup; empty if there is none or it is too long."""
    stated = last_statement(_plain(completion), latex=True) or ""
    text = _without_markup(stated)
    # Its first sentence; \text{St. Ives} and 5 ft. 3 in. stay whole.
    text = re.split(r" ?\.\s(?![^{}]{0,80}\})(?=\s*(?:[^\sa-z0-9]|$))", text, maxsplit=1)[0]
    text = text[HEDGES.match(text).end() :]
    if "=" in text and not _UNKNOWN.search(text):  # "5 + 3 = 8", but not "y = 2x"
        text = text.rpartition("=")[2].strip()
    if amount := _AMOUNT.fullmatch(text):
        text = amount[1]
    if re.search(r"[0-9]\s+\.?[0-9]", text) or re.search(r"\.[0-9]++\.\.", stated):
        return ""  # "5 6", "0.333...": not a number
    return text if len(text) <= LONGEST else ""


def _plain(text: str) -> str:
    """A completion or a gold answer with its numbers in ASCII and without markup."""
    text = plain_characters(text)
    for pattern, new in _MARKUP:
        text = pattern.sub(new, text)
    return text


def _without_markup(answer: str) -> str:
    r"""An answer without dollar signs, of money (18.90\$) or mathematics ($x$), or final stops."""
    bare = re.sub(r"\\?\$", " ", answer).lstrip(" \n=:\"'").rstrip(" \n.,;:\"'\\")
    return re.sub(r"(?<![0-9.])([0-9]+) ([0-9]+/[0-9]+)(?![0-9])", r"(\1+\2)", bare)  # 1 3/4


def _ask(*texts: str) -> bool:
    """Whether one text can be read, or two are equal; False if the process ended without a reply.

    Any thread may call this: each waits on a process of its own.
    """
    process = _waiting() or _start()
    try:
        process.stdin.write(json.dumps(texts).encode() + b"\n")
        process.stdin.flush()
        reply = process.stdout.readline()
    except BaseException:  # Ctrl-C: nobody will read the reply
        _end(process)
        raise
    if not reply:
        _end(process)
        return False
    _idle.append(process)
    return json.loads(reply)


def _waiting() -> subprocess.Popen | None:
    while _idle:
        try:
            process = _idle.pop()
        except IndexError:  # another thread was faster
            return None
        if process.poll() is None:
            return process
        _end(process)
    return None


def _start() -> subprocess.Popen:
    """A new process, ready for questions; ValueError if it can't import math-verify."""
    home = str(Path(__file__).resolve().parents[2])
    paths = os.pathsep.join(filter(None, [home, os.environ.get("PYTHONPATH")]))
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", "sgpo_mini.support.latex"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=os.environ | {"PYTHONPATH": paths},
        start_new_session=True,  # Ctrl-C goes to the calling program only
        creationflags=getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0),
    )
    try:
        greeting = process.stdout.readline()
    except BaseException:
        _end(process)
        raise
    if not greeting:
        _end(process)
        raise RuntimeError(f"the process that compares LaTeX ended: status {process.returncode}")
    if (missing := json.loads(greeting)) is not None:
        _end(process)
        raise ValueError(f"{MISSING} ({missing})")
    return process


def _end(process: subprocess.Popen) -> None:
    process.kill()
    process.communicate()  # waits and closes the pipes


@atexit.register
def _end_all() -> None:
    while _idle:
        _end(_idle.pop())


if hasattr(os, "register_at_fork"):  # a shared process would mix up the replies
    os.register_at_fork(after_in_child=_idle.clear)


def _work() -> None:
    """The separate process: writes what is missing, or null, then a reply to each question."""
    replies, sys.stdout = sys.stdout, sys.stderr  # a library's prints must not mix with the replies

    def say(reply) -> None:
        print(json.dumps(reply), file=replies, flush=True)

    try:
        from math_verify import parse, verify
    except ImportError as error:
        return say(str(error))

    @lru_cache(maxsize=1000)  # the same gold answers come many times
    def read(text: str) -> list:
        return parse(f"\\boxed{{{text}}}", parsing_timeout=None)

    read("1")  # the first call is slow
    say(None)
    for line in sys.stdin:
        # Runs in a C thread, so it ends the process even within one huge integer operation.
        faulthandler.dump_traceback_later(SECONDS, exit=True)
        readings = [read(text) for text in json.loads(line)]
        right = all(readings)
        if right and len(readings) == 2:
            right = verify(*readings, timeout_seconds=None)
        faulthandler.cancel_dump_traceback_later()
        say(bool(right))


if __name__ == "__main__":
    _work()
