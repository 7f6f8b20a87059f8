"""Names for the results of steps, chosen by the words of the solution around each equation."""

import re
from collections.abc import Sequence

from .equations import Equation
from .nouns import kind_of, noun_beside, noun_phrase
from .operands import Step
from .step_forms import RESULTS

# One row a name, the most specific first: the result's kind ("*": any), its operations ("": any),
# a pattern for the solution's sentence, and the name ({}: what is counted).
_TOTAL = r"\b(?:total|altogether|in all|combined|together)\b"
_SPENT = r"\b(?:spen[dt]\w*|costs?|pa(?:y|ys|id|ying)|prices?|priced|bill|expenses?)\b"
_EARNED = r"\b(?:earn\w*|income|salary|revenue|wages?|sales|made|makes?|making|raised?|sold)\b"
_SENSES = [
    ("money", "", r"\bprofits?\b", "the profit"),
    ("money", "", r"\bdiscount", "the discount"),
    ("money", "", r"\btax(?:es)?\b", "the tax"),
    ("money", "", r"\btip(?:s|ped)?\b", "the tip"),
    ("money", "", r"\bcommission", "the commission"),
    ("money", "", r"\binterest\b", "the interest"),
    ("money", "subtract", r"\b(?:left|remain\w*|still)\b", "the money left"),
    ("money", "subtract", r"\bchange\b", "the change"),
    ("money", "subtract", r"\b(?:more|less|difference|cheaper)\b", "the difference in money"),
    ("money", "", r"\bsav(?:e|es|ed|ing|ings)\b", "the money saved"),
    ("money", "add multiply", rf"{_TOTAL}.*{_SPENT}|{_SPENT}.*{_TOTAL}", "the total cost"),
    ("money", "add multiply", rf"{_TOTAL}.*{_EARNED}|{_EARNED}.*{_TOTAL}", "the total earned"),
    ("money", "", _SPENT, "the cost"),
    ("money", "", _EARNED, "the money earned"),
    ("money", "add multiply", _TOTAL, "the total money"),
    ("age", "", "", "the age"),
    ("*", "subtract", r"\b(?:left|remain\w*|still)\b", "the {} left"),
    ("*", "subtract", r"\b(?:more|fewer|less|difference|\w+er than)\b", "the difference in the {}"),
    ("*", "add multiply", _TOTAL, "the total {}"),
    ("*", "divide", r"\b(?:average|mean)\b", "the average {}"),
    ("*", "", r"\bneed\w*\b", "the {} needed"),
    ("*", "divide", r"\b(?:per|each|every)\b", "the {} for each"),
    ("*", "", "", "the resulting {}"),
]
_ASIDE = re.compile(  # "after the discount" does not make the result a discount
    r"\b(?:after|without|before|with|including|plus|minus|excluding) (?:\w+ ){0,2}?"
    r"(?:discount|tax|tip|commission|interest)\w*"
)


def name_result(equation: Equation, operation: str) -> tuple[str, str, str]:
    """The general name of an equation's result, its kind, and its name with the solution's noun."""
    after = re.sub(r"^\s*-?\$?[\d,.]*\d\s*", "", equation.after)
    sentence = re.split(r"(?<=[.;])\s", equation.before)[-1] + " " + re.split(r"[.;]\s", after)[0]
    sentence = _ASIDE.sub("", sentence.lower())
    noun = noun_phrase(after)[0] or noun_beside(equation.value, equation.before)
    stated = rf"\$\s*$|\$ ?{equation.value}(?!\d)"  # "She paid $12 because 3*4=12"
    own = ""
    if equation.after.lstrip().startswith("$") or re.search(stated, equation.before):
        kind, counted = "money", "the amount of money"
    elif re.match(r"%|per ?cent", after):
        kind, counted = "percentage", "the percentage"
    elif re.match(r"years?[ -]old", after):
        kind, counted = "age", "the age"
    elif noun:
        kind, counted = kind_of(noun)
        own = f"number of {noun}" if kind in ("items", "people") else ""
    else:
        plain = f"the {RESULTS[operation]}"
        return plain, "", plain
    name = next(
        name
        for kinds, operations, words, name in _SENSES
        if kinds in ("*", kind)
        and (not operations or operation in operations)
        and re.search(words, sentence)
    )
    counted = counted.removeprefix("the ")
    return name.format(counted), kind, name.format(own or counted)


def distinct_names(steps: Sequence[Step], problem_id: str) -> list[str]:
    """A distinct name for each step's result: equal ones get the solution's noun, then a letter.

    Raises ValueError if a name is needed more than 26 times.
    """
    general = [step.result for step in steps]
    bases = [s.specific if general.count(s.result) > 1 else s.result for s in steps]
    names, seen = [], {}
    for base in bases:
        seen[base] = seen.get(base, -1) + 1
        if seen[base] > 25:
            raise ValueError(f"the solution of {problem_id} has too many steps of one kind")
        letter = f" {chr(ord('A') + seen[base])}" if bases.count(base) > 1 else ""
        names.append(f"{base}{letter}")
    return names
