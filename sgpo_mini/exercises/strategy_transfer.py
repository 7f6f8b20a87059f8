"""The checks of notebook 08: reading the plan of a completion, and a nearly correct control."""

from collections.abc import Callable

from ..mini_gsm.chains import true_plan
from ..mini_gsm.plans import fitting_plans
from ..mini_gsm.reading import read_plan, read_quantities
from ..mini_gsm.strategy_use import IDLE_USED, LEFT_OUT, NOT_FITTING, OWN, what_it_did
from ..mini_gsm.world import families_of
from ..problems import Problem
from .checking import Wrong, answer_of, exercise, shortened

_WORDS = {OWN: "own", IDLE_USED: "idle used", LEFT_OUT: "left out", NOT_FITTING: "not fitting"}
_OTHER = "wrong operation"
_SIGNS = {"add": "+", "subtract": "−", "multiply": "×", "divide": "÷"}
_OPERATORS = {"+": "+", "−": "-", "×": "*", "÷": "/"}
STORY = (
    "Anna counted 4 boxes. Each box held 7 shells. Then Anna bought 9 shells. A friend then won 3 "
    "shells for themselves. Anna later sold 5 shells. How many shells does Anna have now?"
)

# Completions for this story (× + −, and the 3 plays no part), each with a hint on the likeliest
# mistake.
_SOLUTIONS = (
    ("the true plan", [(4, "×", 7, 28), (28, "+", 9, 37), (37, "−", 5, 32)],
     "operations, quantities and order match the plan"),
    ("the true plan with a slip", [(4, "×", 7, 27), (27, "+", 9, 36), (36, "−", 5, 31)],
     "a wrong result is an error of calculation, not of the plan: continue from what is written"),
    ("the right answer in another order", [(4, "×", 7, 28), (28, "−", 5, 23), (23, "+", 9, 32)],
     "the order counts, and a correct answer does not prove the plan"),
    ("another operation", [(4, "×", 7, 28), (28, "+", 9, 37), (37, "+", 5, 42)],
     "compare the operations too"),
    ("a sentence that plays no part", [(4, "×", 7, 28), (28, "+", 9, 37), (37, "+", 3, 40),
                                       (40, "−", 5, 35)],
     "what the friend did is no step of the plan"),
    ("a step left out", [(4, "×", 7, 28), (28, "+", 9, 37)],
     "the beginning of a plan is not the whole plan"),
    ("one in place of another", [(4, "×", 7, 28), (28, "+", 9, 37), (37, "−", 3, 34)],
     "a sentence that plays no part is used; that one is left out too comes second"),
    ("a quantity used twice", [(4, "×", 7, 28), (28, "+", 9, 37), (37, "−", 9, 28)],
     "each quantity of the story can be used once"),
    ("a step too many", [(4, "×", 7, 28), (28, "+", 9, 37), (37, "−", 5, 32), (32, "+", 5, 37)],
     "each quantity of the story can be used once"),
    ("a number from nowhere", [(4, "×", 7, 28), (28, "+", 10, 38), (38, "−", 5, 33)],
     "10 is not a number of the story"),
    ("another start", [(5, "×", 7, 35), (35, "+", 9, 44), (44, "−", 5, 39)],
     "the first line must begin with the story's first number"),
    ("a line that does not go on", [(4, "×", 7, 28), (27, "+", 9, 36), (36, "−", 5, 31)],
     "each line must begin with the result of the line before"),
)  # fmt: skip


@exercise
def check_plan_reader(function: Callable) -> str:
    """Exercise: what a completion did, `f(lines, numbers, plan)`.

    `lines` are (first number, sign, second number, result); `numbers` are the story's numbers by
    role, the count first; `plan` is [(sign, role)].
    """
    (count, _), *others = read_quantities(STORY)
    numbers = {"the count": count, **{clause.role: number for number, clause in others}}
    problem = Problem(id="story", question=STORY, answer="32", plan=read_plan(STORY))
    steps = [step.partition(" ") for step in problem.plan]
    plan = [(_SIGNS[operation], role) for operation, _, role in steps]
    for about, lines, why in _SOLUTIONS:
        text = [f"{a} {_OPERATORS[sign]} {b} = {result}" for a, sign, b, result in lines]
        did = what_it_did("\n".join([*text, f"#### {lines[-1][3]}"]), problem)
        expected = _WORDS.get(did, _OTHER)
        call = f"f(...) for {about} ({', '.join(text)})"
        answer = answer_of(function, call, list(lines), dict(numbers), list(plan))
        if not isinstance(answer, str) or answer not in {*_WORDS.values(), _OTHER}:
            raise Wrong(f"{call} returned {shortened(answer)}, which is none of the five words")
        if answer != expected:
            raise Wrong(f"{call} is {expected!r}, not {answer!r}; {why}")
    return "it reads the plan, and neither a slip nor a correct answer misleads it"


@exercise
def check_near_miss(function: Callable) -> str:
    """Exercise: a plan that fits the story and differs from its own plan in only one operation.

    `f(own, fitting)`; a plan is a tuple of (operation, position of the quantity).
    """
    for family in families_of("test")[:120:10]:
        own = true_plan(family)
        for fitting in (fitting_plans(family.shape), fitting_plans(family.shape)[::-1]):
            call = f"f(own, fitting) for {family.name!r}"
            given = answer_of(function, call, own, list(fitting))
            try:
                plan = tuple((operation, place) for operation, place in given)
            except Exception:
                raise Wrong(f"{call} returned {shortened(given)}, which is not a plan") from None
            if plan in fitting and _turned(own, plan) == 1:
                continue
            shown = f"{call} returned {shortened(plan)}"
            if plan == own:
                raise Wrong(f"{shown}, which is the story's own plan and so no control")
            if plan not in fitting:
                raise Wrong(f"{shown}, which does not fit the story: choose from `fitting`")
            if [place for _, place in plan] != [place for _, place in own]:
                raise Wrong(f"{shown}; its own is {own}: keep all its quantities, in their order")
            raise Wrong(f"{shown}; its own is {own}: change only one operation")
    return "one operation is wrong, and only the story shows which"


def _turned(own: tuple, other: tuple) -> int | None:
    """The number of operations in which two plans differ; None if their quantities differ."""
    if [place for _, place in own] != [place for _, place in other]:
        return None
    return sum(a != b for (a, _), (b, _) in zip(own, other, strict=True))
