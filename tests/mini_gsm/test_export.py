"""Mini-GSM as files: others read the same problems, and no file of theirs is overwritten."""

import hashlib
import json
import re

import datasets
import pytest

from sgpo_mini.mini_gsm.export import ABOUT, CARD, COLUMNS
from sgpo_mini.mini_gsm.world import SPLITS, checksum, families_of, make_problems, split_table
from sgpo_mini.problems import load_problems
from sgpo_mini.study.tables import ceilings_of, chance_of


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    from sgpo_mini.__main__ import main

    folder = tmp_path_factory.mktemp("export") / "mini gsm"
    assert main(["compare", "--export", str(folder)]) == 0
    return folder


@pytest.fixture(scope="module")
def card(folder):
    return (folder / CARD).read_text(encoding="utf-8")


def test_every_split_is_a_file_that_load_problems_reads_back(folder):
    assert {path.name for path in folder.iterdir()} == {CARD, *(f"{s}.jsonl" for s in SPLITS)}
    for split in SPLITS:
        assert tuple(load_problems(folder / f"{split}.jsonl")) == make_problems(split)
    first = json.loads((folder / "test.jsonl").read_text(encoding="utf-8").split("\n")[0])
    assert list(first) == COLUMNS and isinstance(first["plan"], list)


def test_datasets_reads_every_split_with_the_checksum_of_the_card(folder, card, tmp_path):
    loaded = datasets.load_dataset(str(folder), cache_dir=str(tmp_path / "cache"))
    assert list(loaded) == list(SPLITS)
    for split, rows in loaded.items():
        assert set(rows.column_names) == set(COLUMNS)
        # as the card says that a reader should check it
        text = json.dumps([dict(row) for row in rows], sort_keys=True)
        assert hashlib.sha256(text.encode()).hexdigest() == checksum(split)
        assert f"`{checksum(split)}`" in card


def test_the_card_tells_sizes_chance_and_the_ceilings_that_were_measured(card):
    ceilings = ceilings_of("tiny")["greedy"]
    assert list(ABOUT) == list(SPLITS) and set(ceilings) < set(SPLITS)
    rows = {row[0].strip("`"): row for row in map(cells_of, card.split("\n")) if len(row) == 7}
    for split in SPLITS:
        _, _, problems, families, chance, ceiling, _ = rows[split]
        assert problems == f"{len(make_problems(split)):,}"
        assert families == f"{len(families_of(split)):,}"
        assert float(chance) == pytest.approx(100 * chance_of(split), abs=0.051)
        assert ceiling == (f"{100 * ceilings[split]:.1f}" if split in ceilings else "—")
    shas = re.findall(r"`[0-9a-f]{64}`", split_table())
    assert shas == re.findall(r"`[0-9a-f]{64}`", card)


def cells_of(line):
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_the_commands_of_the_card_are_understood(card):
    from sgpo_mini.__main__ import _parser

    commands = re.findall(r"^python -m sgpo_mini (.+)$", card, re.MULTILINE)
    assert {command.split()[0] for command in commands} == {"evaluate", "train"}
    for command in commands:
        _parser(command.split()[0]).parse_args(command.split())


def test_sgpo_trains_on_the_file_with_the_strategies_in_it(folder, run, tmp_path):
    words = ("train", "--data", folder / "easy.jsonl", "--method", "sgpo", "--steps", 1)
    words += ("--problems-per-step", 2, "--max-new-tokens", 40, "--out", tmp_path / "run")
    status, _, err = run(*words)
    assert status == 0, err
    row = json.loads((tmp_path / "run" / "metrics.jsonl").read_text(encoding="utf-8"))
    assert row["p_guide"] > 0.5  # asked with the strategies


@pytest.mark.parametrize("name", ["train.jsonl", "notes.txt"])
def test_a_folder_that_holds_anything_is_refused(run, tmp_path, name):
    (tmp_path / name).write_text("mine", encoding="utf-8")
    status, out, err = run("compare", "--export", tmp_path)
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert f"such as {name!r}" in err and "name a new or an empty folder" in err
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert (tmp_path / name).read_text(encoding="utf-8") == "mine"


def test_an_empty_folder_is_filled(run, tmp_path):
    status, out, _ = run("compare", "--export", tmp_path)
    assert status == 0 and out.endswith("README.md\n") and (tmp_path / CARD).is_file()
