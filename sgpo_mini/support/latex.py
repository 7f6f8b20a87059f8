r"""Answers in LaTeX, compared by mathematics: \frac{1}{2} is 0.5. Needs the extra `math`.

A student may well state 9^{9^{9}}, on which math-verify would compute for years, and its own time
limit works on the main thread alone. So another process, `python -m sgpo_mini.support.latex`,
reads and compares: a line of JSON in, a line out. It ends itself when one question takes too long,
and when its input is closed, so that it doesn't outlive the program that asks.
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
from .answers import HEDGES, NUMBER_WORDS, last_statement, plain_characters

MISSING = "LaTeX answers need the package math-verify: pip install math-verify"
SECONDS = 10  # for an answer to be read and compared; nearly all need less than one
LONGEST = 1000  # characters of a stated answer: no answer is longer

_MARKUP = [
    (re.compile(pattern), new)
    for pattern, new in (
        (r"<<[^<>\n]*>>", ""),  # GSM8K's calculator notes
        (r"(?<=[0-9])\\[,:; ](?=[0-9]{3}(?![0-9]))", ""),  # thin spaces between thousands
        (r"(?<![\w)])(?:\*\*|__)|(?:\*\*|__)(?![\w(])|`", " "),  # bold, and not x**2
        (r"(?<!\\)(?:\$\$|\\[(\[])\s*|(?<!\\)\\[)\]]", "$"),  # and not the \\[2pt] of a matrix
        (r"[ \t\r\f\v\xa0]+", " "),
        (r"\b(?i:negative|minus) (?=\$?\.?[0-9\\])", "-"),
    )
]
_AMOUNT = re.compile(  # "5 dollars each": math-verify takes unknown words for variables
    r"([-+]?\.?[0-9][0-9.,/]*+)"
    rf"(?: (?!(?:{NUMBER_WORDS}|and|or|to|sqrt|root|mod|times|factorial|squared|cubed)\b)"
    r"[A-Za-z]{2,}+[,.]?)++"
)
_UNKNOWN = re.compile(  # a variable or a function: what has one is an equation, and no calculation
    r"\\(?!(?:[dt]?frac|cdot|times|div|text)(?![A-Za-z]))[A-Za-z]"
    r"|(?<![\\A-Za-z])[A-Za-z](?![A-Za-z])"
)

_idle: list[subprocess.Popen] = []  # processes that wait for a question


def latex_reward(completion: str, problem: Problem) -> float:
    """1.0 where the completion's stated answer equals the gold one, else 0.0.

    Stated is what the marks in answers.py say; nothing else counts. An answer on which more than
    SECONDS are spent is wrong. Raises ValueError where math-verify is missing or the gold answer
    can't be read.
    """
    gold = _without_markup(_plain(problem.answer))
    if not _ask(gold):
        raise ValueError(f"the gold answer {problem.answer[:80]!r} can't be read as LaTeX")
    stated = _stated(completion)
    return float(bool(stated) and _ask(gold, stated))


def reads_as_latex(answer: str) -> bool:
    """Whether a gold answer can be read; ValueError where math-verify is missing."""
    return _ask(_without_markup(_plain(answer)))


def _stated(completion: str) -> str:
    """The stated answer, bare; empty where there is none, or one too long to be one."""
    stated = last_statement(_plain(completion), latex=True) or ""
    text = _without_markup(stated)
    # its first sentence, but whole are \text{St. Ives} and 5 ft. 3 in.
    text = re.split(r" ?\.\s(?![^{}]{0,80}\})(?=\s*(?:[^\sa-z0-9]|$))", text, maxsplit=1)[0]
    text = text[HEDGES.match(text).end() :]
    if "=" in text and not _UNKNOWN.search(text):  # "5 + 3 = 8", and not "y = 2x"
        text = text.rpartition("=")[2].strip()
    if amount := _AMOUNT.fullmatch(text):
        text = amount[1]
    if re.search(r"[0-9]\s+\.?[0-9]", text) or re.search(r"\.[0-9]++\.\.", stated):
        return ""  # "5 6", "0.333...": no number
    return text if len(text) <= LONGEST else ""


def _plain(text: str) -> str:
    """A completion or a gold answer with its numbers in ASCII, without what only marks up."""
    text = plain_characters(text)
    for pattern, new in _MARKUP:
        text = pattern.sub(new, text)
    return text


def _without_markup(answer: str) -> str:
    r"""An answer without dollars, of money (18.90\$) or of mathematics ($x$), and final stops."""
    bare = re.sub(r"\\?\$", " ", answer).lstrip(" \n=:\"'").rstrip(" \n.,;:\"'\\")
    return re.sub(r"(?<![0-9.])([0-9]+) ([0-9]+/[0-9]+)(?![0-9])", r"(\1+\2)", bare)  # 1 3/4


def _ask(*texts: str) -> bool:
    """Whether one text can be read, or two are equal; False where the process did not survive it.

    Any thread may ask: each has a process to itself while it waits.
    """
    process = _waiting() or _start()
    try:
        process.stdin.write(json.dumps(texts).encode() + b"\n")
        process.stdin.flush()
        reply = process.stdout.readline()
    except BaseException:  # Ctrl-C: nobody will read its reply
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
    """A new process, ready to be asked; ValueError where it can't import math-verify."""
    home = str(Path(__file__).resolve().parents[2])
    paths = os.pathsep.join(filter(None, [home, os.environ.get("PYTHONPATH")]))
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", "sgpo_mini.support.latex"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=os.environ | {"PYTHONPATH": paths},
        start_new_session=True,  # Ctrl-C is for the program that asks
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
    process.communicate()  # waits, and closes the pipes


@atexit.register
def _end_all() -> None:
    while _idle:
        _end(_idle.pop())


if hasattr(os, "register_at_fork"):  # a forked process starts its own: it would mix up replies
    os.register_at_fork(after_in_child=_idle.clear)


def _work() -> None:
    """The life of the process: what is missing, or null, then a reply to each question."""
    replies, sys.stdout = sys.stdout, sys.stderr  # where a library prints, it spoils no reply

    def say(reply) -> None:
        print(json.dumps(reply), file=replies, flush=True)

    try:
        from math_verify import parse, verify
    except ImportError as error:
        return say(str(error))

    @lru_cache(maxsize=1000)  # a gold answer is asked for again and again
    def read(text: str) -> list:
        return parse(f"\\boxed{{{text}}}", parsing_timeout=None)

    read("1")  # the first takes long
    say(None)
    for line in sys.stdin:
        # A thread of C ends the process, even within one long operation on a huge number.
        faulthandler.dump_traceback_later(SECONDS, exit=True)
        readings = [read(text) for text in json.loads(line)]
        right = all(readings)
        if right and len(readings) == 2:
            right = verify(*readings, timeout_seconds=None)
        faulthandler.cancel_dump_traceback_later()
        say(bool(right))


if __name__ == "__main__":
    _work()
