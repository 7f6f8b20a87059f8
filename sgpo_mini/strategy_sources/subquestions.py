"""Strategies from the sub-questions of GSM8K's `socratic` configuration, with no model.

Each line of such a solution is "sub-question ** answer". The sub-question becomes a step after its
numbers and names are replaced by general words: "in 30 days" becomes "in the given days".
"""

import re

from ..problems import Problem
from ..strategies import Strategy, leaks
from .quantities import question_quantities

LONGEST = 5000  # characters; GSM8K's longest question or solution has 1,500

_KEPT = set(
    "Monday Tuesday Wednesday Thursday Friday Saturday Sunday January February March April May "
    "June July August September October November December I".split()
)
_NAME = re.compile(r"(?:(?:Mr|Mrs|Ms|Dr)\.? )?\b[A-Z][\w.&-]*(?: [A-Z][\w.&-]*)*('s|s')?")
_BEFORE_A_PERSON = set(
    "did does do has have had is are was were will would can could should must and or than that if "
    "for to by with from as how much many get give until when after before each both".split()
)
_AFTER_THE = r"(?:the|these|those|his|her|its|their|all|both|other|first|last|next|every|each|a|an)"


def strategy_from_subquestions(problem: Problem) -> Strategy:
    """The strategy that asks a socratic solution's sub-questions in general words.

    Raises ValueError with the reason if the solution has no sub-questions or one of them still
    leaks.
    """
    require_short(problem)
    lines = [line.partition(" ** ") for line in problem.solution.split("\n")]
    asked = [question.strip() for question, mark, _ in lines if mark and question.strip()]
    if not asked:
        raise ValueError(
            f"the solution of {problem.id} has no line 'sub-question ** answer'; "
            'load it with config="socratic"'
        )
    people = _people(problem, asked)
    steps = tuple(_step(question, people, problem) for question in asked)
    domain = _domain(problem, asked[-1])
    form = "a story in a single step" if len(steps) == 1 else "a story in several steps"
    approach = "answer the smaller questions in turn; the last answer is what is asked"
    strategy = Strategy(f"{form}, about {domain}", approach, steps)
    if found := leaks(strategy, problem):
        raise ValueError(f"the sub-questions of {problem.id} give {', '.join(found)} away")
    return strategy


def require_short(problem: Problem) -> None:
    """Raise ValueError if a question or solution has more than LONGEST characters.

    The readers try every position where an expression can start: 100 KB would take minutes.
    """
    if max(len(problem.question), len(problem.solution)) > LONGEST:
        raise ValueError(f"{problem.id} has more than {LONGEST} characters; shorten it")


def _people(problem: Problem, asked: list[str]) -> dict[str, str]:
    """The names of people in the sub-questions, in order, each with the words that replace it."""
    names: list[str] = []
    for question in asked:
        for match in _NAME.finditer(question):
            if match.start() and _role(question, match) == "person":
                names.append(match[0].removesuffix(match[1] or ""))
    names = list(dict.fromkeys(names))
    if len(names) == 1:
        return {names[0]: "the person"}
    orders = ["the first person", "the second person", "the third person"]
    return {name: orders[i] if i < 3 else "another person" for i, name in enumerate(names)}


def _role(question: str, match: re.Match[str]) -> str:
    """What a capitalised word is: "person", "place", "adjective", or "kept" as it is."""
    before = question[: match.start()].split()
    previous = before[-1].lower() if before else ""
    if previous in ("the", "a", "an") and len(before) > 1:
        previous = before[-2].lower()
    if match[0] in _KEPT or re.fullmatch(r"[A-Z&]{2,5}s?", match[0]):
        return "kept"
    if match[1]:
        return "person"
    if previous in ("in", "at", "on", "through", "of"):
        return "place"
    follows = re.match(r" [a-z]+", question[match.end() :])
    described = follows and previous not in _BEFORE_A_PERSON
    return "adjective" if described else "person"


def _step(question: str, people: dict[str, str], problem: Problem) -> str:
    def general(match: re.Match[str]) -> str:
        own = match[1] or ""
        name = match[0].removesuffix(own)
        if name in people:
            return people[name] + ("'s" if own else "")
        if not match.start():
            return match[0]
        role = _role(question, match)
        return {"kept": match[0], "place": "the place", "adjective": ""}.get(role, "the person")

    text = re.sub(
        r"\b(?:the|an?) (the|another) (?=person|place|first|second|third)",
        r"\1 ",
        _NAME.sub(general, question),
    )
    text = re.sub(r"\s+", " ", text).strip()
    for found in leaks(text, problem):
        text = _without(text, found)
    return text


def _without(text: str, quantity: str) -> str:
    """The text with a quantity replaced by general words."""
    exact = re.escape(quantity)
    if quantity.endswith("%") or quantity.endswith("cent"):
        return re.sub(exact, "the given percentage", text)
    if quantity.lower() == "one":
        text = re.sub(r"\b(each|every|no|any|which) one\b", r"\1 of them", text)
        return re.sub(rf"\b{exact}\b", "a single", text)
    text = re.sub(rf"\b({_AFTER_THE}) \$ ?{exact}(?= [a-z])", r"\1", text)  # "the $20 book"
    text = re.sub(rf"\$ ?{exact}(?!\d)", "the given amount", text)
    text = re.sub(rf"(?<![\w.]){exact}(?:st|nd|rd|th)\b", "given", text)
    text = re.sub(rf"\b({_AFTER_THE}) {exact}(?= [a-z])", r"\1", text)
    text = re.sub(rf"(?<![\w.]){exact}(?= times\b)", "the given number of", text)
    text = re.sub(rf"(?<![\w.]){exact}(?= ?-?[a-z])", "the given", text)
    return re.sub(rf"(?<![\w.]){exact}(?!\w)", "the given number", text)


def _domain(problem: Problem, asked: str) -> str:
    if re.search(r"\bHow old\b", asked):
        return "ages"
    if re.search(r"\b(?:how long|hours?|minutes?|days?|weeks?|months?|years?)\b", asked.lower()):
        return "time"
    if re.search(r"\b(?:how (?:far|tall|high|wide)|miles?|feet|meters?|pounds?)\b", asked.lower()):
        return "measures"
    if any(quantity.kind == "money" for quantity in question_quantities(problem.question)):
        return "money"
    return "quantities"
