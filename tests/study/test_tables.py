"""tables.py and what is measured of a run: what a row trains on, and two methods side by side."""

import json
from dataclasses import replace

import pytest
import torch

from sgpo_mini.evaluation import Evaluation
from sgpo_mini.mini_gsm.grammar import EACH
from sgpo_mini.mini_gsm.strategy_use import KINDS, OWN, UNREADABLE
from sgpo_mini.mini_gsm.world import CONTROL, DATA, TRANSFER_SPLITS, families_of, make_problems
from sgpo_mini.strategy_sources.controls import half_of_the_strategies
from sgpo_mini.study.figures import accuracy_by_verb, accuracy_curve, curves_of
from sgpo_mini.study.main_job import summary
from sgpo_mini.study.packed_runs import PackedRun
from sgpo_mini.study.rows import EVALUATED, ROWS, config_of
from sgpo_mini.study.sampled import SAMPLES, measure_sampled, solution_probabilities
from sgpo_mini.study.strategy_use_table import shares_of, use_section
from sgpo_mini.study.tables import (
    by_family,
    by_step,
    ceilings_of,
    chance_of,
    compared,
    outcome_table,
    ratio_table,
    step_table,
    table,
    transfer_ratios,
)
from sgpo_mini.study.worlds import problems_in, training_problems

torch.set_num_threads(1)


def played_run(right) -> PackedRun:
    """A run whose answers to a problem are right if `right(split, number of its family)`."""
    answers, sampled = {}, {}
    for split in EVALUATED:
        problems = make_problems(split)
        numbers = {family.name: n for n, family in enumerate(families_of(split))}
        told = [right(split, numbers[problem.family]) for problem in problems]
        for guided in (False, True):
            answers[split, guided] = Evaluation(
                problems=problems,
                completions=tuple(("",) for _ in problems),
                correct=tuple((guided or value,) for value in told),
                truncated=tuple((False,) for _ in problems),
                guided=guided,
            )
        sampled[split] = {
            "right": [value * (SAMPLES - 1) for value in told],
            "true plan": [0.625 if value else 0.125 for value in told],
        }
    share = sum(right("validation", number) for number in range(100)) / 100
    metrics = [{"step": 1}, {"step": 2, "validation_accuracy": share}]
    return PackedRun({"config": {"early_stop": 0}}, metrics, answers, sampled)


@pytest.fixture(scope="module")
def played():
    """GRPO is right on every fourth family, SGPO on every second and all of `composed`."""
    runs = {
        "base": lambda split, number: False,
        "grpo": lambda split, number: number % 4 == 0,
        "sgpo": lambda split, number: number % 2 == 0 or split == "composed",
    }
    return {name: played_run(right) for name, right in runs.items()}


def both(played):
    """Two equal seeds of each method."""
    return {name: [played[name]] * 2 for name in ("grpo", "sgpo")}


def test_a_family_counts_once_in_each_measure(played):
    run = played["grpo"]
    assert set(by_family(run, "composed", "greedy").values()) == {0.0, 1.0}
    assert set(by_family(run, "composed", "sampled").values()) == {0.0, (SAMPLES - 1) / SAMPLES}
    assert set(by_family(run, "composed", "true plan").values()) == {0.125, 0.625}
    assert set(by_family(run, "composed", "guided").values()) == {1.0}
    assert len(by_family(run, "composed", "greedy")) == len(families_of("composed"))


def test_differences_by_hand(played):
    rows = {(row["split"], row["measure"]): row for row in compared(both(played), played["base"])}
    row = rows["new_pairs", "greedy"]
    assert (row["base"], row["grpo"], row["sgpo"]) == (0.0, [0.25, 0.25], [0.5, 0.5])
    assert row["difference"] == 0.25 and row["over seeds"] == (0.25, 0.25)
    low, high = row["over families"]
    assert 0.15 < low < 0.25 < high < 0.35
    assert row["without the best two"] == pytest.approx(23 / 98)
    assert rows["composed", "greedy"]["difference"] == 0.75
    assert rows["composed", "guided"]["difference"] == 0.0
    assert rows["new_pairs", "true plan"]["difference"] == pytest.approx(0.25 * 0.5)
    assert 1 / 80 <= rows["composed", "greedy"]["chance"] <= 1 / 26


def test_a_transfer_ratio_is_the_gain_over_the_gain_on_test(played):
    ratios = transfer_ratios(compared(both(played), played["base"]))
    assert list(ratios) == ["grpo", "sgpo"] and set(ratios["sgpo"]) == set(TRANSFER_SPLITS)
    assert ratios["grpo"]["composed"] == pytest.approx([1.0, 1.0])
    assert ratios["sgpo"]["composed"] == pytest.approx([2.0, 2.0])
    assert ratios["sgpo"]["longer"] == pytest.approx([1.0, 1.0])
    assert ratio_table(ratios).splitlines()[-1].startswith("| sgpo | 2.00 (2.00 to 2.00) |")


def test_a_table_shows_chance_and_ceiling(played):
    told = table(compared(both(played), played["base"]), "greedy", {"composed": 0.987}).splitlines()
    (line,) = (line for line in told if "`composed`" in line)
    cells = [cell.strip() for cell in line.split("|")[1:-1]]
    assert cells[0] == "`composed` (100)" and 1.2 <= float(cells[1]) <= 3.8
    assert cells[2:5] == ["0.0", "25.0", "100.0"]
    assert cells[5] == "+75.0 (+75.0 to +75.0)" and cells[7] == "98.7"
    assert "—" in next(line for line in told if "`unseen`" in line)


def test_accuracy_by_step_has_the_measured_steps_alone(played):
    found = by_step(both(played))
    assert found == {"grpo": {2: [0.25, 0.25]}, "sgpo": {2: [0.5, 0.5]}}
    assert step_table(found).splitlines()[-1] == "| 2 | 25.0 | 50.0 | +25.0 (+25.0 to +25.0) |"


def test_with_one_seed_the_interval_of_a_difference_is_over_families(played):
    one = {name: [played[name]] for name in ("grpo", "sgpo")}
    rows = compared(one, played["base"])
    assert {row["over seeds"] for row in rows} == {None}
    head, _, *lines = table(rows, "greedy").splitlines()
    assert "sgpo - grpo, over families" in head
    (line,) = (line for line in lines if "`new_pairs`" in line)
    assert line.split("|")[6].startswith(" +25.0 (+1")


def test_rows_read_back_from_json_make_the_same_tables_and_sentence(played):
    one = {name: [played[name]] for name in ("grpo", "sgpo")}
    for runs in (both(played), one):
        rows = compared(runs, played["base"])
        read = json.loads(json.dumps(rows))
        assert outcome_table(read, {}) == outcome_table(rows, {})
        assert summary(read) == summary(rows) and transfer_ratios(read) == transfer_ratios(rows)


def test_the_table_of_the_main_job_has_at_most_eight_rows_and_guided_last(played):
    told = outcome_table(compared(both(played), played["base"]), ceilings_of("tiny")["greedy"])
    head, _, *lines = told.splitlines()
    assert len(lines) <= 8 and "validation" not in told
    assert [line.split("`")[1] for line in lines] == [*EVALUATED[1:], "test"]
    assert lines[-1].startswith("| `test`, with the strategy (360) | 3.8 | 100.0 |")
    assert lines[-1].endswith("| — |") and lines[0].endswith("| 99.4 |")
    assert ceilings_of("runs/another") == {}


def test_chance_is_that_of_a_plan_drawn_from_those_that_fit():
    """26 plans of three clauses, 27 after boxes; 80 of four clauses, 8 of two, 2 of one."""
    boxes = sum(EACH in family.clauses for family in families_of("test"))
    assert chance_of("test") == pytest.approx((boxes / 27 + (360 - boxes) / 26) / 360)
    assert chance_of("longer") == pytest.approx(1 / 80)
    assert chance_of("easy") == pytest.approx(1 / 8)
    assert chance_of("sure_and_wrong") == pytest.approx(1 / 2)


def sentence(test, transfer, seeds=2, unseen=(-1, 1)):
    """The summary where SGPO minus GRPO is `test`, a (difference, interval), on `test`.

    On `composed` and `unseen` the intervals are `transfer` and `unseen`, elsewhere (-1, 1).
    """
    rows = [
        {"split": split, "measure": "greedy", "chance": 0.04, "base": 0.1}
        | {"grpo": [0.5] * seeds, "sgpo": [0.5 + gap[0]] * seeds, "difference": gap[0]}
        | {"over seeds": gap[1] if seeds > 1 else None, "over families": gap[1]}
        for split, gap in {**dict.fromkeys(TRANSFER_SPLITS, (0.0, (-1, 1))), "test": test}.items()
    ]
    for place, interval in ((0, transfer), (TRANSFER_SPLITS.index("unseen"), unseen)):
        seeds_of = interval if seeds > 1 else None
        rows[place] |= {"over seeds": seeds_of, "over families": interval}
    return summary(rows)


def test_the_first_sentence_says_what_the_table_shows():
    above, open_, below = (0.1, (0.05, 0.15)), (0.1, (-0.1, 0.3)), (-0.1, (-0.2, -0.05))
    told = sentence(above, (0.1, 0.2))
    assert "solves 10.0 % of `test`, where chance is 4.0 %; after GRPO 50.0 %, after SGPO" in told
    assert "60.0 %. SGPO minus GRPO is +10.0 (+5.0 to +15.0) points over seeds, an inter" in told
    assert "excludes 0" in told and "clearly above 0 on `composed` too" in told
    told = sentence(open_, (-0.1, 0.2))
    assert "allows both signs" in told and "clear on none of the transfer splits" in told
    told = sentence(below, (-0.2, -0.1), seeds=1)
    assert "over families, an interval that excludes 0" in told
    assert "clearly below 0 on `composed` too" in told
    told = sentence(above, (0.1, 0.2), unseen=(0.1, 0.3))
    assert told.endswith(" The difference is clearly above 0 on `composed` and `unseen` too.")
    told = sentence(above, (0.1, 0.2), unseen=(-0.3, -0.1))
    assert "above 0 on `composed` too. The difference is clearly below 0 on `unseen` too." in told
    for bound in ((0.0, 0.2), (-0.2, 0.0)):  # an interval that touches 0 does not exclude it
        assert "allows both signs" in sentence((0.1, bound), bound)
        assert "clear on none" in sentence((0.1, bound), bound)


def test_the_sentence_agrees_with_the_table_of_the_same_rows(played):
    rows = compared(both(played), played["base"])
    told, table_of = summary(rows), outcome_table(rows, {})
    line = next(line for line in table_of.splitlines() if line.startswith("| `test` ("))
    cells = [cell.strip() for cell in line.split("|")[1:-1]]
    assert f"where chance is {cells[1]} %" in told and f"solves {cells[2]} % of" in told
    assert f"after GRPO {cells[3]} %, after SGPO {cells[4]} %" in told
    assert f"GRPO is {cells[5]} points over seeds" in told
    assert all(f"`{split}`" in told for split in TRANSFER_SPLITS)


def test_a_curve_goes_from_the_base_student_to_the_trained_one(played):
    base, run = played["base"], played["sgpo"]
    assert accuracy_curve(run, base) == [(0, 0.0), (2, 0.5)]
    longer = replace(run, metrics=[*run.metrics, {"step": 3}])
    assert accuracy_curve(longer, base) == [(0, 0.0), (2, 0.5), (3, 0.5)]
    # With early stopping the trained student has the weights of a step that was measured.
    stopped = replace(longer, asked={"config": {"early_stop": 4}})
    assert accuracy_curve(stopped, base) == [(0, 0.0), (2, 0.5)]


def test_the_accuracy_of_a_verb_is_that_of_the_plans_that_use_it(played):
    run = played["sgpo"]
    answers = run.answers["test", False]
    found = accuracy_by_verb([run, played["base"]])
    assert "box" not in found and len(found) == 20
    right = [
        float(row[0])
        for problem, row in zip(answers.problems, answers.correct, strict=True)
        if any(step.endswith(" bought") for step in problem.plan)
    ]
    assert found["bought"] == pytest.approx(sum(right) / len(right) / 2)


def test_a_curve_that_is_0_or_missing_everywhere_is_left_out(played):
    run = played["sgpo"]
    logs = [{"step": 1, "entropy": 0.5, "alpha": 0.0}, {"step": 2, "entropy": 0.4, "alpha": 0.0}]
    curves = curves_of([replace(run, metrics=logs)] * 2, played["base"])
    assert curves["entropy"] == [[(1, 0.5), (2, 0.4)]] * 2 and "alpha" not in curves
    silent = [{"step": 1, "entropy": None, "alpha": 0.2}]
    curves = curves_of([replace(run, metrics=silent)], played["base"])
    assert set(curves) == {"accuracy", "alpha"}


def test_shares_of_plans_are_means_over_runs_and_arithmetic_needs_a_true_plan(played):
    def solving(every):
        evaluation = played["base"].answers["test", False]
        texts = tuple(
            (problem.solution if number % every == 0 else "Hm.",)
            for number, problem in enumerate(evaluation.problems)
        )
        correct = tuple((text != ("Hm.",),) for text in texts)
        answers = replace(evaluation, completions=texts, correct=correct)
        return replace(played["base"], answers={("test", False): answers})

    shares = shares_of([solving(2), solving(4)], "test")
    assert list(shares) == list(KINDS) and sum(shares.values()) == pytest.approx(1)
    assert (shares[OWN], shares[UNREADABLE]) == pytest.approx((0.375, 0.625))
    told = use_section({"sgpo": [solving(2), solving(4)]}, played["base"], ["test"]).splitlines()
    assert told[-1].startswith("| sgpo | 37.5 |") and told[-1].endswith("| 62.5 | 100.0 |")
    assert told[-2].startswith("| base | 0.0 |") and told[-2].endswith("| 100.0 | — |")


def test_a_row_changes_the_strategies_alone():
    config = config_of("sgpo")
    given = training_problems(config, "")
    assert given == problems_in(DATA, "train")
    for name in ("half", "shuffled", "contentless"):
        changed = training_problems(config, ROWS[name].control)
        same = [replace(p, strategy="") for p in given] == [
            replace(p, strategy="") for p in changed
        ]
        assert same and list(given) != list(changed), name


def test_half_of_the_families_lose_their_strategies():
    given = problems_in(DATA, "train")
    halves = [half_of_the_strategies(given, seed) for seed in (0, 0, 1)]
    assert halves[0] == halves[1] != halves[2]
    for half in halves:
        assert sum(not p.strategy for p in half) == len(given) / 2
        assert all(a.strategy in ("", b.strategy) for a, b in zip(half, given, strict=True))


def test_the_control_world_has_problems_of_its_own():
    here, there = problems_in(DATA, "test"), problems_in(CONTROL, "test")
    assert [p.family for p in here] == [p.family for p in there]
    assert sum(a.plan == b.plan for a, b in zip(here, there, strict=True)) < len(here) / 4


def test_the_probability_of_a_solution_is_the_product_of_its_tokens(student):
    problems = problems_in("mini-gsm", "test")[:3]
    for problem, told in zip(problems, solution_probabilities(student, problems), strict=True):
        prompt = student.prompt_ids(problem.question)
        ids = student.completion_ids(problem.solution)
        with torch.no_grad():
            logits = student.model(torch.tensor([prompt + ids])).logits[0].double()
        steps = logits[len(prompt) - 1 : -1].log_softmax(dim=-1)
        by_hand = steps[torch.arange(len(ids)), torch.tensor(ids)].sum().exp().item()
        assert told == pytest.approx(by_hand, rel=1e-3)


def test_sampled_answers_are_counted_for_each_problem(student, tmp_path):
    problems = problems_in("mini-gsm", "test")[:4]
    told = measure_sampled(student, problems, tmp_path / "test.json")
    assert json.loads((tmp_path / "test.json").read_text(encoding="utf-8")) == told
    assert all(0 <= right <= SAMPLES for right in told["right"])
    assert len(told["right"]) == len(told["true plan"]) == 4
