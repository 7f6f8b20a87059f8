"""Reading a story by rule: the quantities of a question and its true plan, from the words alone.

That such a rule exists is what makes the right answer learnable.
"""

import re
from functools import cache

from .stories import CLAUSES, ITEMS, NAMES, Clause

_NO_STEP = ("start", "ignore")  # operations of clauses that are not a step of the plan


@cache
def _patterns() -> list[tuple[Clause, re.Pattern[str]]]:
    slots = {r"\{n\}": "(?:" + "|".join(NAMES) + ")", r"\{q\}": r"(\d+)"}
    slots[r"\{x\}"] = "(?:" + "|".join(ITEMS) + ")"
    patterns = []
    for clause in CLAUSES.values():
        for wording in clause.wordings:
            pattern = re.escape(wording)
            for slot, choices in slots.items():
                pattern = pattern.replace(slot, choices)
            patterns.append((clause, re.compile(r"(?:^|(?<=[.?)] ))" + pattern + r"(?= |$)")))
    return patterns


def read_plan(question: str) -> tuple[str, ...]:
    """The true plan of a mini-GSM question, in the form of `Problem.plan`.

    Each sentence identifies one clause, and the clause has one operation or none. The order of the
    clauses is the order of the plan. Raises ValueError if no sentence of the question is one of
    mini-GSM's.
    """
    clauses = [clause for _, clause in read_quantities(question)]
    return tuple(f"{c.operation} {c.role}" for c in clauses if c.operation not in _NO_STEP)


def read_quantities(question: str) -> tuple[tuple[int, Clause], ...]:
    """The numbers of a mini-GSM question in the order told, each with its clause, the start first.

    Raises ValueError if no sentence of the question is one of mini-GSM's.
    """
    found: dict[int, tuple[int, Clause]] = {}
    for clause, pattern in _patterns():
        for match in pattern.finditer(question):
            found[match.start()] = (int(match[1]), clause)
    if not found:
        raise ValueError(f"no sentence of mini-GSM in the question {question[:60]!r}")
    return tuple(found[position] for position in sorted(found))
