"""The numbers in the README and in the pages of results are those of the committed files."""

import json
import shutil
from pathlib import Path

import pytest

from sgpo_mini.mini_gsm import pretraining
from sgpo_mini.mini_gsm.pretraining import SETTINGS
from sgpo_mini.mini_gsm.world import split_table
from sgpo_mini.student import TINY_STUDENT, load_student
from sgpo_mini.study.claims import claims_table
from sgpo_mini.study.packed_runs import read_packed
from sgpo_mini.study.report import report_comparison
from sgpo_mini.study.students_report import difference_table, when_table, write_report
from sgpo_mini.study.tables import ceilings_of, compared, outcome_table

ROOT = Path(__file__).resolve().parents[2]
RESULTS = ROOT / "sgpo_mini" / "results"
COMPARISON = RESULTS / "comparison"
README = (ROOT / "README.md").read_text(encoding="utf-8")


def page(name):
    return (RESULTS / f"{name}.md").read_text(encoding="utf-8")


def read(name):
    return json.loads((RESULTS / name).read_text(encoding="utf-8"))


def test_the_readme_shows_the_committed_five_seeds():
    folder = COMPARISON / "student-0"
    runs = {
        name: [read_packed(folder, f"{name}-{seed}") for seed in range(5)]
        for name in ("grpo", "sgpo")
    }
    rows = compared(runs, read_packed(folder, "base"))
    assert outcome_table(rows, ceilings_of("tiny")["greedy"]) in README


def test_the_page_shows_the_tables_over_students():
    tables = read("comparison/tables.json")
    assert difference_table(tables) in page("grpo-and-sgpo")
    assert when_table(tables) in page("grpo-and-sgpo")


@pytest.mark.parametrize("told", ["ceilings.json", "ceilings-control.json"])
def test_the_page_of_the_world_shows_the_ceilings(told):
    for split, row in read(told)["splits"].items():
        line = next(x for x in page("world").split("\n") if x.startswith(f"| `{split}` | 100.0"))
        cells = [f"{100 * row['ceiling'][0]:.1f}"]
        if told == "ceilings.json":
            names = ("rule reader", "chance", "guided", "unguided", "ceiling")
            cells = [f"{100 * row[name][0]:.1f}" for name in names]
        assert set(cells) <= set(line.strip("| ").split(" | ")), line


def test_the_page_of_the_world_shows_the_splits_and_their_checksums():
    assert split_table() in page("world")


def test_the_settings_are_the_best_tries_of_each_method_on_validation():
    by_name: dict[str, list] = {}
    for row in read("settings.json")["tries"]:
        ending = "-own-form" if row["given_solution"] == "solution" else ""
        ending += "-hard" if row["split"] == "hard" else ""
        by_name.setdefault(row["method"] + ending, []).append(row)
    assert by_name.keys() == SETTINGS.keys()
    assert {len(rows) for rows in by_name.values()} == {4}
    for name, settings in SETTINGS.items():
        best = max(by_name[name], key=lambda row: row["unguided"])
        assert {setting: best[setting] for setting in settings} == settings


def test_the_claims_are_shown_as_the_committed_runs_have_them():
    assert claims_table() in page("every-method")


def test_the_committed_report_of_every_row_is_what_its_packed_runs_say(tmp_path):
    """Tables and numbers are made again from the runs alone; the drawings are left out."""
    committed, again = COMPARISON / "student-0", tmp_path / "student-0"
    shutil.copytree(committed / "logs", again / "logs")
    for name in ("made.json", "timings.json"):
        shutil.copy(committed / name, again)
    report_comparison(again)
    for name in ("comparison.json", "report.md"):
        assert (again / name).read_bytes() == (committed / name).read_bytes(), name


def test_the_committed_report_over_students_is_what_its_packed_runs_say(tmp_path):
    again = tmp_path / "comparison"
    for folder in ("student-0", "student-1", "student-2", "control"):
        shutil.copytree(COMPARISON / folder, again / folder)
    write_report(again)
    for name in ("tables.json", "report.md"):
        assert (again / name).read_bytes() == (COMPARISON / name).read_bytes(), name


def test_the_model_card_tells_what_was_measured():
    measured = json.loads((TINY_STUDENT / "measured.json").read_text(encoding="utf-8"))
    card = (TINY_STUDENT / "README.md").read_text(encoding="utf-8")
    command = "python -m sgpo_mini pretrain --seed 0 --threads 1"
    assert card == pretraining._model_card(load_student("tiny"), measured, command)
