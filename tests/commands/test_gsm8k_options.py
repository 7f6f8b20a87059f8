"""The commands on GSM8K: its parts, the number of calculations, notes, and the warm-up's mix."""

import json
from pathlib import Path

import pytest
import torch
from small_world import STRATEGY

from sgpo_mini.problems import load_gsm8k
from sgpo_mini.strategies import Strategy, save_strategies
from sgpo_mini.student import new_student, save_student
from sgpo_mini.support.files import read_rows

torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def gsm8k(tmp_path, monkeypatch):
    """A small GSM8K in the words of the student of `small_world`; every third row is harder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SGPO_GSM8K_DIR", str(tmp_path))
    for split, most in (("train", 6), ("test", 1)):
        rows = []
        for i in range(most * 10):
            asked = "please , " * (i // 10) + f"name an even number that is not {i % 10}"
            note = "<<1+1=2>>" * (2 if i % 3 else 3)
            rows.append({"question": asked, "answer": f"I take {note}2 .\n#### 2"})
        lines = "".join(json.dumps(row) + "\n" for row in rows)
        Path(f"{split}.jsonl").write_text(lines, encoding="utf-8")
    yield
    torch.set_num_threads(1)


@pytest.fixture
def strategies() -> str:
    """A file with strategies of all but one of the two-calculation problems in each part."""
    found = {}
    for part in ("warmup", "rl", "validation", "test"):
        for problem in load_gsm8k(part, calculations=2)[1:]:
            found[problem.id] = strategy_of("two" if len(found) % 2 else "it")
    save_strategies("s.jsonl", found)
    return "s.jsonl"


def ids(part: str, calculations: int = 0) -> list[str]:
    return [problem.id for problem in load_gsm8k(part, calculations=calculations)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A new student that knows every word of these problems, but no notes."""
    texts = [f"please , name an even number that is not {i}" for i in range(10)]
    texts += [strategy_of("two").text, strategy_of("it").text, "I take 2 .\n#### 2"]
    path = tmp_path_factory.mktemp("student")
    save_student(new_student(texts, layers=1, width=32), path)
    return path


def strategy_of(kind: str) -> Strategy:
    return Strategy("a number", "name an even number", (STRATEGY.replace("two", kind),))


ON_GSM8K = ("--data", "gsm8k", "--calculations", 2)


def test_a_warm_up_on_its_part_then_training_on_another(run, folder, strategies):
    warm = ("pretrain", "--student", folder, *ON_GSM8K, "--split", "warmup")
    warm += ("--strategies", strategies, "--only-with-strategies", "--with-strategy", 0.5)
    warm += ("--batch-size", 4, "--learning-rate", 1e-3, "--out", "warm")
    status, _, err = run(*warm, "--epochs", 2)
    assert status == 0, err
    saved = json.loads(Path("warm/config.json").read_text(encoding="utf-8"))
    assert (saved["with_strategy"], saved["calculation_notes"], saved["epochs"]) == (0.5, False, 2)
    count = len(ids("warmup", 2)) - 1
    steps = -(-count // 4)
    assert len(read_rows("warm/metrics.jsonl")) == 2 * steps
    status, _, err = run(*warm, "--epochs", 3, "--resume")
    assert status == 0 and len(read_rows("warm/metrics.jsonl")) == 3 * steps, err

    train = ("train", "--student", "warm/student", *ON_GSM8K, "--split", "rl", "--steps", 1)
    train += ("--strategies", strategies, "--only-with-strategies", "--max-new-tokens", 16)
    status, _, err = run(*train, "--evaluate-every", 1, "--out", "rl")
    assert status == 0, err
    asked = len(ids("rl", 2))
    assert f"1 of {asked} problems have no strategy: left out" in err
    saved = json.loads(Path("rl/config.json").read_text(encoding="utf-8"))
    assert (saved["split"], saved["calculations"]) == ("rl", 2)
    assert "validation_accuracy" in read_rows("rl/metrics.jsonl")[0]

    again = ("--evaluate-every", 1, "--out", "rl", "--resume", "--steps", 2)
    assert run(*train, *again)[0] == 0
    status, _, err = run(*train, *again, "--split", "warmup")
    assert status == 2 and "split (was 'rl')" in err


def test_a_run_that_knew_no_parts_continues_on_the_whole_of_train(run, folder):
    asked = ("train", "--method", "grpo", "--student", folder, "--data", "gsm8k")
    asked += ("--max-new-tokens", 16, "--out", "run")
    assert run(*asked, "--steps", 1)[0] == 0
    path = Path("run/config.json")
    saved = json.loads(path.read_text(encoding="utf-8"))
    for name in ("split", "calculations", "calculation_notes"):
        del saved[name]
    path.write_text(json.dumps(saved), encoding="utf-8")
    status, _, err = run(*asked, "--steps", 2, "--resume", "--split", "rl")
    assert status == 2 and "split (was 'train')" in err
    status, _, err = run(*asked, "--steps", 2, "--resume")
    assert status == 0 and len(read_rows("run/metrics.jsonl")) == 2, err


@pytest.mark.parametrize(("notes", "loss"), [((), True), (("--calculation-notes",), False)])
def test_notes_are_left_out_by_default(run, folder, notes, loss):
    """The student knows no "<<": with the notes it refuses the solutions."""
    for asked in (
        ("pretrain", "--epochs", 1),
        ("train", "--method", "sft", "--given-solution", "solution", "--steps", 1),
    ):
        asked += ("--student", folder, "--data", "gsm8k", "--out", f"{asked[0]}-run", *notes)
        status, _, err = run(*asked)
        assert (status == 0) == loss, err
        assert loss or "does not know" in err


@pytest.mark.parametrize("split", ["validation", "test"])
def test_evaluating_the_problems_with_so_many_calculations(run, folder, strategies, split):
    asked = ("evaluate", "--student", folder, *ON_GSM8K, "--split", split)
    asked += ("--max-new-tokens", 16, "--strategies", strategies)
    status, _, err = run(*asked, "--out", "all")
    assert status == 0 and "problems have no strategy: evaluating unguided only" in err
    assert [row["id"] for row in read_rows("all/unguided.jsonl")] == ids(split, 2)
    status, _, err = run(*asked, "--only-with-strategies", "--out", "some")
    assert status == 0, err
    for name in ("guided", "unguided"):
        assert [row["id"] for row in read_rows(f"some/{name}.jsonl")] == ids(split, 2)[1:]


def test_making_and_measuring_strategies_of_a_part(run, folder, strategies):
    asked = ("strategies", "--measure", folder, *ON_GSM8K, "--split", "validation")
    asked += ("--strategies", strategies, "--samples", 4, "--max-new-tokens", 16)
    status, out, err = run(*asked)
    assert status == 0, err
    assert f"{len(ids('validation', 2)) - 1} problems, 4 samples each" in out
    last = out.strip().rpartition("\n")[2]
    assert last.startswith("SGPO ") and "teach here: p_guide is " in last
    status, out, err = run("strategies", "--inspect", strategies, *ON_GSM8K, "--split", "rl")
    assert status == 0, err
    status, out, err = run("strategies", "--source", "solution", *ON_GSM8K, "--split", "warmup")
    assert status == 0 and f"of {len(ids('warmup', 2))}, " in out, err
    made = {row["id"] for row in read_rows("runs/strategies-solution.jsonl")}
    assert made <= set(ids("warmup", 2))


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ("train --split rl", "mini-gsm's splits for training are train, easy, hard, not 'rl'"),
        ("pretrain --student tiny --split rl", "are train, easy, hard, not 'rl'"),
        ("train --data a.jsonl --split rl", "a.jsonl has one training split, train: leave"),
        ("train --data gsm8k --split test", "for training are train, warmup, rl, not 'test'"),
        ("pretrain --student tiny --data gsm8k --split validation", "warmup, rl, not 'validation'"),
        ("train --calculations 2", "mini-gsm has no --calculations: use it with gsm8k only"),
        ("evaluate --calculations 2", "mini-gsm has no --calculations"),
        ("strategies --measure tiny --calculations 2", "mini-gsm has no --calculations"),
        ("strategies --source world --calculations 2", "mini-gsm has no --calculations"),
        ("strategies --inspect s.jsonl --calculations 2", "without --data has no --calculations"),
        ("train --data gsm8k --calculations 7", "no problem of GSM8K's train has exactly 7"),
        ("train --calculations -1", "calculations must be at least 0"),
        ("evaluate --calculations -1", "must be a whole number of at least 0"),
        ("train --data gsm8k --evaluate-every 2", "are a part of its train: train on another part"),
        ("pretrain --with-strategy 0.5", "has no --with-strategy"),
        ("pretrain --student tiny --with-strategy half", "must be a finite number of at least 0"),
        ("pretrain --student tiny --with-strategy 2", "must be a share from 0 to 1, not 2.0"),
        ("evaluate --data gsm8k --only-with-strategies", "none of the 10 problems has a strategy"),
    ],
)
def test_what_has_no_effect_or_no_sense_is_refused(run, arguments, told):
    status, out, err = run(*arguments.split())
    assert status == 2 and told in err and out == "" and err.count("\n") == 1
