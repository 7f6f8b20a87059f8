"""`evaluate` on mini-gsm without a split: one table of all exams."""

import json
import re

import pytest

from sgpo_mini.evaluation import Evaluation
from sgpo_mini.mini_gsm.world import EXAMS, make_problems
from sgpo_mini.study.benchmark_table import benchmark_table
from sgpo_mini.support.files import read_rows

LIMIT = 4
SPLIT_AND_PROMPT = [f"{split}-{name}" for split in EXAMS for name in ("unguided", "guided")]


@pytest.fixture(autouse=True)
def own_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def rows_of(out):
    """The cells of a Markdown table by split, without backticks; its head is the row "split"."""
    lines = [line for line in out.replace("`", "").split("\n") if line.startswith("|")]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    del cells[1]  # the rule below the head
    return {row[0]: row for row in cells}


def test_one_table_of_all_exams_and_the_completions_of_each(run, tmp_path):
    status, out, err = run("evaluate", "--limit", LIMIT, "--out", "made")
    assert status == 0, err
    rows = rows_of(out)
    assert list(rows) == ["split", *EXAMS]
    prompts = ["alone", "with the strategy"]
    assert rows["split"][3:] == [*prompts, *(f"{prompt} / test" for prompt in prompts)]
    assert sorted(path.stem for path in tmp_path.glob("made/*")) == sorted(SPLIT_AND_PROMPT)
    for split in EXAMS:
        ids = [problem.id for problem in make_problems(split)[:LIMIT]]
        saved = read_rows(f"made/{split}-guided.jsonl")
        assert [row["id"] for row in saved] == ids and all(row["guided"] for row in saved)
        assert f"{split}: {LIMIT} problems\n" in err
        assert float(rows[split][4].split()[0]) >= 50  # this student can follow a strategy
    assert "greedy" in out and re.search(r"% of the completions were cut off at 64 tokens", out)


def test_one_prompt_sampled_agrees_with_the_detailed_view_of_one_split(run):
    words = ("evaluate", "--limit", LIMIT, "--prompt", "guided", "--samples", 2)
    words += ("--temperature", 1.5, "--seed", 3)
    status, out, err = run(*words, "--out", "all")
    assert status == 0, err
    asked = ["with the strategy", "with the strategy / test"]
    assert rows_of(out)["split"] == ["split", "families", "chance", *asked]
    assert "avg@2" in out
    status, out, err = run(*words, "--split", "unseen", "--out", "one")
    assert status == 0 and "\nguided: pass@1 " in out and "|" not in out, err
    one, of_all = read_rows("one/guided.jsonl"), read_rows("all/unseen-guided.jsonl")
    assert one == of_all and len(one) == 2 * LIMIT


def evaluation(split, guided, right):
    """Of the first families of a split; `right` has whether each of its problems is right."""
    problems = make_problems(split)[: len(right)]
    rows = tuple((is_right,) for is_right in right)
    wrong = tuple((False,) for _ in right)
    return Evaluation(problems, tuple(("",) for _ in right), rows, wrong, guided)


def test_accuracy_counts_families_and_the_ratio_is_to_test():
    # the transfer splits have three problems a family: 2 of 3 and 0 of 1 are 1/3
    made = {(split, False): evaluation(split, False, [1, 1, 0, 0]) for split in EXAMS}
    rows = rows_of(benchmark_table(made))
    assert rows["test"][1:3] == ["4", "3.8"] and rows["composed"][1] == "2"
    assert rows["test"][3].startswith("50.0 (") and rows["test"][4] == "1.00"
    assert rows["composed"][3].startswith("33.3 (") and rows["composed"][4] == "0.67"
    assert rows["longer"][2] == "1.2"


def test_no_ratio_to_nothing():
    made = {(split, True): evaluation(split, True, [0, 0]) for split in EXAMS}
    rows = rows_of(benchmark_table(made))
    assert [rows[split][4] for split in EXAMS] == ["—"] * len(EXAMS)


def test_files_have_no_table(run, tmp_path):
    rows = [vars(problem) for problem in make_problems("easy")[:3]]
    text = "".join(json.dumps(row) + "\n" for row in rows)
    (tmp_path / "own.jsonl").write_text(text, encoding="utf-8")
    status, out, err = run("evaluate", "--data", "own.jsonl", "--max-new-tokens", 40)
    assert status == 0 and out.startswith("unguided: ") and "|" not in out, err
