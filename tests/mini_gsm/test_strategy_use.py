"""The plan that a solution follows, read from its lines."""

from dataclasses import replace

import pytest

from sgpo_mini.evaluation import Evaluation
from sgpo_mini.mini_gsm.plans import fitting_plans
from sgpo_mini.mini_gsm.reading import read_quantities
from sgpo_mini.mini_gsm.strategy_use import (
    IDLE_USED,
    KINDS,
    LEFT_OUT,
    NOT_FITTING,
    OWN,
    UNREADABLE,
    WRONG_OPERATION,
    measure_use,
    read_solution_plan,
    solutions,
    what_it_did,
)
from sgpo_mini.mini_gsm.world import (
    SPLITS,
    families_of,
    make_problems,
    plan_names,
    write_expert_solution,
    write_solution,
)
from sgpo_mini.problems import Problem

QUESTION = (
    "Anna counted 12 shells. Then Anna bought 5 shells. Anna later expanded the collection of "
    "shells to 2 times its size. A friend then sold 3 shells of their own. How many shells does "
    "Anna have now?"
)
PLAN = ("add the amount bought", "multiply the number of times expanded")
PROBLEM = Problem(id="p", question=QUESTION, answer="34", family="f", plan=PLAN)
LINES = (
    "Amount bought 5: 12 + 5 = 17",
    "Times expanded 2: 17 * 2 = 34",
    "Amount sold 3: no change",
    "#### 34",
)


def told(*lines):
    return "\n".join(lines)


@pytest.mark.parametrize("split", SPLITS)
def test_every_solution_of_the_world_follows_its_own_plan(split):
    for problem in make_problems(split):
        assert read_solution_plan(problem.solution, problem).plan == problem.plan
        assert what_it_did(problem.expert_solution, problem) == OWN


@pytest.mark.parametrize(
    ("completion", "did"),
    [
        (told(*LINES), OWN),
        (told(*LINES[:2]), OWN),  # no final line
        (told(*LINES[:3], "#### 99"), OWN),  # contradicts the equations: an arithmetic error
        (told("Amount bought 5: 12 + 5 = 16", "Times expanded 2: 16 * 2 = 33"), OWN),
        ("(12 + 5) * 2 = 34\n#### 34", OWN),
        ("12 + 5 = 17\n17 * 2 = 34", OWN),
        # "increased" is a verb that the student knows; the quantity is the same
        (told(LINES[0], "Times increased 2: 17 * 2 = 34"), OWN),
        (told("Amount bought 5: 12 - 5 = 7", "Times expanded 2: 7 * 2 = 14"), WRONG_OPERATION),
        ("12 * 2 = 24\n24 + 5 = 29", WRONG_OPERATION),  # another order
        (told(*LINES[:2], "Amount sold 3: 34 - 3 = 31"), IDLE_USED),
        (told(LINES[0], "Times expanded 2: no change", "#### 17"), LEFT_OUT),
        ("12 + 5 = 17\n17 - 3 = 14", IDLE_USED),  # also leaves one out: what it uses is told first
        ("12 + 7 = 19", NOT_FITTING),
        ("12 + 5 = 17\n17 + 5 = 22", NOT_FITTING),  # twice
        (told("Amount bought 5: no change", LINES[0]), NOT_FITTING),  # the line's quantity twice
        ("Amount bought 6: 12 + 6 = 18", NOT_FITTING),
        ("Amount bought 5: 12 + 3 = 15", NOT_FITTING),  # the line's label names another number
        ("13 + 5 = 18", NOT_FITTING),  # starts from a number of nowhere
        (told("Amount bought 5: 12 + 5 = 16", LINES[1]), NOT_FITTING),  # not from the stated 16
        ("5 + 12 = 17", NOT_FITTING),  # a chain starts from the amount counted
        ("12 + 5 = 17\nso 17 * 2 = 34", UNREADABLE),
        ("Add 5", UNREADABLE),
        ("", UNREADABLE),
        ("#### 34", UNREADABLE),
        (told("Amount bought 5: no change", "#### 12"), UNREADABLE),  # no step at all
        ("12 + (5 * 2) = 22", UNREADABLE),
    ],
)
def test_what_a_solution_did(completion, did):
    assert what_it_did(completion, PROBLEM) == did


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text.replace("\n", "\n\n"),
        lambda text: "\n \n" + text,
        lambda text: text.replace(" = ", "  =  "),
        lambda text: text.replace(" = ", "="),
        lambda text: text.replace(": ", ":"),
        lambda text: text.replace("\n", "  \n  ", 2),
    ],
)
def test_blank_lines_and_other_spaces_change_nothing(change):
    assert what_it_did(change(told(*LINES)), PROBLEM) == OWN
    assert what_it_did(change("12 + 5 = 17\n17 * 2 = 34\n#### 34"), PROBLEM) == OWN


def test_every_fitting_plan_is_read_as_what_it_is():
    """In both forms; if two quantities have the same number, the true plan decides in doubt."""
    for problem, family in zip(make_problems("test")[::6], families_of("test")[::6], strict=True):
        numbers = tuple(number for number, _ in read_quantities(problem.question))
        for plan in fitting_plans(family.shape):
            names, solution = plan_names(family, plan), write_solution(family, plan, numbers)
            assert read_solution_plan(solution, problem).plan == names
            read = read_solution_plan(write_expert_solution(plan, numbers), problem).plan
            if len(set(numbers[1:])) == len(numbers[1:]):
                assert read == names
            else:
                assert [s.split()[0] for s in read] == [way for way, _ in plan]


def test_a_number_that_the_story_has_twice_is_found_by_its_label_or_by_the_plan():
    twice = replace(PROBLEM, question=QUESTION.replace("sold 3", "sold 5"))
    assert what_it_did("12 + 5 = 17\n17 * 2 = 34", twice) == OWN
    assert what_it_did(told(*LINES[:2], "Amount sold 5: no change"), twice) == OWN
    used = told("Amount bought 5: no change", "Times expanded 2: 12 * 2 = 24")
    used = told(used, "Amount sold 5: 24 - 5 = 19")
    assert what_it_did(used, twice) == IDLE_USED


@pytest.mark.parametrize(
    "completion",
    [
        "1" * 10_000 + " + 5 = 17",
        "12" + " + 5" * 10_000 + " = 17",
        told(*["Amount bought 6: no change"] * 10_000),
        "A" + "a " * 50_000 + "5: 12 + 5 = 17",
        "12" + " " * 50_000 + "= 17",
        "12 - -5 = 17",
        "007 + 5 = 12",
        "Amount bought " + "9" * 5_000 + ": 12 + 5 = 17",
        "(" * 500 + "12" + ")" * 500 + " + 5 = 17",
        "12 ** 9 ** 9 ** 9 = 1",
        "12 // 5 = 2",
        "12 + 5 = " + "9" * 5_000,
        "__import__('os').getcwd() = 1",
        "\x00 12 + 5 = 17",
        "12 / 0 = 5",
        "٣ + ٥ = 8",
    ],
)
def test_a_hostile_completion_has_no_plan_and_costs_no_time(completion):
    assert what_it_did(completion, PROBLEM) in (NOT_FITTING, UNREADABLE)


def test_shares_add_up_and_arithmetic_is_counted_among_the_true_plans():
    wrong_sum = told("Amount bought 5: 12 + 5 = 18", "Times expanded 2: 18 * 2 = 36", "#### 36")
    completions = (told(*LINES), wrong_sum, "12 + 5 = 17\n#### 17", "Hm.")
    evaluation = Evaluation(
        problems=(PROBLEM,),
        completions=(completions,),
        correct=((True, False, False, False),),
        truncated=((False,) * 4,),
        guided=False,
    )
    use = measure_use(evaluation)
    assert list(use.shares) == list(KINDS) and sum(use.shares.values()) == 1
    assert use.plan_accuracy == use.shares[OWN] == 0.5
    assert use.shares[LEFT_OUT] == use.shares[UNREADABLE] == 0.25
    assert use.calculation_accuracy == 0.5
    assert [did for _, did, _ in solutions(evaluation)] == [OWN, OWN, LEFT_OUT, UNREADABLE]
    none = replace(evaluation, completions=(("Hm.",),), correct=((False,),))
    assert measure_use(none).calculation_accuracy is None


def test_other_problems_are_refused():
    with pytest.raises(ValueError, match="'p' has no plan to compare with"):
        what_it_did("1", replace(PROBLEM, plan=()))
    with pytest.raises(ValueError, match="no sentence of mini-GSM"):
        read_solution_plan("1", replace(PROBLEM, question="What is 1 + 1?"))
    with pytest.raises(ValueError, match="there are no solutions"):
        measure_use(Evaluation((), (), (), (), False))
