"""The numbers in the README and in the pages of results are those of the committed files."""

import json
import shutil
from pathlib import Path

import pytest
import torch

from sgpo_mini.mini_gsm import pretraining
from sgpo_mini.mini_gsm.plans import fitting_plans
from sgpo_mini.mini_gsm.pretraining import SETTINGS
from sgpo_mini.mini_gsm.world import FAMILIES
from sgpo_mini.student import TINY_STUDENT, load_student
from sgpo_mini.study.claims import claims_table
from sgpo_mini.study.evaluations import mean
from sgpo_mini.study.report import report_comparison
from sgpo_mini.study.transfer_table import transfer_table
from sgpo_mini.support.intervals import confidence_interval

ROOT = Path(__file__).resolve().parents[2]
RESULTS = ROOT / "sgpo_mini" / "results"
README = (ROOT / "README.md").read_text(encoding="utf-8")
SHOWN_FIRST = {  # what the README shows of the five seeds: (row, guided)
    ("test", False),
    ("test, hard families", False),
    ("test", True),
    ("reworded", False),
    ("reworded, hard families", False),
    ("composed", False),
    ("unseen", False),
}


def page(name):
    return (RESULTS / f"{name}.md").read_text(encoding="utf-8")


def cells(runs, decimals):
    """Means over seeds in percent, and the difference paired by seed with its interval."""
    gaps = [b - a for a, b in zip(runs["grpo"], runs["sgpo"], strict=True)]
    gap, *interval = (
        f"{x * 100:+.{decimals}f}" for x in (mean(gaps), *confidence_interval(gaps, over="seeds"))
    )
    means = [f"{mean(runs[name]) * 100:.{decimals}f}" for name in ("grpo", "sgpo")]
    return " | ".join([*means, f"{gap} ({interval[0]} to {interval[1]})"])


def table_of(rows):
    return transfer_table(rows, ("base", "grpo", "sgpo"), difference="sgpo - grpo")


def test_the_table_over_five_seeds_is_the_committed_one_and_the_readme_shows_some_rows():
    rows = json.loads((RESULTS / "five-seeds.json").read_text(encoding="utf-8"))
    assert table_of(rows) in page("grpo-and-sgpo")
    shown = [row for row in rows if (row["label"], row["guided"]) in SHOWN_FIRST]
    assert len(shown) == len(SHOWN_FIRST) <= 8
    assert table_of(shown) in README


def test_the_tables_by_family_and_by_step_are_the_committed_ones():
    text = page("grpo-and-sgpo")
    families = json.loads((RESULTS / "five-seeds-by-family.json").read_text(encoding="utf-8"))
    for name, runs in families.items():
        plans, base = len(fitting_plans(FAMILIES[name])), f"{runs['base'] * 100:.0f}"
        assert f"| `{name}` | {plans} | {base} | {cells(runs, 0)} |\n" in text
    for row in json.loads((RESULTS / "five-seeds-by-step.json").read_text(encoding="utf-8")):
        assert f"| {row['step']} | {cells(row, 1)} |\n" in text


@pytest.mark.parametrize("student", (1, 2))
def test_the_aims_and_the_transfer_of_two_more_students_are_shown(student):
    rows = json.loads((RESULTS / f"five-seeds-student-{student}.json").read_text(encoding="utf-8"))
    shown = [
        row
        for row in rows
        if row["label"] in ("test", "test, hard families")
        or (not row["guided"] and row["label"].split(",")[0] in ("reworded", "composed", "unseen"))
    ]
    shown = [row for row in shown if not row["guided"] or row["label"] == "test"]
    assert table_of(shown) in page("grpo-and-sgpo")


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


def test_the_claims_are_shown_as_the_committed_runs_have_them():
    assert claims_table() in page("every-method")


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


def test_the_model_card_and_the_page_of_the_world_tell_what_was_measured(monkeypatch):
    measured = json.loads((TINY_STUDENT / "measured.json").read_text(encoding="utf-8"))
    card = (TINY_STUDENT / "README.md").read_text(encoding="utf-8")
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    assert card == pretraining._model_card(load_student("tiny"), measured, 0, pretraining.STEPS)
    for name in ("guided", "unguided"):
        value, low, high = measured[name]
        assert f"{value:.3f} ({low:.3f} to {high:.3f})" in card
        assert f"{value:.3f}" in page("world")
