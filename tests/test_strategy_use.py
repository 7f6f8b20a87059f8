"""strategy_use.py: the plan read from a solution, its accuracies, and whose plan it is."""

from dataclasses import replace

import pytest

from sgpo_mini.evaluation import Evaluation
from sgpo_mini.mini_gsm import (
    FAMILIES,
    fitting_plans,
    make_problems,
    plan_names,
    read_quantities,
    true_plan,
    write_expert_solution,
    write_solution,
)
from sgpo_mini.problems import Problem
from sgpo_mini.strategy_use import (
    ANOTHER,
    UNREADABLE,
    family_plans,
    measure_use,
    plan_confusion,
    read_solution_plan,
    signs_of,
)

QUESTION = (
    "Anna opens 4 boxes. In each box there are 7 eggs. Anna finds 7 more eggs. "
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
        assert read_solution_plan(problem.solution, problem) == problem.plan
        assert read_solution_plan(problem.expert_solution, problem) == problem.plan


def test_every_fitting_plan_is_read_as_what_it_is():
    """Where two quantities have one number, at least as a plan of the same operations."""
    for problem in first_of_each_family("test"):
        family, given = FAMILIES[problem.family], tuple(numbers(problem))
        for plan in fitting_plans(family):
            for write in (write_solution, write_expert_solution):
                read = read_solution_plan(write(plan, given), problem)
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
    assert read_solution_plan(slipped, problem) == problem.plan
    # Going on from another number than the one stated is no chain.
    assert (
        read_solution_plan("\n".join([f"{expression} = {wrong}", second, *rest]), problem) is None
    )


@pytest.mark.parametrize(
    "change",
    [
        lambda text: "#### 5",
        lambda text: "",
        lambda text: "I guess\n#### 5",
        lambda text: text.replace("\n", "\n99 + 1 = 100\n", 1),
        lambda text: "\n".join([text.split("\n")[0]] * 2),
        lambda text: "((((((" + text,
        lambda text: "2 ** 99999 = 5\n" + text,
        lambda text: "0 * (1 + 2) = 0",
    ],
)
def test_what_is_no_chain_of_the_storys_quantities_has_no_plan(change):
    problem = long_problem()
    assert read_solution_plan(change(problem.solution), problem) is None


def test_of_two_equal_numbers_the_one_that_the_true_plan_uses_is_taken():
    (_, clause), *quantities = read_quantities(QUESTION)
    names = tuple(f"{c.operation} {c.role}" for _, c in quantities)
    problem = Problem("x", QUESTION, "35", plan=names)
    assert read_solution_plan("4 * 7 = 28\n28 + 7 = 35\n#### 35", problem) == names
    turned = replace(problem, plan=names[::-1])
    assert read_solution_plan("4 + 7 = 11\n11 * 7 = 77\n#### 77", turned) == names[::-1]


def test_plan_and_calculation_accuracy_are_counted_apart():
    problem = long_problem()
    wrong_plan = next(
        plan for plan in fitting_plans(FAMILIES[problem.family])
        if plan != true_plan(FAMILIES[problem.family])
    )  # fmt: skip
    other = write_solution(wrong_plan, tuple(numbers(problem)))
    solutions = [problem.solution] * 3 + [other, "#### 1"]
    use = measure_use(answers([problem] * 5, solutions, [1, 1, 0, 0, 0]))
    assert use.plan_accuracy == 3 / 5
    assert use.calculation_accuracy == 2 / 3
    assert use.unreadable == 1 / 5
    assert measure_use(answers([problem], [other], [0])).calculation_accuracy is None


def test_families_can_be_left_out_and_nothing_left_is_refused():
    problems = first_of_each_family("test")
    run = answers(problems, [p.solution for p in problems], [1] * len(problems))
    assert measure_use(run, leave_out={problems[0].family}).plan_accuracy == 1
    with pytest.raises(ValueError, match="no solutions"):
        measure_use(run, leave_out={p.family for p in problems})
    with pytest.raises(ValueError, match="'p' has no plan"):
        measure_use(answers([Problem("p", QUESTION, "1")], ["#### 1"], [1]))


def test_the_confusion_counts_plans_by_their_operations():
    problems = first_of_each_family("test")
    own = family_plans()
    right = plan_confusion(answers(problems, [p.solution for p in problems], [1] * len(problems)))
    assert right == {p.family: {own[p.family]: 1} for p in problems}

    find, lose = (next(p for p in problems if p.family == name) for name in ("find", "lose"))
    assert (own["find"], own["lose"]) == ("+", "−")
    subtracting = write_solution((("subtract", 0),), tuple(numbers(find)))
    counts = plan_confusion(
        answers([find, find, lose], [subtracting, "#### 1", lose.solution], [0] * 3)
    )
    assert counts == {"find": {"−": 1, UNREADABLE: 1}, "lose": {"−": 1}}
    start, change = numbers(find)
    (row,) = plan_confusion(answers([find], [f"{start} / {change} = 1\n#### 1"], [0])).values()
    assert row == {"÷" if "÷" in own.values() else ANOTHER: 1}
