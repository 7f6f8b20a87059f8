"""Checks before a run: are the words known, do the texts fit the window, does the reward work?

Beyond its window, a model with learned positions raises IndexError, and one with rotary positions
writes nonsense. A reward that fails on one problem would stop the run when that problem is drawn.
We check all of this before the run starts.
"""

import math
import random
import re
import sys
import time
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

import torch
from tqdm import tqdm

from ..problems import Problem, Reward
from ..student import Student

LARGEST_REWARD = 1e15  # in absolute value: advantages square rewards in float32
TRIAL_SECONDS = 60
UNKNOWN_LIMIT = 0.02  # largest share of words that a student may not know
_WORDS = re.compile(r"\w+|[^\w\s]")


def context_window(student: Student) -> int | None:
    """The model's limit for prompt plus completion, in tokens; None if it names no limit.

    A sliding window is not a limit. If rotary scaling extends the window, we return the longer
    limit. With "dynamic" and "longrope", positions depend on the longest sequence of the batch, so
    scoring could use other positions than sampling: we return the window below which they are
    fixed.
    """
    config = student.causal_model.config.get_text_config(decoder=True)
    window = getattr(config, "max_position_embeddings", None)
    if not isinstance(window, int) or window <= 0 or getattr(config, "alibi", False):
        return None
    rotary = getattr(config, "rope_parameters", None) or {}
    longest = window
    for kind in [kind for kind in rotary.values() if isinstance(kind, dict)] or [rotary]:
        original = kind.get("original_max_position_embeddings")
        original = original or getattr(config, "original_max_position_embeddings", None) or window
        if kind.get("rope_type") in ("linear", "yarn"):
            longest = max(longest, int(original * (kind.get("factor") or 1)))
        elif kind.get("rope_type") in ("dynamic", "longrope"):
            return original
    return longest


def refuse_beyond_window(
    student: Student,
    problems: Sequence[Problem],
    *,
    guided: bool = False,
    max_new_tokens: int = 0,
    solution: str = "",
) -> None:
    """Raise ValueError if a prompt plus its completion exceeds the student's context window.

    The prompts contain the strategies if `guided`. A completion has `max_new_tokens` tokens, or is
    the problem's field named by `solution`.
    """
    window = context_window(student)
    if window is None:
        return
    longest, most, beyond, of = 0, 0, 0, None
    around = len(student.prompt_ids("?", "?" if guided else "")) + max_new_tokens + 1
    for problem in problems:
        strategy = problem.strategy if guided else ""
        text = getattr(problem, solution) if solution else ""
        # Fast bound: every token covers at least one byte of the text, perhaps decomposed (NFKD).
        spelled_out = unicodedata.normalize("NFKD", f"{problem.question}{strategy}{text}")
        if around + len(spelled_out.encode(errors="replace")) <= window:
            continue
        prompt = len(student.prompt_ids(problem.question, strategy))
        length = prompt + (len(student.completion_ids(text)) if solution else max_new_tokens)
        beyond += length > window
        if length > most:
            longest, most, of = prompt, length, problem
    if not beyond:
        return
    more = f"its {solution}" if solution else f"max_new_tokens={max_new_tokens}"
    they = "it" if beyond == 1 else "them"
    way = f"shorten {they} or leave {they} out"
    if not solution and longest < window:
        way = f"lower max_new_tokens (--max-new-tokens) to {window - longest} or less"
    raise ValueError(
        f"the student's context window is {window} tokens, and problem {of.id!r} needs {most}: a "
        f"{'guided ' if guided and of.strategy else ''}prompt of {longest} and {more}; {beyond} of "
        f"{len(problems)} problems don't fit: {way}, or use a student with a longer window"
    )


def refuse_unknown_words(student: Student, texts: Iterable[str]) -> None:
    """Raise ValueError if the student does not know more than 2 % of the words of the texts.

    A word is unknown if encoding and decoding its text loses it. A real tokenizer knows every word;
    the tiny student's tokenizer drops unknown words, and training on such a text would be noise.
    """
    texts = list(texts)
    if not texts:
        return
    ids = student.tokenizer(texts, add_special_tokens=False)["input_ids"]
    rows = student.causal_model.get_input_embeddings().weight.shape[0]
    if beyond := next((i for row in ids for i in row if i >= rows), None):
        token = student.tokenizer.convert_ids_to_tokens(beyond)
        raise ValueError(f"a text has the token {token!r}, but the model has no embedding for it")
    count, unknown = 0, Counter()
    for text, decoded in zip(texts, student.tokenizer.batch_decode(ids), strict=True):
        words = Counter(_WORDS.findall(text))
        count += words.total()
        unknown += words - Counter(_WORDS.findall(decoded))
    share = unknown.total() / max(count, 1)
    if share > UNKNOWN_LIMIT:
        raise ValueError(
            f"the student does not know {share:.0%} of the words of these problems (such as "
            f"{', '.join(map(repr, list(unknown)[:8]))}); a word-level student knows only the "
            "words of its texts (the tiny one: mini-GSM). Give a real model (--student NAME or "
            "FOLDER), or build a student from your texts (new_student)"
        )


class RewardError(ValueError):
    """A reward raised an error or is not a finite number."""


def reward_of(reward: Reward, completion: str, problem: Problem) -> float:
    """One completion's reward; RewardError with the problem's id if it is not a finite number.

    Accepts numpy and torch numbers, True and False.
    """
    try:
        given = reward(completion, problem)
    except Exception as error:  # user code: any error
        said = " ".join(f"{type(error).__name__}: {error}".split())[:300].rstrip(": ")
        raise RewardError(f"the reward of problem {problem.id!r} raised {said}") from error
    # float() would also accept text.
    if hasattr(type(given), "__float__") and not isinstance(given, (str, bytes, complex)):
        try:
            value = float(given.detach() if isinstance(given, torch.Tensor) else given)
        except Exception:  # a tensor of several numbers, an integer too large for a float
            value = math.nan
        if abs(value) <= LARGEST_REWARD:
            return value
    try:
        told = " ".join(repr(given).split())[:80]
    except Exception:
        told = "an object that can't be printed"
    raise RewardError(
        f"the reward of problem {problem.id!r} is {told} ({type(given).__name__}), not a finite "
        "number"
    )


def try_reward(reward: Reward, problems: Sequence[Problem]) -> None:
    """Call the reward once for each problem; RewardError unless every result is a finite number.

    The completion is the problem's solution, else its expert solution, else "#### ANSWER". Each
    states an answer, so the trial includes the comparison with the gold answer. The random states
    of Python, numpy and torch are restored. After a minute we skip the rest with a warning.
    """
    failed, begin = [], time.monotonic()
    with _keeping_random_states():
        for count, problem in enumerate(tqdm(problems, "trying the reward", leave=False, delay=2)):
            if time.monotonic() - begin > TRIAL_SECONDS:
                told = f"the reward is slow: tried on only {count} of {len(problems)} problems"
                tqdm.write(f"sgpo_mini: {told}", file=sys.stderr)
                break
            own = problem.solution or problem.expert_solution or f"#### {problem.answer}"
            try:
                reward_of(reward, own, problem)
            except RewardError as error:
                failed.append(error)
    if failed:
        others = f" ({len(failed)} of {len(problems)} problems fail)" if len(failed) > 1 else ""
        raise RewardError(
            f"{failed[0]}{others}: fix the reward or the problem; a reward must be a finite number "
            "for every completion of every problem"
        ) from failed[0]


@contextmanager
def _keeping_random_states() -> Iterator[None]:
    """Restore the random states, because the reward that we try may draw random numbers."""
    numpy = sys.modules.get("numpy")
    devices = range(torch.cuda.device_count()) if torch.cuda.is_initialized() else []
    python_state, numpy_state = random.getstate(), numpy and numpy.random.get_state()
    with torch.random.fork_rng(devices=devices):
        try:
            yield
        finally:
            random.setstate(python_state)
            if numpy:
                numpy.random.set_state(numpy_state)
