"""Strategies: their text form, the two prompts, the leak check and the strategies file."""

import json
import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from .problems import Problem
from .support.records import records_of, text_field

INSTRUCTION = "Solve the problem step by step. End with #### and the answer."

# Number words that a strategy may use: they say how quantities relate or which one is meant ("the
# first shop"). Every other number word leaks the instance, even "one": "one of them" is harmless,
# but no simple rule tells it from "one apple", and it is easy to reword.
RELATION_WORDS = frozenset(
    "half halves halve halved halving twice thrice double doubles doubled doubling triple triples "
    "tripled tripling third thirds quarter quarters first second both once each every per cent "
    "percent percentage".split()
)

_OWN_FORM = re.compile(r"Problem type: (.+)\nApproach: (.+)\nSteps:\n((?:- .+\n)*- .+)")
_LABEL = re.compile(r"(?i)[-*•#\d.)]*\s*(problem type|approach|steps)\s*:\s*(.*)")
_BULLET = re.compile(r"(?:[-*•]|\d+[.)])\s+(.+)")


@dataclass(frozen=True)
class Strategy:
    """The kind of problem, the approach and the steps, without details of the instance.

    Whitespace around a field is removed. An empty field, a missing step or a line break inside a
    field raises ValueError, because `parse` could not read such a strategy back from its text.
    """

    problem_type: str
    approach: str
    steps: tuple[str, ...]

    def __post_init__(self) -> None:
        if isinstance(self.steps, str) or not self.steps:
            raise ValueError("the steps of a strategy must be a list with at least one step")
        object.__setattr__(self, "problem_type", _one_line(self.problem_type, "problem type"))
        object.__setattr__(self, "approach", _one_line(self.approach, "approach"))
        object.__setattr__(self, "steps", tuple(_one_line(step, "step") for step in self.steps))

    @property
    def text(self) -> str:
        """The strategy as the student reads it. Bullets, because numbering would add digits."""
        steps = "\n".join(f"- {step}" for step in self.steps)
        return f"Problem type: {self.problem_type}\nApproach: {self.approach}\nSteps:\n{steps}"

    @classmethod
    def parse(cls, text: str) -> "Strategy":
        """Read a strategy from its text, or from a hand-written text close to that form.

        Any case, blank lines, bold markers and numbered steps are accepted. A missing part, or a
        line that belongs to no part, raises ValueError.
        """
        if own := _OWN_FORM.fullmatch(text.strip()):  # verbatim: a step may contain **
            return cls(own[1], own[2], tuple(line[2:] for line in own[3].split("\n")))
        fields: dict[str, str] = {}
        steps: list[str] = []
        for line in text.splitlines():
            line = line.replace("**", "").replace("__", "").strip()
            if "steps" in fields and (bullet := _BULLET.fullmatch(line)):
                steps.append(bullet[1])
            elif (label := _LABEL.fullmatch(line)) and label[1].lower() not in fields:
                fields[label[1].lower()] = label[2]
            elif line:
                raise ValueError(f"{line[:60]!r} is not part of a strategy; remove that line")
        for name in ("Problem type", "Approach"):
            if not fields.get(name.lower()):
                raise ValueError(f"the strategy has no {name.lower()}; add '{name}: ...'")
        if not steps or fields["steps"]:
            raise ValueError("the strategy has no steps; add 'Steps:' and a line '- ...' per step")
        return cls(fields["problem type"], fields["approach"], tuple(steps))


def _one_line(value: str, name: str) -> str:
    value = value.strip()
    if not value:
        raise ValueError(f"the {name} of a strategy is blank; fill it in")
    if len(value.splitlines()) > 1:
        raise ValueError(f"the {name} {value[:60]!r} has a line break; write it on one line")
    return value


def autonomous_prompt(question: str) -> list[dict]:
    """The chat messages that ask the student to solve a question without a strategy."""
    return [{"role": "user", "content": f"{question}\n\n{INSTRUCTION}"}]


def guided_prompt(question: str, strategy: Strategy | str) -> list[dict]:
    """The same chat messages with only the strategy added, after the question."""
    text = strategy.text if isinstance(strategy, Strategy) else strategy
    return autonomous_prompt(f"{question}\n\nStrategy:\n{text}")


def _quantity_pattern() -> re.Pattern[str]:
    """A pattern for one whole quantity in digits or English words ("a hundred and five")."""
    teens = "thirteen fourteen fifteen sixteen seventeen eighteen nineteen".split()
    tens = "twenty thirty forty fifty sixty seventy eighty ninety".split()
    scales = "hundred thousand million billion trillion dozen".split()
    words = "nought zero one two three four five six seven eight nine ten eleven twelve".split()
    words += "fourth fifth sixth seventh eighth ninth tenth eleventh twelfth".split()
    words += "quadruple quadrupled quadrupling quintuple quintupled quintupling".split()
    words += teens + tens + scales + [word + "th" for word in teens + scales]
    words += [word[:-1] + ending for word in tens for ending in ("ieth", "ies")]
    words += "half halves third quarter".split()  # allowed alone, but not in "two thirds"
    first = "|".join(word for word in words if word not in RELATION_WORDS)
    ending = r"(?:e?s|fold)?(?![^\W\d_])"  # then no letter: "tens" is a number, "tense" is not
    more = rf"(?:{'|'.join(words)})+{ending}"  # repeated: "twentythree"
    link = r"[ \u00a0_\u2010-\u2013-]|(?:(?<=hundred)|(?<=sand)|(?<=lion)) and | and (?:a|one) "
    digit = r"[\d\u00b2\u00b3\u00b9\u00bc-\u00be\u2070-\u2089\u2150-\u218b\u2460-\u249b]"  # ² ½ Ⅳ ①
    thousands = r"[ \u00a0\u2009\u202f]\d{3}(?!\d)"
    digits = rf"\.?{digit}+(?:{thousands}|(?:[.,:_'’/⁄]| / ){digit}+)*(?:(?:st|nd|rd|th)\b)?"
    article = rf"(?:an? (?={'|'.join(scales)}))?"
    start = rf"{digits}|(?<![^\W\d_]){article}(?={first}){more}"
    return re.compile(rf"(?i)(?:{start})(?:(?:{link}){more})*(?: ?%|[ -]per ?cent\b)?")


_QUANTITY = _quantity_pattern()


def leaks(strategy: Strategy | str, problem: Problem) -> list[str]:
    """The parts of a strategy that leak the instance, in order, without duplicates.

    These are the problem's answer, number or text, and every number in digits or English words
    except RELATION_WORDS, whether or not it is in the question. Parse a text with numbered steps
    first, because their numbers are reported too.
    """
    text = strategy
    if isinstance(strategy, Strategy):  # no labels: the answer may be "steps"
        text = "\n".join([strategy.problem_type, strategy.approach, *strategy.steps])
    spans = [match.span() for match in _QUANTITY.finditer(text)]
    answer = problem.answer.strip()
    if any(character.isalnum() for character in answer):
        # A one-letter answer (multiple choice) is case-sensitive: "a" is an article.
        flags = re.NOFLAG if len(answer) == 1 else re.IGNORECASE
        whole_word = re.compile(rf"(?<!\w){re.escape(answer)}(?!\w)", flags)
        spans += [match.span() for match in whole_word.finditer(text)]
    found: list[str] = []
    reached = 0
    for begin, end in sorted(spans, key=lambda span: (span[0], -span[1])):
        if end > reached:  # else it lies inside a number that is already reported
            found.append(text[begin:end])
            reached = end
    return list(dict.fromkeys(found))


def load_strategies(path: str | os.PathLike[str]) -> dict[str, Strategy]:
    """Strategies by problem id, from a JSONL file with id, problem_type, approach and steps.

    Raises ValueError with file, line and fix if a line is invalid.
    """
    store: dict[str, Strategy] = {}
    for _, where, record in records_of(Path(path)):
        if type(record.get("id")) in (int, float):  # as `load_problems` reads it
            record["id"] = str(record["id"])
        fields = [text_field(record, field, where) for field in ("id", "problem_type", "approach")]
        name, problem_type, approach = fields
        if name in store:
            raise ValueError(f"{where}: the id {name!r} appears twice; keep one of the lines")
        if not isinstance(record.get("steps"), list):
            raise ValueError(f"{where} has no field 'steps' with a list of texts; add it")
        steps = tuple(text_field({"step": step}, "step", where) for step in record["steps"])
        try:
            store[name] = Strategy(problem_type, approach, steps)
        except ValueError as error:
            raise ValueError(f"{where}: {error}") from None
    return store


def save_strategies(path: str | os.PathLike[str], strategies: dict[str, Strategy]) -> None:
    """Write strategies atomically to a JSONL file, one JSON object per line."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with open(temporary, "w", encoding="utf-8", newline="\n") as file:
            for name, strategy in strategies.items():
                print(json.dumps({"id": name, **asdict(strategy)}, ensure_ascii=False), file=file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def with_strategies(problems: Iterable[Problem], strategies: dict[str, Strategy]) -> list[Problem]:
    """The problems, with their own strategy replaced if `strategies` has one for the id.

    Raises ValueError if no id matches, because the strategies were made for other problems.
    """
    problems = list(problems)
    found = [strategies.get(problem.id) for problem in problems]
    if not any(found):
        ids = f" (ids such as {problems[0].id!r})" if problems else ""
        raise ValueError(
            f"none of the {len(strategies)} strategies has the id of one of the {len(problems)} "
            f"problems{ids}; give the file made for these problems"
        )
    return [
        replace(problem, strategy=strategy.text) if strategy else problem
        for problem, strategy in zip(problems, found, strict=True)
    ]


def having_strategies(problems: Sequence[Problem]) -> list[Problem]:
    """The problems that have a strategy; ValueError if none has."""
    having = [problem for problem in problems if problem.strategy.strip()]
    if not having:
        raise ValueError(
            f"none of the {len(problems)} problems has a strategy; give a file with strategies "
            "for them (--strategies FILE)"
        )
    return having


def require_strategies(problems: Iterable[Problem], or_else: str = "") -> None:
    """Raise ValueError, with their number and the first id, if problems have no strategy.

    `or_else` tells the user what they can do instead of giving a file.
    """
    problems = list(problems)
    without = [problem.id for problem in problems if not problem.strategy.strip()]
    if without:
        raise ValueError(
            f"{len(without)} of {len(problems)} problems have no strategy, {without[0]!r} first; "
            f"give a file with strategies for them (--strategies FILE){or_else}"
        )
