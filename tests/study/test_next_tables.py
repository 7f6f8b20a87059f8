"""The comparison in the next world: what a row trains on, what is measured, and its tables."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from sgpo_mini.mini_gsm_next.pretraining import SETTINGS
from sgpo_mini.mini_gsm_next.world import (
    TRANSFER_SPLITS,
    families_of,
    make_problems,
    split_table,
)
from sgpo_mini.study.next_report import difference_table, when_table, write_report
from sgpo_mini.study.next_rows import EVALUATED, NEXT_ROWS, next_config
from sgpo_mini.study.next_tables import (
    by_family,
    by_step,
    compared,
    ratio_table,
    step_table,
    table,
    transfer_ratios,
)

from sgpo_mini.evaluation import Evaluation
from sgpo_mini.strategy_sources.controls import half_of_the_strategies
from sgpo_mini.study import next_tables
from sgpo_mini.study.packed_runs import PackedRun
from sgpo_mini.study.sampled import SAMPLES, measure_sampled, solution_probabilities
from sgpo_mini.study.worlds import CONTROL_WORLD, NEXT, problems_in, training_problems

torch.set_num_threads(1)
RESULTS = Path(next_tables.__file__).parents[1] / "results"


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
    return PackedRun({}, metrics, answers, sampled)


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


def test_each_row_has_a_configuration_that_training_accepts():
    for name, row in NEXT_ROWS.items():
        config = next_config(name, "tiny")
        config.check()
        assert config.data == NEXT and config.method == row.settings["method"]
    assert next_config("easy-sgpo", "tiny").split == "easy"
    with pytest.raises(ValueError, match="methods must be some of .*grpo"):
        next_config("ppo", "tiny")


def test_the_settings_are_the_best_tries_of_each_method_on_validation():
    path = RESULTS / "next-settings.json"
    by_name: dict[str, list] = {}
    for row in json.loads(path.read_text(encoding="utf-8"))["tries"]:
        kind = "-own-form" if row["given_solution"] == "solution" else ""
        kind = "-hard" if row["split"] == "hard" else kind
        by_name.setdefault(row["method"] + kind, []).append(row)
    assert by_name.keys() == SETTINGS.keys()
    assert {len(rows) for rows in by_name.values()} == {4}
    for name, settings in SETTINGS.items():
        best = max(by_name[name], key=lambda row: row["unguided"])
        assert {setting: best[setting] for setting in settings} == settings


def test_a_row_changes_the_strategies_alone():
    config = next_config("sgpo", "tiny")
    given = training_problems(config, "")
    assert given == problems_in(NEXT, "train")
    for name in ("half", "shuffled", "contentless"):
        changed = training_problems(config, NEXT_ROWS[name].control)
        same = [replace(p, strategy="") for p in given] == [
            replace(p, strategy="") for p in changed
        ]
        assert same and list(given) != list(changed), name


def test_half_of_the_families_lose_their_strategies():
    given = problems_in(NEXT, "train")
    halves = [half_of_the_strategies(given, seed) for seed in (0, 0, 1)]
    assert halves[0] == halves[1] != halves[2]
    for half in halves:
        assert sum(not p.strategy for p in half) == len(given) / 2
        assert all(a.strategy in ("", b.strategy) for a, b in zip(half, given, strict=True))


def test_the_control_world_has_problems_of_its_own():
    here, there = problems_in(NEXT, "test"), problems_in(CONTROL_WORLD, "test")
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
    told = measure_sampled(student, problems, 24, tmp_path / "test.json")
    assert json.loads((tmp_path / "test.json").read_text(encoding="utf-8")) == told
    assert all(0 <= right <= SAMPLES for right in told["right"])
    assert len(told["right"]) == len(told["true plan"]) == 4


def test_the_committed_report_is_what_its_packed_runs_say(tmp_path):
    committed, again = RESULTS / "next", tmp_path / "next"
    for folder in ("student-0", "student-1", "student-2", "control"):
        shutil.copytree(committed / folder, again / folder)
    write_report(again)
    for name in ("tables.json", "report.md"):
        assert (again / name).read_bytes() == (committed / name).read_bytes(), name
    page = (RESULTS / "next-world.md").read_text(encoding="utf-8")
    tables = json.loads((committed / "tables.json").read_text(encoding="utf-8"))
    tables.pop("rows", None)
    assert difference_table(tables) in page and when_table(tables) in page
    assert split_table() in page


def test_the_committed_ceilings_are_in_the_page():
    page = (RESULTS / "next-world.md").read_text(encoding="utf-8")
    control = json.loads((RESULTS / "ceilings-control.json").read_text(encoding="utf-8"))["splits"]
    found = json.loads((RESULTS / "ceilings.json").read_text(encoding="utf-8"))["splits"]
    for split, row in found.items():
        values = [row[n][0] for n in ("rule reader", "chance", "guided", "unguided", "ceiling")]
        cells = [f"{100 * value:.1f}" for value in (*values, control[split]["ceiling"][0])]
        assert f"| {' | '.join([f'`{split}`', *cells])} |" in page
