"""strategy_use.py: the plan read from a solution, its accuracies, and whose plan it is."""

from dataclasses import replace

import pytest

from sgpo_mini.evaluation import Evaluation
from sgpo_mini.mini_gsm.plans import fitting_plans, true_plan
from sgpo_mini.mini_gsm.reading import read_quantities
from sgpo_mini.mini_gsm.strategy_use import (
    NO_FAMILY,
    NOT_FITTING,
    OTHER_QUANTITIES,
    OWN,
    UNREADABLE,
    Reading,
    family_signs,
    measure_use,
    plan_confusion,
    read_solution_plan,
    signs_of,
    whose_plan,
)
from sgpo_mini.mini_gsm.world import (
    FAMILIES,
    make_problems,
    plan_names,
    write_expert_solution,
    write_solution,
)
from sgpo_mini.problems import Problem

QUESTION = (
    "Anna opens 4 boxes. In each box there are 7 eggs. Anna finds 7 more eggs. "
    "How many eggs is that in all?"
)
APPLES = (
    "Anna has 27 eggs. Anna finds 4 more eggs. Anna finds 3 more eggs. "
    "How many eggs is that in all?"
)


def first_of_each_family(split: str) -> list[Problem]:
    return list({problem.family: problem for problem in make_problems(split)}.values())


def long_problem() -> Problem:
    return next(p for p in make_problems("test") if len(p.plan) == 3 and len(numbers(p)) == 4)


def numbers(problem: Problem) -> list[int]:
    return [number for number, _ in read_quantities(problem.question)]


def answers(problems, completions, correct) -> Evaluation:
    rows = tuple((completion,) for completion in completions)
    right = tuple((bool(value),) for value in correct)
    return Evaluation(tuple(problems), rows, right, tuple((False,) for _ in problems), False)


@pytest.mark.parametrize("split", ["test", "composed", "unseen", "reworded"])
def test_the_true_plan_is_read_from_both_forms_of_the_right_solution(split):
    for problem in first_of_each_family(split):
        assert read_solution_plan(problem.solution, problem) == Reading(problem.plan)
        assert read_solution_plan(problem.expert_solution, problem) == Reading(problem.plan)


def test_every_fitting_plan_is_read_as_what_it_is():
    """If two quantities have the same number, only the operations must be equal."""
    for problem in first_of_each_family("test"):
        family, given = FAMILIES[problem.family], tuple(numbers(problem))
        for plan in fitting_plans(family):
            for write in (write_solution, write_expert_solution):
                read = read_solution_plan(write(plan, given), problem).plan
                if len(set(given[1:])) == len(given[1:]):
                    assert read == plan_names(family, plan)
                else:
                    assert signs_of(read) == signs_of(plan_names(family, plan))


def test_a_wrong_result_is_calculation_and_not_plan():
    problem = long_problem()
    first, second, *rest = problem.solution.split("\n")
    expression, _, result = first.rpartition(" = ")
    wrong = str(int(result) + 1)
    slipped = "\n".join([f"{expression} = {wrong}", second.replace(result, wrong, 1), *rest])
    assert read_solution_plan(slipped, problem).plan == problem.plan
    # Continuing from a number other than the stated result uses a number that is not in the story.
    jumped = "\n".join([f"{expression} = {wrong}", second, *rest])
    assert read_solution_plan(jumped, problem) == Reading(None, NOT_FITTING)


def test_a_final_answer_that_contradicts_the_last_equation_is_calculation_and_not_plan():
    problem = long_problem()
    contradicted = problem.solution.rpartition("\n")[0] + "\n#### 99"
    use = measure_use(answers([problem], [contradicted], [False]))
    assert (use.plan_accuracy, use.calculation_accuracy) == (1, 0)


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text.replace("\n", "\n\n"),
        lambda text: "\n \n" + text,
        lambda text: text.replace(" = ", "  =  "),
        lambda text: text.replace(" = ", "="),
        lambda text: text.replace("\n", "  \n  ", 1),
    ],
)
def test_blank_lines_and_other_spaces_change_nothing(change):
    problem = long_problem()
    assert read_solution_plan(change(problem.solution), problem).plan == problem.plan


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda text: "#### 5", UNREADABLE),
        (lambda text: "", UNREADABLE),
        (lambda text: "I guess\n#### 5", UNREADABLE),
        (lambda text: "((((((" + text, UNREADABLE),
        (lambda text: "2 ** 99999 = 5\n" + text, UNREADABLE),
        (lambda text: "0 * (1 + 2) = 0", UNREADABLE),
        (lambda text: text.replace(" = ", f" = {'9' * 5000}", 1), UNREADABLE),
        (lambda text: text.replace("\n", "\n99 + 1 = 100\n", 1), NOT_FITTING),
        (lambda text: "\n".join([text.split("\n")[0]] * 2), NOT_FITTING),
    ],
)
def test_what_is_no_chain_of_the_storys_quantities_has_no_plan_and_a_reason(change, reason):
    problem = long_problem()
    assert read_solution_plan(change(problem.solution), problem) == Reading(None, reason)


def test_a_quantity_twice_or_of_no_story_is_distinguished_from_equations_that_are_no_chain():
    names = tuple(f"{c.operation} {c.role}" for _, c in read_quantities(APPLES)[1:])
    problem = Problem("x", APPLES, "31", plan=names)
    for solution in ("27 + 4 = 31\n31 + 4 = 35", "27 + 5 = 32", "27 + 4 = 31\n27 + 3 = 30"):
        assert read_solution_plan(solution, problem).reason == NOT_FITTING, solution
    for solution in ("27 + 4 = 31\nso 31 + 3 = 34", "4 + 27 = 31", "27 + 4 = 31\n3 + 31 = 34"):
        assert read_solution_plan(solution, problem).reason == UNREADABLE, solution


def test_of_two_equal_numbers_the_one_that_the_true_plan_uses_is_taken():
    (_, clause), *quantities = read_quantities(QUESTION)
    names = tuple(f"{c.operation} {c.role}" for _, c in quantities)
    problem = Problem("x", QUESTION, "35", plan=names)
    assert read_solution_plan("4 * 7 = 28\n28 + 7 = 35\n#### 35", problem).plan == names
    turned = replace(problem, plan=names[::-1])
    assert read_solution_plan("4 + 7 = 11\n11 * 7 = 77\n#### 77", turned).plan == names[::-1]


def test_what_solutions_did_and_calculation_are_counted_apart():
    problem = long_problem()
    signs = signs_of(problem.plan)
    family, given = FAMILIES[problem.family], tuple(numbers(problem))
    others = {
        signs_of(plan_names(family, plan)) == signs: write_solution(plan, given)
        for plan in fitting_plans(family)
        if plan != true_plan(family)
    }
    foreign = f"{given[0]} + 99 = 3\n#### 3"
    solutions = [problem.solution] * 3 + [others[False], foreign, foreign, "#### 1", "#### 1"]
    use = measure_use(answers([problem] * 8, solutions, [1, 1, 0, 0, 0, 0, 0, 0]))
    assert use.plan_accuracy == 3 / 8 and use.calculation_accuracy == 2 / 3
    assert use.other_operations == 1 / 8
    assert use.not_fitting == use.unreadable == 2 / 8
    other = measure_use(answers([problem], [others[False]], [0]))
    assert other.calculation_accuracy is None and other.other_quantities == 0


def test_families_can_be_left_out_and_nothing_left_is_refused():
    problems = first_of_each_family("test")
    run = answers(problems, [p.solution for p in problems], [1] * len(problems))
    assert measure_use(run, leave_out={problems[0].family}).plan_accuracy == 1
    with pytest.raises(ValueError, match="no solutions"):
        measure_use(run, leave_out={p.family for p in problems})
    with pytest.raises(ValueError, match="'p' has no plan"):
        measure_use(answers([Problem("p", QUESTION, "1")], ["#### 1"], [1]))


def two_finds() -> Problem:
    """Two quantities, one of which (the one lent, for example) is irrelevant to the question."""
    return next(p for p in make_problems("test") if p.family == "look_make")


def test_the_right_operations_on_other_quantities_are_not_the_familys_own_plan():
    problem = two_finds()
    start, *given = numbers(problem)
    true = int(problem.solution.split()[2])
    other = next(number for number in given if number != true)
    solution = f"{start} + {other} = {start + other}\n#### {start + other}"
    assert signs_of(read_solution_plan(solution, problem).plan) == family_signs()["look_make"]
    assert whose_plan(solution, problem) == OTHER_QUANTITIES
    use = measure_use(answers([problem], [solution], [0]))
    assert (use.plan_accuracy, use.other_quantities, use.other_operations) == (0, 1, 0)
    assert plan_confusion(answers([problem], [solution], [0])) == {
        "look_make": {OTHER_QUANTITIES: 1}
    }


def test_the_confusion_has_the_own_plan_only_where_it_is_the_true_one():
    problems = first_of_each_family("test")
    right = plan_confusion(answers(problems, [p.solution for p in problems], [1] * len(problems)))
    assert right == {p.family: {OWN: 1} for p in problems}


def test_the_confusion_counts_plans_of_others_by_their_operations():
    problems = first_of_each_family("test")
    signs = family_signs()
    find, lose = (next(p for p in problems if p.family == name) for name in ("find", "lose"))
    assert (signs["find"], signs["lose"]) == ("+", "−")
    subtracting = write_solution((("subtract", 0),), tuple(numbers(find)))
    counts = plan_confusion(
        answers([find, find, lose], [subtracting, "#### 1", lose.solution], [0] * 3)
    )
    assert counts == {"find": {"−": 1, UNREADABLE: 1}, "lose": {OWN: 1}}
    four = next(p for p in problems if len(numbers(p)) == 5)
    start, *given = numbers(four)
    nobodys = "\n".join(f"{start} / {number} = {start}" for number in given)
    assert signs_of(read_solution_plan(nobodys, four).plan) == "÷÷÷÷"
    assert plan_confusion(answers([four], [nobodys], [0])) == {four.family: {NO_FAMILY: 1}}
