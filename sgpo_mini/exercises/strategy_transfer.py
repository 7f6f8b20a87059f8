"""The checks of notebook 08: reading the plan of a completion, and a nearly correct control."""

from collections.abc import Callable

from ..mini_gsm.plans import fitting_plans, true_plan
from ..mini_gsm.reading import read_quantities
from ..mini_gsm.strategy_use import NOT_FITTING, OTHER_QUANTITIES, OWN, SIGNS, whose_plan
from ..mini_gsm.world import FAMILIES, make_problems
from .checking import Wrong, answer_of, exercise, shortened

_WORDS = {OWN: "own", OTHER_QUANTITIES: "other quantities", NOT_FITTING: "not fitting"}
_OPERATORS = {"+": "+", "−": "-", "×": "*", "÷": "/"}

# Completions for one story (12 shelves of 7, 9 more, 4 given away: × + −), each with a hint on the
# likeliest mistake.
_SOLUTIONS = (
    ("the true plan", [(12, "×", 7, 84), (84, "+", 9, 93), (93, "−", 4, 89)],
     "operations, quantities and order match the plan"),
    ("the true plan with a slip", [(12, "×", 7, 86), (86, "+", 9, 95), (95, "−", 4, 91)],
     "a wrong result is an error of calculation, not of the plan: continue from what is written"),
    ("the right answer in another order", [(12, "×", 7, 84), (84, "−", 4, 80), (80, "+", 9, 89)],
     "the order counts, and a correct answer does not prove the plan"),
    ("two quantities exchanged", [(12, "×", 7, 84), (84, "+", 4, 88), (88, "−", 9, 79)],
     "the operations are the same, but not their quantities"),
    ("another operation", [(12, "×", 7, 84), (84, "+", 9, 93), (93, "+", 4, 97)],
     "compare the operations too"),
    ("a step left out", [(12, "×", 7, 84), (84, "+", 9, 93)],
     "the beginning of a plan is not the whole plan"),
    ("a quantity used twice", [(12, "×", 7, 84), (84, "+", 9, 93), (93, "−", 9, 84)],
     "each quantity of the story can be used once"),
    ("a step too many", [(12, "×", 7, 84), (84, "+", 9, 93), (93, "−", 4, 89), (89, "+", 4, 93)],
     "each quantity of the story can be used once"),
    ("a number from nowhere", [(12, "×", 7, 84), (84, "+", 10, 94), (94, "−", 4, 90)],
     "10 is not a number of the story"),
    ("another start", [(11, "×", 7, 77), (77, "+", 9, 86), (86, "−", 4, 82)],
     "the first line must begin with the story's first number"),
    ("a line that does not go on", [(12, "×", 7, 84), (80, "+", 9, 89), (89, "−", 4, 85)],
     "each line must begin with the result of the line before"),
)  # fmt: skip


@exercise
def check_plan_reader(function: Callable) -> str:
    """Exercise: whose plan a completion follows, `f(lines, numbers, plan)`.

    `lines` are (first number, sign, second number, result); `numbers` are the story's numbers by
    role, its start first; `plan` is [(sign, role)].
    """
    of_kind = [p for p in make_problems("validation") if p.family == "shelf_get_give"]
    told = {p.id: read_quantities(p.question) for p in of_kind}
    problem = next(p for p in of_kind if [q for q, _ in told[p.id]] == [12, 7, 9, 4])
    numbers = {clause.role: number for number, clause in told[problem.id]}
    steps = [step.partition(" ") for step in problem.plan]
    plan = [(SIGNS[operation], role) for operation, _, role in steps]
    for about, lines, why in _SOLUTIONS:
        text = [f"{a} {_OPERATORS[sign]} {b} = {result}" for a, sign, b, result in lines]
        did = whose_plan("\n".join([*text, f"#### {lines[-1][3]}"]), problem)
        expected = _WORDS.get(did, "other operations")
        call = f"f(...) for {about} ({', '.join(text)})"
        answer = answer_of(function, call, list(lines), dict(numbers), list(plan))
        if not isinstance(answer, str) or answer not in {*_WORDS.values(), "other operations"}:
            raise Wrong(f"{call} returned {shortened(answer)}, which is none of the four words")
        if answer != expected:
            raise Wrong(f"{call} is {expected!r}, not {answer!r}; {why}")
    return "it reads the plan, and neither a slip nor a correct answer misleads it"


@exercise
def check_near_miss(function: Callable) -> str:
    """Exercise: a plan that fits the story and differs from its own plan in only one operation.

    `f(own, fitting)`; a plan is a tuple of (operation, position of the quantity), and () stands for
    no such plan.
    """
    for name in ("share", "pack", "look_make", "buy_use", "pick_throw_part", "four_changes"):
        family = FAMILIES[name]
        own = true_plan(family)
        for fitting in (fitting_plans(family), fitting_plans(family)[::-1]):
            call = f"f(own, fitting) for {name!r}"
            given = answer_of(function, call, own, list(fitting))
            try:
                plan = tuple((operation, place) for operation, place in given)
            except Exception:
                raise Wrong(f"{call} returned {shortened(given)}, which is not a plan") from None
            near = [other for other in fitting if _turned(own, other) == 1]
            if plan in near or (not near and plan == ()):
                continue
            shown = f"{call} returned {shortened(plan)}"
            if not near:
                raise Wrong(f"{shown}; no other plan fits this story: return ()")
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
