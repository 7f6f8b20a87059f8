"""Reading a story by rule: its quantities and its true plan, from the words alone.

A sentence plays a part unless it names somebody else, other things or a time before the count.
That such a rule exists is what makes the right answer learnable.
"""

import re

from .grammar import EACH, OPERATION_OF, OTHER_THINGS, PEOPLE, SETTINGS, Clause

_SOMEBODY_ELSE = re.compile(rf"\b(?:{'|'.join(PEOPLE)})\b", re.IGNORECASE)
_BEFORE = re.compile(r"\bbefore the count\b", re.IGNORECASE)
_OTHER_THINGS = re.compile(rf"\b(?:{'|'.join(OTHER_THINGS)})\b")
_VERB = re.compile(rf"\b(?:{'|'.join(OPERATION_OF)})\b")


def read_plan(question: str) -> tuple[str, ...]:
    """The true plan of a mini-GSM question, in the form of `Problem.plan`.

    Raises ValueError if a sentence is not one of mini-GSM's.
    """
    clauses = [clause for _, clause in read_quantities(question) if clause]
    return tuple(f"{c.operation} {c.role}" for c in clauses if c.setting == "plain")


def read_quantities(question: str) -> tuple[tuple[int, Clause | None], ...]:
    """The numbers of a mini-GSM question as told, each with its clause; the count has none.

    Raises ValueError if a sentence is not one of mini-GSM's.
    """
    first, *sentences = re.split(r"(?<=\.) ", question)[:-1] or [""]
    count = re.search(r"\bcounted (\d+)\b", first)
    if not count:
        raise ValueError(f"no sentence of mini-GSM at the start of the question {question[:60]!r}")
    return (int(count[1]), None), *(_quantity(sentence) for sentence in sentences)


def _quantity(sentence: str) -> tuple[int, Clause]:
    number, verb = re.search(r"\d+", sentence), _VERB.search(sentence)
    if not number or not (verb or re.search(r"(?i)\beach\b", sentence)):
        raise ValueError(f"{sentence[:60]!r} is not a sentence of mini-GSM")
    if not verb:
        return int(number[0]), EACH
    cues = (_SOMEBODY_ELSE, _BEFORE, _OTHER_THINGS)
    found = [s for s, cue in zip(SETTINGS[1:], cues, strict=True) if cue.search(sentence)]
    return int(number[0]), Clause(verb[0], *found[:1])
