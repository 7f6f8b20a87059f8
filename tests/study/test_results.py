"""The numbers in the README are those of the committed result files."""

import json
import shutil
from pathlib import Path

import pytest

from sgpo_mini.evaluation import transfer_table
from sgpo_mini.mini_gsm.pretraining import SETTINGS
from sgpo_mini.study.claims import claims_table
from sgpo_mini.study.report import report_comparison

ROOT = Path(__file__).resolve().parents[2]
RESULTS = ROOT / "sgpo_mini" / "results"
README = (ROOT / "README.md").read_text(encoding="utf-8")


def table_of(rows):
    return transfer_table(rows, ("base", "grpo", "sgpo"), difference="sgpo - grpo")


def test_the_readme_shows_the_table_of_the_committed_comparison():
    rows = json.loads((RESULTS / "five-seeds.json").read_text(encoding="utf-8"))
    assert table_of(rows) in README


@pytest.mark.parametrize("student", (1, 2))
def test_the_readme_shows_the_aims_and_the_transfer_of_two_more_students(student):
    rows = json.loads((RESULTS / f"five-seeds-student-{student}.json").read_text(encoding="utf-8"))
    shown = [
        row
        for row in rows
        if row["label"] in ("test", "test, hard families")
        or (not row["guided"] and row["label"].split(",")[0] in ("reworded", "composed", "unseen"))
    ]
    shown = [row for row in shown if not row["guided"] or row["label"] == "test"]
    assert table_of(shown) in README


def test_the_settings_are_the_best_tries_of_each_method_on_validation():
    tries = json.loads((RESULTS / "settings.json").read_text(encoding="utf-8"))["tries"]
    by_name: dict[str, list] = {}
    for row in tries:
        ending = "-own-form" if row["given_solution"] == "solution" else ""
        by_name.setdefault(row["method"] + ending, []).append(row)
    assert by_name.keys() == SETTINGS.keys()
    assert {len(rows) for rows in by_name.values()} == {4}
    for name, settings in SETTINGS.items():
        best = max(by_name[name], key=lambda row: sum(row["unguided"]))
        assert {setting: best[setting] for setting in settings} == settings


def test_the_readme_shows_the_claims_as_the_committed_runs_have_them():
    assert claims_table() in README


def test_the_committed_report_is_what_its_packed_runs_say(tmp_path):
    """Tables and numbers are made again from the runs alone; the drawings are left out."""
    committed = RESULTS / "comparison"
    again = tmp_path / "comparison"
    shutil.copytree(committed / "logs", again / "logs")
    for name in ("made.json", "timings.json"):
        shutil.copy(committed / name, again)
    report_comparison(again)
    for name in ("comparison.json", "strategy-use.json", "costs.json", "report.md"):
        assert (again / name).read_bytes() == (committed / name).read_bytes(), name


def test_the_model_card_and_the_readme_tell_what_was_measured():
    measured = json.loads(
        (ROOT / "sgpo_mini/mini_gsm/tiny_student/measured.json").read_text(encoding="utf-8")
    )
    card = (ROOT / "sgpo_mini/mini_gsm/tiny_student/README.md").read_text(encoding="utf-8")
    for name in ("guided", "unguided"):
        value, low, high = measured[name]
        assert f"{value:.3f} ({low:.3f} to {high:.3f})" in card
        assert f"{value:.3f}" in README
