"""compare.py and report.py: real runs in processes of their own, the arithmetic by hand, a report.

The runs are of a student that guesses (quick_student.py), on one split and for a few steps.
"""

import json
import math
import re
import shutil
import signal
import statistics
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from quick_student import DIFFICULTY, HARD, save_quick_student

from sgpo_mini.__main__ import main
from sgpo_mini.evaluation import evaluate
from sgpo_mini.mini_gsm.world import FAMILIES, make_problems
from sgpo_mini.strategy_sources.controls import CONTROLS
from sgpo_mini.student import load_student
from sgpo_mini.study import runs
from sgpo_mini.study.evaluations import (
    SURE_AND_WRONG,
    answers_path,
    hard_families,
    read_answers,
    validation_problems,
)
from sgpo_mini.study.main_job import run_and_report
from sgpo_mini.study.runs import EVALUATED, compare
from sgpo_mini.study.tables import accuracy_curve, comparison_rows, family_groups
from sgpo_mini.study.transfer_table import transfer_table
from sgpo_mini.support.files import read_rows
from sgpo_mini.support.intervals import confidence_interval
from sgpo_mini.training import Config

torch.set_num_threads(1)

SPLITS = ("validation",)
SETTINGS = {"steps": 2, "problems_per_step": 8, "max_new_tokens": 40, "learning_rate": 1e-2}
COLUMNS = {"students": ("base", "grpo", "sgpo"), "difference": "sgpo - grpo"}
T_OF_FOUR = 2.776  # 97.5 % quantile of Student's t with 4 degrees of freedom


@pytest.fixture(scope="module")
def student(tmp_path_factory) -> str:
    return str(save_quick_student(tmp_path_factory.mktemp("student")))


@pytest.fixture(scope="module")
def configs(student) -> dict[str, Config]:
    return {name: Config(student=student, method=name, **SETTINGS) for name in ("grpo", "sgpo")}


@pytest.fixture(scope="module")
def compared(configs, tmp_path_factory) -> Path:
    """Two methods with two seeds each. Read only: a test that changes it takes a copy."""
    out = tmp_path_factory.mktemp("runs") / "compared"
    compare(configs, (0, 1), out, SPLITS)
    return out


@pytest.fixture
def copied(compared, tmp_path) -> Path:
    return Path(shutil.copytree(compared, tmp_path / "copied"))


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


# Runs


def test_every_run_has_its_folder(compared, student):
    assert {folder.name for folder in compared.iterdir()} == {
        "base", "grpo-0", "grpo-1", "sgpo-0", "sgpo-1",
    }  # fmt: skip
    for folder in compared.iterdir():
        names = {path.name for path in folder.iterdir()}
        trained = {"config.json", "metrics.jsonl", "timings.jsonl", "checkpoints", "student"}
        assert names == {"answers", "evaluated.json"} | (
            trained if folder.name != "base" else set()
        )
        answers = {path.name for path in (folder / "answers").iterdir()}
        assert answers == {"validation-guided.jsonl", "validation-unguided.jsonl"}
    for method in ("grpo", "sgpo"):
        for seed in (0, 1):
            saved = json.loads(
                (compared / f"{method}-{seed}" / "config.json").read_text(encoding="utf-8")
            )
            assert (saved["method"], saved["seed"], saved["threads"]) == (method, seed, 1)
    logs = {(compared / name / "metrics.jsonl").read_bytes() for name in ("grpo-0", "grpo-1")}
    assert len(logs) == 2, "two seeds gave the same run"
    for name in ("grpo-0", "sgpo-1"):  # they learn something
        rows = read_rows(compared / name / "metrics.jsonl")
        assert max(row["gradient_norm"] for row in rows) > 0


@pytest.mark.parametrize("control", CONTROLS)
def test_a_control_changes_the_strategies_that_a_run_trains_on(
    control, student, tmp_path, monkeypatch
):
    given = []
    monkeypatch.setattr(
        runs, "train", lambda student, problems, config, **_: given.extend(problems)
    )
    config = Config(student=student, method="sgpo", seed=3, **SETTINGS)
    runs._run(runs.Job(tmp_path / "run", config, (), control))
    plain = make_problems("train")
    assert given == CONTROLS[control](plain, 3) != plain
    assert [p.question for p in given] == [p.question for p in plain]


def test_a_run_under_another_control_is_not_taken_for_the_same(configs, copied):
    with pytest.raises(ValueError, match="sgpo-0 holds a run with other settings \\(control\\)"):
        compare(configs, (0, 1), copied, SPLITS, {"sgpo": "shuffled"})


def test_the_answers_are_those_of_the_trained_and_of_the_base_student(compared, student):
    for folder, name in ((compared / "base", student), (compared / "sgpo-1", None)):
        loaded = load_student(name or folder / "student", device="cpu")
        answers = evaluate(loaded, make_problems("validation"), max_new_tokens=40)
        assert read_answers(folder, "validation", False).completions == answers.completions
        assert read_answers(folder, "validation", False).correct == answers.correct


def test_the_same_call_does_nothing_but_tell_what_is_finished(compared, configs, monkeypatch):
    before = {path: path.stat().st_mtime_ns for path in compared.rglob("*")}
    monkeypatch.setattr(subprocess, "Popen", None)  # no process is started
    told = []
    compare(configs, (0, 1), compared, SPLITS, when_done=told.append)
    assert {run.name for run in told} == {"base", "grpo-0", "grpo-1", "sgpo-0", "sgpo-1"}
    assert {path: path.stat().st_mtime_ns for path in compared.rglob("*")} == before


def test_a_run_that_was_trained_and_not_measured_is_measured(copied, compared, configs):
    (copied / "sgpo-0" / "evaluated.json").unlink()
    shutil.rmtree(copied / "sgpo-0" / "answers")
    settings = json.loads((copied / "sgpo-0" / "config.json").read_text(encoding="utf-8"))
    compare(configs, (0, 1), copied, SPLITS)
    expected = contents(compared)
    for name, content in contents(copied).items():
        if name != "sgpo-0/config.json":  # names the folder
            assert content == expected[name], name
    again = json.loads((copied / "sgpo-0" / "config.json").read_text(encoding="utf-8"))
    assert again == settings | {"out": str(copied / "sgpo-0")}


def test_the_same_run_in_another_folder_is_the_same_to_the_byte(copied, compared, configs):
    for name in ("grpo-0", "grpo-1", "sgpo-0", "sgpo-1"):
        shutil.rmtree(copied / name)
    told = []  # each run as soon as it is done, with the answers
    compare(
        {"sgpo": configs["sgpo"]}, (1,), copied, SPLITS,
        when_done=lambda run: told.append((run.name, (run / "evaluated.json").exists())),
    )  # fmt: skip
    assert told == [("base", True), ("sgpo-1", True)]
    first, second = contents(compared / "sgpo-1"), contents(copied / "sgpo-1")
    for name in first.keys() - {"config.json", "timings.jsonl"}:
        assert first[name] == second[name], name


@pytest.mark.parametrize("part", ["finished", "stopped on the way"])
def test_another_setting_in_the_same_folder_is_refused_and_named(copied, configs, part):
    if part != "finished":
        (copied / "sgpo-1" / "evaluated.json").unlink()
    before = contents(copied)
    for change in ({"learning_rate": 2e-2}, {"steps": 3}, {"delta": None}):
        other = configs | {"sgpo": replace(configs["sgpo"], **change)}
        with pytest.raises(ValueError, match=rf"other settings \({next(iter(change))}\): give"):
            compare(other, (1,), copied, SPLITS)
    assert contents(copied) == before


def test_other_splits_or_another_student_are_refused(copied, configs, student):
    with pytest.raises(ValueError, match=r"base holds a run with other settings \(splits\)"):
        compare(configs, (0, 1), copied, ("validation", "test"))
    weights = Path(student, "model.safetensors").read_bytes()
    try:
        Path(student, "model.safetensors").write_bytes(weights + b" ")
        with pytest.raises(ValueError, match=r"other settings \(weights\)"):
            compare(configs, (0, 1), copied, SPLITS)
    finally:
        Path(student, "model.safetensors").write_bytes(weights)


@pytest.mark.parametrize("part", ["finished", "stopped on the way"])
def test_a_file_of_the_student_that_changed_is_named(copied, configs, student, part):
    if part != "finished":
        for name in ("grpo-1", "sgpo-1"):
            (copied / name / "evaluated.json").unlink()
    for name in ("tokenizer_config.json", "config.json"):
        path = Path(student, name)
        kept = path.read_bytes()
        try:
            path.write_bytes(kept + b" ")
            with pytest.raises(ValueError, match=rf"settings \(student's {re.escape(name)}\)"):
                compare(configs, (1,), copied, SPLITS)
        finally:
            path.write_bytes(kept)


def test_finished_runs_of_a_version_without_digests_are_taken(copied, configs, monkeypatch):
    for run in copied.iterdir():
        evaluated = json.loads((run / "evaluated.json").read_bytes())
        del evaluated["digests"]
        (run / "evaluated.json").write_text(json.dumps(evaluated), encoding="utf-8")
    monkeypatch.setattr(subprocess, "Popen", None)  # no process is started
    compare(configs, (0, 1), copied, SPLITS)


@pytest.mark.parametrize("name", ["evaluated.json", "config.json"])
@pytest.mark.parametrize("content", ["", '{"asked": {"conf'])
def test_a_cut_file_of_a_run_is_named_with_what_to_do(copied, configs, name, content):
    if name == "config.json":
        (copied / "sgpo-1" / "evaluated.json").unlink()
    (copied / "sgpo-1" / name).write_text(content, encoding="utf-8")
    told = rf"sgpo-1.{name} is (empty|cut short or damaged): remove .*sgpo-1 and repeat the call"
    with pytest.raises(ValueError, match=told):
        compare(configs, (1,), copied, SPLITS)


def test_one_comparison_at_a_time_in_a_folder(copied, configs):
    """The second is refused before it starts a process; the lock goes with the first."""
    said = []

    def second(folder):
        try:
            compare(configs, (0, 1), copied, SPLITS)
        except ValueError as error:
            said.append(str(error))

    compare(configs, (0, 1), copied, SPLITS, when_done=second)
    assert len(said) == 5 and all("another run" in told and "is using" in told for told in said)
    assert not (copied / "compare.lock").exists()


def test_what_is_impossible_is_refused_before_anything_starts(configs, tmp_path):
    for change, told in (({"steps": -1}, "steps must be"), ({"learning_rate": 0.0}, "above 0")):
        with pytest.raises(ValueError, match=told):
            compare({"sgpo": replace(configs["sgpo"], **change)}, (0,), tmp_path / "x", SPLITS)
    with pytest.raises(ValueError, match="no split 'tset'"):
        compare(configs, (0,), tmp_path / "x", ("tset",))
    assert not (tmp_path / "x").exists()


def test_a_run_that_fails_is_named_with_what_it_said(configs, tmp_path):
    empty = tmp_path / "empty"
    empty.mkdir()
    config = replace(configs["sgpo"], student=str(empty))
    told = "runs.(base|sgpo-0) stopped: no student can be loaded from"
    with pytest.raises(RuntimeError, match=told):
        compare({"sgpo": config}, (0,), tmp_path / "runs", SPLITS)
    assert list((tmp_path / "runs").glob("*/messages.txt"))


def test_what_a_run_tells_of_its_troubles_is_passed_on_while_it_works(configs, tmp_path, capsys):
    short = {"sgpo": replace(configs["sgpo"], max_new_tokens=1, steps=2)}
    compare(short, (0,), tmp_path, ("validation",))
    told = [line for line in capsys.readouterr().err.splitlines() if "sgpo_mini: " in line]
    cut = "100% of the guided completions were cut off at max_new_tokens=1 and earned 0"
    assert len([line for line in told if cut in line and line.endswith(" [sgpo-0]")]) == 1


def wait_for(condition, what: str) -> None:
    end = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < end, f"{what} did not come"
        time.sleep(0.02)


def has_lines(path: Path, count: int = 2) -> bool:
    return path.exists() and path.read_bytes().count(b"\n") >= count


def test_ctrl_c_saves_and_the_same_call_goes_on(compared, configs, tmp_path):
    """Equal in the end to a run that nobody stopped."""
    shutil.copytree(compared / "base", tmp_path / "base")
    long = {"grpo": replace(configs["grpo"], steps=100)}
    log = tmp_path / "grpo-0" / "metrics.jsonl"

    def press():
        wait_for(lambda: has_lines(log), "the log")
        signal.raise_signal(signal.SIGINT)

    pressing = threading.Thread(target=press)
    pressing.start()
    with pytest.raises(KeyboardInterrupt):
        compare(long, (0,), tmp_path, SPLITS)
    pressing.join()
    done = len(read_rows(log))
    assert 2 <= done < 100
    (checkpoint,) = [f.name for f in (tmp_path / "grpo-0" / "checkpoints").iterdir()][-1:]
    assert checkpoint.startswith("step-")
    assert not (tmp_path / "grpo-0" / "student").exists()
    assert "Traceback" not in (tmp_path / "grpo-0" / "messages.txt").read_text(encoding="utf-8")

    compare(long, (0,), tmp_path, SPLITS)
    assert [row["step"] for row in read_rows(log)] == list(range(1, 101))
    first = (compared / "grpo-0" / "metrics.jsonl").read_text(encoding="utf-8")
    assert log.read_text(encoding="utf-8").startswith(first)
    assert not (tmp_path / "grpo-0" / "messages.txt").exists()


SCRIPT = """
print("once", flush=True)
from sgpo_mini.study.runs import compare
from sgpo_mini.training import Config
config = Config(**{settings!r})
compare({{"sgpo": config}}, (0,), {out!r}, {splits!r})
print("done", flush=True)
"""


def test_a_program_without_a_main_guard_or_a_file_can_compare(compared, configs, tmp_path):
    """From standard input, as in a notebook: a worker that imported its parent's program could not
    start, or would start workers of its own."""
    shutil.copytree(compared / "base", tmp_path / "base")
    settings = SETTINGS | {"student": configs["sgpo"].student}
    script = SCRIPT.format(settings=settings, out=str(tmp_path), splits=SPLITS)
    done = subprocess.run(
        [sys.executable, "-"],
        input=script,
        capture_output=True,
        text=True,
        timeout=300,
        encoding="utf-8",
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == "once\ndone\n"
    first, second = (f / "sgpo-0" / "metrics.jsonl" for f in (compared, tmp_path))
    assert first.read_bytes() == second.read_bytes()


def test_workers_stop_and_save_when_their_parent_is_killed(compared, configs, tmp_path):
    shutil.copytree(compared / "base", tmp_path / "base")
    settings = SETTINGS | {"student": configs["sgpo"].student}
    settings |= {"steps": 10**6, "checkpoint_every": 10**6}
    script = SCRIPT.format(settings=settings, out=str(tmp_path), splits=SPLITS)
    log = tmp_path / "sgpo-0" / "metrics.jsonl"
    with subprocess.Popen(
        [sys.executable, "-"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True,
        stderr=subprocess.DEVNULL,
        encoding="utf-8",
    ) as process:  # fmt: skip
        try:
            process.stdin.write(script)
            process.stdin.close()
            wait_for(lambda: has_lines(log), "the log")
        finally:
            process.kill()  # leaving the block waits for its end
    saved = tmp_path / "sgpo-0" / "checkpoints"
    wait_for(lambda: list(saved.glob("step-*")), "a checkpoint")
    time.sleep(1)
    (checkpoint,) = saved.glob("step-*")
    assert checkpoint.name == f"step-{len(read_rows(log)):06d}", "it went on"


# Arithmetic


def write_answers(folder: Path, split: str, guided: bool, right) -> None:
    """Answers of which those are right for which right(number of the problem) is true."""
    path = answers_path(folder, split, guided)
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = [
        {"id": problem.id, "completion": "", "correct": bool(right(number)), "truncated": False}
        for number, problem in enumerate(make_problems(split))
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


@pytest.fixture
def answered(tmp_path) -> Path:
    """Five seeds of two methods: each right on its own pattern of problems."""
    for guided in (False, True):
        write_answers(tmp_path / "base", "test", guided, lambda n: n % 3 == 0)
        for seed in range(5):
            grpo, sgpo = tmp_path / f"grpo-{seed}", tmp_path / f"sgpo-{seed}"
            write_answers(grpo, "test", guided, lambda n, seed=seed: n % (3 + seed) == 0)
            write_answers(sgpo, "test", guided, lambda n, seed=seed: (n * 7 + seed) % 5 < 3)
    return tmp_path


def reader(out: Path):
    return lambda run, split, guided: read_answers(out / run, split, guided)


def by_hand(folder: Path, families: set[str]) -> list[int]:
    """Straight from the file: 1 where the answer to a problem of the families is right."""
    rows = [
        json.loads(line) for line in (folder / "answers/test-unguided.jsonl").open(encoding="utf-8")
    ]
    return [int(row["correct"]) for row in rows if row["id"].split("-")[1] in families]


@pytest.mark.parametrize("place", [0, 1, 2], ids=["fair", "hard", "sure and wrong"])
def test_rows_over_five_seeds_are_means_and_paired_t_intervals(answered, place):
    rows = comparison_rows(reader(answered), ("grpo", "sgpo"), range(5), ("test",), HARD)
    rows = [row for row in rows if not row["guided"]]
    titles = ["test", "test, hard families", "test, sure and wrong"]
    assert [row["label"] for row in rows] == titles
    seen = {name for name, family in FAMILIES.items() if family.kind == "seen"}
    families = [seen - SURE_AND_WRONG, HARD, SURE_AND_WRONG][place]
    row = rows[place]

    means = {
        name: [statistics.mean(by_hand(answered / f"{name}-{seed}", families)) for seed in range(5)]
        for name in ("grpo", "sgpo")
    }
    gaps = [b - a for a, b in zip(means["grpo"], means["sgpo"], strict=True)]
    assert row["problems"] == 20 * len(families)
    assert row["per_seed"] == pytest.approx(gaps)
    for name, values in (*means.items(), ("difference", gaps)):
        value, (low, high) = row[name]
        half = T_OF_FOUR * statistics.stdev(values) / math.sqrt(5)
        assert value == pytest.approx(statistics.mean(values))
        assert (low, high) == pytest.approx((value - half, value + half))
    base = by_hand(answered / "base", families)
    assert row["base"] == (pytest.approx(statistics.mean(base)), confidence_interval(base))


def test_rows_of_one_seed_have_intervals_over_problems(answered):
    rows = comparison_rows(reader(answered), ("grpo", "sgpo"), (2,), ("test",), HARD)
    fair = {name for name, f in FAMILIES.items() if f.kind == "seen" and not f.sure_and_wrong}
    grpo, sgpo = (by_hand(answered / f"{name}-2", fair) for name in ("grpo", "sgpo"))
    row = rows[0]
    gaps = [b - a for a, b in zip(grpo, sgpo, strict=True)]
    assert "per_seed" not in row
    assert row["grpo"] == (pytest.approx(statistics.mean(grpo)), confidence_interval(grpo))
    assert row["difference"] == (pytest.approx(statistics.mean(gaps)), confidence_interval(gaps))


def test_the_interval_of_a_share_keeps_within_its_bounds_and_that_of_a_difference_does_not(
    tmp_path,
):
    for guided in (False, True):
        for run in ("base", "grpo-0", "grpo-1"):
            write_answers(tmp_path / run, "test", guided, lambda n: True)
        write_answers(tmp_path / "sgpo-0", "test", guided, lambda n: True)
        write_answers(tmp_path / "sgpo-1", "test", guided, lambda n: n % 2 == 0)
    row = comparison_rows(reader(tmp_path), ("grpo", "sgpo"), (0, 1), ("test",), set())[0]
    assert row["sgpo"] == (pytest.approx(0.75), (0.0, 1.0))
    assert row["grpo"] == (1.0, (1.0, 1.0))
    low, high = row["difference"][1]
    assert low < -1 and high > 1
    table = transfer_table([row], **COLUMNS)
    assert "| 100.0 (all equal) | 75.0 (0.0 to 100.0) | -25.0 (-342.6 to +292.6) |" in table


def test_a_curve_goes_from_the_base_student_to_the_trained_one(tmp_path):
    right = {"before": lambda n: n % 4 == 0, "after": lambda n: n % 2 == 0}
    for name, pattern in right.items():
        write_answers(tmp_path / name, "validation", False, pattern)
    before, after = (read_answers(tmp_path / name, "validation", False) for name in right)
    fair = [n for n, p in enumerate(make_problems("validation")) if p.family not in SURE_AND_WRONG]
    first, last = (statistics.mean(pattern(n) for n in fair) for pattern in right.values())
    log = [{"step": step} for step in range(1, 26)]
    log[19]["validation_accuracy"] = 0.4
    assert accuracy_curve(log, before, after) == [(0, first), (20, 0.4), (25, last)]
    assert accuracy_curve(log[:2], before, after) == [(0, first), (2, last)]
    # With early stop the trained one has the weights of step 20, not of step 25.
    assert accuracy_curve(log, before, after, early_stop=4) == [(0, first), (20, 0.4)]
    assert accuracy_curve(log[:2], before, after, early_stop=4) == [(0, first), (2, last)]


def test_training_measures_accuracy_on_the_problems_that_the_curves_ends_are_of():
    fair = [p for p in make_problems("validation") if p.family not in SURE_AND_WRONG]
    assert validation_problems() == fair


def test_methods_that_answer_alike_have_an_interval_on_both_sides_of_zero(answered):
    shutil.copytree(answered / "grpo-0", answered / "sgpo-0", dirs_exist_ok=True)
    (row, *_) = comparison_rows(reader(answered), ("grpo", "sgpo"), (0,), ("test",), set())
    value, (low, high) = row["difference"]
    assert value == 0 and low == -high < 0 and high < 0.05


def test_the_sure_and_wrong_are_in_no_other_row(answered):
    for split in EVALUATED:
        groups = family_groups(split, HARD)
        families = {problem.family for problem in make_problems(split)}
        assert groups[split] == families - SURE_AND_WRONG
        for label, group in groups.items():
            assert bool(group & SURE_AND_WRONG) == label.endswith("sure and wrong") and group
    assert list(family_groups("composed", HARD)) == ["composed"]


def test_hard_families_are_those_measured_at_one_in_ten_or_less(student):
    assert DIFFICULTY["share"] == 0.1 and DIFFICULTY["pack"] == 0.11
    assert hard_families(student) == HARD
    with pytest.raises(ValueError, match="measured.json is missing"):
        hard_families("no/such-student")


def test_answers_to_other_problems_are_refused(answered):
    path = answers_path(answered / "base", "test", False)
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    for changed in (lines[:-1], [lines[1], lines[0], *lines[2:]]):
        path.write_text("".join(changed), encoding="utf-8")
        with pytest.raises(ValueError, match="holds answers to other problems"):
            read_answers(answered / "base", "test", False)


def test_the_table_has_a_row_each_in_percent(answered):
    rows = comparison_rows(reader(answered), ("grpo", "sgpo"), range(5), ("test",), HARD)
    lines = transfer_table(rows, **COLUMNS).split("\n")
    assert lines[0] == "| problems | prompt | base | grpo | sgpo | sgpo - grpo |"
    assert len(lines) == 2 + len(rows) == 8
    assert {line.count("|") for line in lines} == {7}
    value, (low, high) = rows[0]["difference"]
    assert lines[2].startswith(f"| test ({rows[0]['problems']}) | unguided | ")
    told = f"| {100 * value:+.1f} ({100 * low:+.1f} to {100 * high:+.1f}) |"
    assert lines[2].endswith(told)
    assert lines[5].startswith("| test (") and "| guided |" in lines[5]


# The report


@pytest.fixture(scope="module")
def reported(student, tmp_path_factory):
    """The main job, with a tiny number of steps, from its command line: (folder, output)."""
    out = tmp_path_factory.mktemp("report") / "main"
    process = subprocess.run(
        [sys.executable, "-m", "sgpo_mini", "--steps", "2", "--student", student, "--out", out],
        capture_output=True,
        text=True,
        timeout=300,
        encoding="utf-8",
    )
    assert process.returncode == 0, process.stderr
    return out, process.stdout


def test_the_main_job_leaves_a_report_with_four_figures(reported, student):
    out, printed = reported
    text = (out / "report.md").read_text(encoding="utf-8")
    assert "One seed (0), 2 steps of 8 problems with 12 rollouts each" in text
    assert "**This is one seed.**" in text
    assert "table over five seeds is in the project's README" in text
    assert f"`python -m sgpo_mini compare --steps 2 --student {Path(student).name}`" in text
    assert ", ".join(sorted(HARD)) in text and ", ".join(sorted(SURE_AND_WRONG)) in text
    figures = re.findall(r"!\[[^]]*\]\((figures/\w+\.png)\)", text)
    assert len(figures) == 4
    for figure in figures:
        assert (out / figure).read_bytes().startswith(b"\x89PNG") and f"({figure})" in text
    assert sorted(path.name for path in (out / "figures").iterdir()) == sorted(
        Path(figure).name for figure in figures
    )
    assert not re.search(r"(?<![\w.])/(?:tmp|home|work|root|var|Users)\b", text)
    assert str(out.parent) not in text and str(out.parent) not in (
        out / "comparison.json"
    ).read_text(encoding="utf-8")

    rows = json.loads((out / "comparison.json").read_text(encoding="utf-8"))
    assert transfer_table(rows, **COLUMNS) in text and text.split("![")[0].strip() in printed
    assert printed.endswith(f"report and figures: {out / 'report.md'}\n")
    labels = {row["label"] for row in rows}
    assert set(EVALUATED) | {"test, hard families", "test, sure and wrong"} <= labels
    for name in ("grpo-0", "sgpo-0"):
        assert (out / name / "student" / "model.safetensors").exists()


def test_the_main_job_again_runs_nothing_and_other_steps_are_refused(reported, student, capsys):
    out, printed = reported
    before = {p: p.stat().st_mtime_ns for p in out.glob("*-0/**/*")}
    again = run_and_report(out, student=student, steps=2)
    assert (
        transfer_table(json.loads((out / "comparison.json").read_text(encoding="utf-8")), **COLUMNS)
        in again
    )
    assert {p: p.stat().st_mtime_ns for p in out.glob("*-0/**/*")} == before
    assert main(["--steps", "3", "--student", student, "--out", str(out)]) == 2
    assert "grpo-0 holds a run with other settings (steps): give" in capsys.readouterr().err


def test_a_student_without_measurements_is_refused_before_anything_starts(tmp_path, student):
    bare = shutil.copytree(student, tmp_path / "bare")
    (bare / "measured.json").unlink()
    with pytest.raises(ValueError, match="measured.json is missing"):
        run_and_report(tmp_path / "out", student=str(bare), steps=2)
    assert not (tmp_path / "out").exists()
