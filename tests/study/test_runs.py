"""compare.py and report.py: real runs in processes of their own, the arithmetic by hand, a report.

The runs are of a student that guesses (quick_student.py), on one split and for a few steps.
"""

import json
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from quick_student import save_quick_student

from sgpo_mini.__main__ import main
from sgpo_mini.evaluation import evaluate
from sgpo_mini.mini_gsm.pretraining import MAX_NEW_TOKENS
from sgpo_mini.mini_gsm.world import make_problems
from sgpo_mini.strategy_sources.controls import CONTROLS
from sgpo_mini.student import load_student
from sgpo_mini.study import runs
from sgpo_mini.study.evaluations import answers_path, read_answers
from sgpo_mini.study.main_job import run_and_report, summary
from sgpo_mini.study.rows import EVALUATED
from sgpo_mini.study.runs import compare
from sgpo_mini.study.tables import outcome_table
from sgpo_mini.support.files import read_rows
from sgpo_mini.training import Config

torch.set_num_threads(1)

SPLITS = ("validation",)
SETTINGS = {
    "steps": 2,
    "problems_per_step": 8,
    "max_new_tokens": MAX_NEW_TOKENS,
    "learning_rate": 1e-2,
}


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
        assert answers == {
            "validation-guided.jsonl", "validation-unguided.jsonl", "validation.json",
        }  # fmt: skip
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
        answers = evaluate(loaded, make_problems("validation"), max_new_tokens=MAX_NEW_TOKENS)
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


# Answers


def write_answers(folder: Path, split: str, guided: bool, right) -> None:
    """Answers of which those are right for which right(number of the problem) is true."""
    path = answers_path(folder, split, guided)
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = [
        {"id": problem.id, "completion": "", "correct": bool(right(number)), "truncated": False}
        for number, problem in enumerate(make_problems(split))
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def test_answers_to_other_problems_are_refused(tmp_path):
    write_answers(tmp_path, "test", False, lambda n: n % 3 == 0)
    assert read_answers(tmp_path, "test", False).accuracy == pytest.approx(1 / 3)
    path = answers_path(tmp_path, "test", False)
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    for changed in (lines[:-1], [lines[1], lines[0], *lines[2:]]):
        path.write_text("".join(changed), encoding="utf-8")
        with pytest.raises(ValueError, match="holds answers to other problems"):
            read_answers(tmp_path, "test", False)


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
    assert "for 2 steps of 8 problems with 12 rollouts each (seed 0)" in text
    assert "**This is one seed.**" in text
    assert f"`python -m sgpo_mini compare --steps 2 --student {Path(student).name}`" in text
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
    assert outcome_table(rows, {}) in text and text.split("![")[0].strip() in printed
    assert text.split("\n\n")[2] == summary(rows)
    assert printed.endswith(f"report and figures: {out / 'report.md'}\n")
    assert {row["split"] for row in rows} == set(EVALUATED)
    for name in ("grpo-0", "sgpo-0"):
        assert (out / name / "student" / "model.safetensors").exists()


def test_the_main_job_again_runs_nothing_and_other_steps_are_refused(reported, student, capsys):
    out, printed = reported
    before = {p: p.stat().st_mtime_ns for p in out.glob("*-0/**/*")}
    again = run_and_report(out, student=student, steps=2)
    rows = json.loads((out / "comparison.json").read_text(encoding="utf-8"))
    assert outcome_table(rows, {}) in again
    assert {p: p.stat().st_mtime_ns for p in out.glob("*-0/**/*")} == before
    assert main(["--steps", "3", "--student", student, "--out", str(out)]) == 2
    assert "grpo-0 holds a run with other settings (steps): give" in capsys.readouterr().err
