"""checkpoints.py: an interrupted and resumed run equals an uninterrupted one, bit for bit."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from small_world import (
    config,
    copy_of,
    even_reward,
    problems,
    same_weights,
    weights_of,
)

from sgpo_mini import checkpoints, methods, training
from sgpo_mini.checkpoints import RunFolder
from sgpo_mini.student import load_student, save_student
from sgpo_mini.support.files import read_rows, write_checksums
from sgpo_mini.support.weights import weights_of as trained_weights
from sgpo_mini.training import Config, train

torch.set_num_threads(1)


def run(student, settings: Config, **given):
    return train(student, problems(), settings, reward=given.pop("reward", even_reward), **given)


def assert_same_runs(first: Path, second: Path) -> None:
    """Log, checkpoints and trained student are equal byte for byte, and nothing else is left."""
    names = [
        sorted(
            str(path.relative_to(folder))
            for path in folder.rglob("*")
            if path.is_file() and path.name not in ("timings.jsonl", "config.json")
        )
        for folder in (first, second)
    ]
    assert names[0] == names[1]
    assert any(name.endswith("optimizer.safetensors") for name in names[0])
    for name in names[0]:
        assert (first / name).read_bytes() == (second / name).read_bytes(), name
    steps = [
        [row["step"] for row in read_rows(folder / "timings.jsonl")] for folder in (first, second)
    ]
    assert steps[0] == steps[1]
    settings = [
        json.loads((folder / "config.json").read_text(encoding="utf-8"))
        for folder in (first, second)
    ]
    assert settings[0] | {"out": ""} == settings[1] | {"out": ""}


def stop_after(monkeypatch, step: int):
    """Raise in the middle of the step that follows `step`."""
    real, count = training.collect, iter(range(10**6))

    def stopping(*arguments):
        if next(count) == step:
            raise RuntimeError("power cut")
        return real(*arguments)

    monkeypatch.setattr(training, "collect", stopping)


def broken_run(pretrained, monkeypatch, settings, step):
    """Leave the folder of a run that was cut off in the middle of the step after `step`."""
    with monkeypatch.context() as patch, pytest.raises(RuntimeError, match="power cut"):
        stop_after(patch, step)
        run(copy_of(pretrained), settings)


# Killed

PROGRAM = Path(__file__).with_name("killed_run.py")
# Where a process kills itself, and in which step: every start goes on from what the last one left.
KILLS = [
    ("sampling", 1),  # before there is any checkpoint
    ("half a line of the log", 3),
    ("between log and checkpoint", 4),
    ("a save: after the weights", 4),
    ("a save: before the rename", 4),
    ("a save: before the old one goes", 6),
    ("update", 7),
    ("saving the trained student", 8),
    ("never", 0),
]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_run_killed_again_and_again_equals_an_uninterrupted_one(saved_student, tmp_path):
    """SIGKILL in eight places, three of them during a save; each process resumes the last one's."""
    program = subprocess.run(
        [sys.executable, PROGRAM, saved_student, tmp_path / "killed", json.dumps(KILLS)],
        capture_output=True,
        text=True,
        timeout=300,
        encoding="utf-8",
    )
    assert program.returncode == 0, program.stderr
    reports = [json.loads(line) for line in program.stdout.splitlines()]
    assert [place for place, _, _ in reports] == [place for place, _ in KILLS]
    killed = [os.WIFSIGNALED(status) and os.WTERMSIG(status) for _, status, _ in reports]
    assert killed == [signal.SIGKILL] * 8 + [False], program.stderr
    left = {place: names for place, _, names in reports}
    assert left["sampling"] == []
    assert left["between log and checkpoint"] == ["step-000002"]
    assert left["a save: after the weights"] == [".step-000004", "step-000002"]
    assert left["a save: before the rename"] == [".step-000004", "step-000002"]
    assert left["a save: before the old one goes"] == ["step-000002", "step-000004", "step-000006"]
    assert left["never"] == ["step-000006", "step-000008"]
    told = re.findall("(?:resuming from|no intact checkpoint in) .*/(.*)", program.stderr)
    assert told == [
        "killed: starting from the first step",
        *["step-000002"] * 4, *["step-000006"] * 2, "step-000008",
    ]  # fmt: skip

    student = load_student(saved_student, device="cpu")
    run(student, config(steps=8, out=str(tmp_path / "whole")))
    assert_same_runs(tmp_path / "whole", tmp_path / "killed")


# Interrupted


def interrupting_reward(at: int):
    """A reward that presses Ctrl-C when it is asked for the `at`-th time, the trial left out."""
    count = iter(range(-len(problems()), 10**6))

    def reward(completion, problem):
        if next(count) == at:
            signal.raise_signal(signal.SIGINT)
        return even_reward(completion, problem)

    return reward


def test_ctrl_c_finishes_the_step_saves_and_says_how_to_go_on(pretrained, tmp_path):
    settings = config(out=str(tmp_path / "run"), checkpoint_every=100)
    handler = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt, match="continue with --resume --out .*run"):
        # 3 problems × 7 rollouts a step: the 30th reward is in the second step.
        run(copy_of(pretrained), settings, reward=interrupting_reward(30))
    assert signal.getsignal(signal.SIGINT) is handler
    folder = RunFolder(tmp_path / "run")
    assert [path.name for path in folder.checkpoints()] == ["step-000002"]
    assert not (tmp_path / "run" / "student").exists()

    resumed, whole = copy_of(pretrained), copy_of(pretrained)
    run(resumed, replace(settings, resume=True))
    run(whole, replace(settings, out=str(tmp_path / "whole")))
    assert same_weights(weights_of(resumed), weights_of(whole))
    for name in ("metrics.jsonl", "student/model.safetensors"):
        assert (tmp_path / "run" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_ctrl_c_in_the_last_step_loses_nothing(pretrained, tmp_path):
    settings = config(out=str(tmp_path / "run"), steps=1)
    with pytest.raises(KeyboardInterrupt):
        run(copy_of(pretrained), settings, reward=interrupting_reward(3))
    resumed = run(copy_of(pretrained), replace(settings, resume=True))
    whole = run(copy_of(pretrained), replace(settings, out=str(tmp_path / "whole")))
    assert same_weights(weights_of(resumed), weights_of(whole))
    assert_same_runs(tmp_path / "whole", tmp_path / "run")


def test_ctrl_c_without_a_folder_says_that_nothing_was_saved(student):
    with pytest.raises(KeyboardInterrupt, match="nothing was saved"):
        run(student, config(), reward=interrupting_reward(3))


def test_a_second_ctrl_c_stops_at_once(student, tmp_path):
    first, second = interrupting_reward(3), interrupting_reward(5)
    with pytest.raises(KeyboardInterrupt):
        run(student, config(out=str(tmp_path)), reward=lambda c, p: first(c, p) + second(c, p))
    assert not (tmp_path / "metrics.jsonl").exists()


def test_a_run_in_another_thread_leaves_ctrl_c_alone(student):
    ended = []
    thread = threading.Thread(target=lambda: ended.append(run(student, config(steps=1))))
    thread.start()
    thread.join()
    assert ended == [student]


# Resumed


@pytest.mark.parametrize(
    ("stopped_after", "changes"),
    [
        (1, {}),
        (2, {}),
        (3, {}),
        (3, {"method": "grpo"}),
        (3, {"updates_per_batch": 2, "micro_batch_tokens": 150}),
        (3, {"select_target": False, "weight_decay": 0.1}),
    ],
    ids=str,
)
def test_resumed_equals_uninterrupted(pretrained, monkeypatch, tmp_path, changes, stopped_after):
    settings = config(out=str(tmp_path / "run"), **changes)
    broken_run(pretrained, monkeypatch, settings, stopped_after)
    # What the student and the random states were before does not matter.
    resumed = copy_of(pretrained)
    if stopped_after > 1:
        for parameter in resumed.model.parameters():
            parameter.data.zero_()
    torch.manual_seed(stopped_after)
    run(resumed, replace(settings, resume=True))
    run(copy_of(pretrained), replace(settings, out=str(tmp_path / "whole")))
    assert_same_runs(tmp_path / "whole", tmp_path / "run")


def test_a_lora_run_is_resumed_bit_for_bit(saved_student, monkeypatch, tmp_path):
    """The checkpoint holds the adapters alone; the base is loaded again."""

    def lora():
        torch.manual_seed(7)  # of the adapters, which peft draws
        return load_student(saved_student, device="cpu", lora_rank=2)

    settings = config(lora_rank=2, out=str(tmp_path / "run"))
    with monkeypatch.context() as patch, pytest.raises(RuntimeError, match="power cut"):
        stop_after(patch, 3)
        run(lora(), settings)
    weights = load_file(tmp_path / "run/checkpoints/step-000002/weights.safetensors")
    assert weights and all("lora_" in name for name in weights)
    torch.manual_seed(8)
    resumed = run(
        load_student(saved_student, device="cpu", lora_rank=2), replace(settings, resume=True)
    )
    whole = run(lora(), replace(settings, out=str(tmp_path / "whole")))
    assert same_weights(weights_of(resumed), weights_of(whole))
    assert_same_runs(tmp_path / "whole", tmp_path / "run")


def test_a_finished_run_can_be_made_longer(pretrained, tmp_path):
    settings = config(out=str(tmp_path / "run"))
    run(copy_of(pretrained), settings)
    run(copy_of(pretrained), replace(settings, steps=6, resume=True))
    run(copy_of(pretrained), replace(settings, steps=6, out=str(tmp_path / "whole")))
    assert_same_runs(tmp_path / "whole", tmp_path / "run")


def test_counts_of_skipped_steps_are_resumed(pretrained, monkeypatch, tmp_path):
    real = methods.grpo_loss
    settings = config(steps=20, out=str(tmp_path / "run"))
    with monkeypatch.context() as patch, pytest.raises(RuntimeError, match="power cut"):
        patch.setattr(methods, "grpo_loss", lambda *a: real(*a) * float("nan"))
        stop_after(patch, 3)
        run(copy_of(pretrained), settings)
    monkeypatch.setattr(methods, "grpo_loss", lambda *a: real(*a) * float("nan"))
    with pytest.raises(RuntimeError, match="5 steps in a row"):
        run(copy_of(pretrained), replace(settings, resume=True))
    rows = read_rows(tmp_path / "run" / "metrics.jsonl")
    assert [row["skipped_steps"] for row in rows] == [1, 2, 3, 4, 5]


def test_the_float16_scaler_is_saved_and_loaded(student, tmp_path):
    optimizer = torch.optim.AdamW(student.model.parameters())
    scaler = torch.amp.GradScaler("cpu", init_scale=512.0)
    scaler.scale(torch.zeros(()))
    with RunFolder.open(str(tmp_path), {}, resume=False) as folder:
        folder.save_checkpoint(3, student, optimizer, scaler, {"skipped": 1})
    other = torch.amp.GradScaler("cpu")
    state, said = folder.load_checkpoint(student, optimizer, other)
    assert other.get_scale() == 512.0
    assert (state["step"], state["skipped"]) == (3, 1) and said.endswith("step-000003")


# Sound and damaged checkpoints


def test_the_last_two_checkpoints_are_kept_each_with_checksums(student, tmp_path):
    run(student, config(out=str(tmp_path), steps=7))
    folders = RunFolder(tmp_path).checkpoints()
    assert [folder.name for folder in folders] == ["step-000007", "step-000006"]
    for folder in folders:
        sums = json.loads((folder / "checksums.json").read_text(encoding="utf-8"))
        assert set(sums) == {"weights.safetensors", "optimizer.safetensors", "state.json"}
        assert {path.name for path in folder.iterdir()} == {*sums, "checksums.json"}


def flip_a_byte(folder: Path, name: str) -> None:
    data = bytearray((folder / name).read_bytes())
    data[len(data) // 2] ^= 1
    (folder / name).write_bytes(data)


DAMAGES = {
    "weights": lambda folder: flip_a_byte(folder, "weights.safetensors"),
    "optimizer": lambda folder: flip_a_byte(folder, "optimizer.safetensors"),
    "state": lambda folder: flip_a_byte(folder, "state.json"),
    "checksums": lambda folder: flip_a_byte(folder, "checksums.json"),
    "cut short": lambda folder: os.truncate(folder / "weights.safetensors", 100),
    "missing": lambda folder: (folder / "optimizer.safetensors").unlink(),
    "no checksums": lambda folder: (folder / "checksums.json").unlink(),
}


@pytest.fixture(scope="module")
def whole_and_broken(pretrained, tmp_path_factory):
    """The folders of a run of six steps and of the same run cut off in its sixth."""
    folder = tmp_path_factory.mktemp("runs")
    settings = config(steps=6, out=str(folder / "whole"))
    run(copy_of(pretrained), settings)
    with pytest.MonkeyPatch.context() as patch:
        broken_run(pretrained, patch, replace(settings, out=str(folder / "broken")), 5)
    return folder / "whole", folder / "broken"


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES.keys())
def test_a_damaged_newest_checkpoint_is_passed_over(
    pretrained, whole_and_broken, tmp_path, capsys, damage
):
    whole, broken = whole_and_broken
    shutil.copytree(broken, tmp_path / "run")
    damage(tmp_path / "run/checkpoints/step-000004")
    run(copy_of(pretrained), config(steps=6, out=str(tmp_path / "run"), resume=True))
    said = "resuming from .*step-000002 .skipped because damaged: step-000004."
    assert re.search(said, capsys.readouterr().err)
    assert_same_runs(whole, tmp_path / "run")


def test_with_every_checkpoint_damaged_the_run_starts_again_and_says_so(
    pretrained, monkeypatch, tmp_path, capsys
):
    settings = config(out=str(tmp_path / "run"))
    broken_run(pretrained, monkeypatch, settings, 3)
    DAMAGES["weights"](tmp_path / "run/checkpoints/step-000002")
    run(copy_of(pretrained), replace(settings, resume=True))
    assert "damaged: step-000002): starting from the first step" in capsys.readouterr().err
    run(copy_of(pretrained), replace(settings, out=str(tmp_path / "whole")))
    assert_same_runs(tmp_path / "whole", tmp_path / "run")


def test_a_damaged_checkpoint_does_not_push_out_a_sound_one(pretrained, tmp_path):
    """Two sound ones are kept, though the damaged one has a later step."""
    settings = config(out=str(tmp_path), checkpoint_every=2)
    with pytest.raises(KeyboardInterrupt):  # leaves 2 and, out of turn, 3
        run(copy_of(pretrained), settings, reward=interrupting_reward(2 * 21 + 3))
    DAMAGES["weights"](tmp_path / "checkpoints/step-000003")
    run(copy_of(pretrained), replace(settings, resume=True))
    assert [p.name for p in RunFolder(tmp_path).checkpoints()] == ["step-000004", "step-000002"]


def test_a_half_written_checkpoint_is_ignored_and_removed(
    pretrained, monkeypatch, tmp_path, capsys
):
    settings = config(out=str(tmp_path / "run"))
    broken_run(pretrained, monkeypatch, settings, 3)
    leftover = tmp_path / "run/checkpoints/.step-000004"
    leftover.mkdir()
    (leftover / "weights.safetensors").write_bytes(b"half")
    (tmp_path / "run/checkpoints/.DS_Store").write_bytes(b"not ours")
    run(copy_of(pretrained), replace(settings, resume=True))
    assert "damaged" not in capsys.readouterr().err
    assert not leftover.exists() and (tmp_path / "run/checkpoints/.DS_Store").exists()


def test_another_students_checkpoint_is_refused(student, saved_student, tmp_path):
    run(student, config(out=str(tmp_path)))
    other = load_student(saved_student, device="cpu", lora_rank=2)
    with pytest.raises(ValueError, match="the weights of another student"):
        run(other, config(out=str(tmp_path), resume=True))


# The log


@pytest.mark.parametrize("cut", [0, 1, 20, -1])
def test_a_last_line_that_was_cut_short_is_left_out(tmp_path, cut):
    lines = [json.dumps({"step": step, "loss": 0.1 * step}) + "\n" for step in (1, 2, 3)]
    path = tmp_path / "metrics.jsonl"
    path.write_text("".join(lines[:2]) + lines[2][:cut], encoding="utf-8")
    assert [row["step"] for row in read_rows(path)] == ([1, 2, 3] if cut == -1 else [1, 2])


def test_log_lines_after_the_checkpoint_are_written_again(pretrained, monkeypatch, tmp_path):
    settings = config(out=str(tmp_path), checkpoint_every=3)
    broken_run(pretrained, monkeypatch, settings, 2)
    assert len(read_rows(tmp_path / "metrics.jsonl")) == 2
    with open(tmp_path / "metrics.jsonl", "a", encoding="utf-8") as file:
        file.write('{"step": 3, "lo')
    run(copy_of(pretrained), replace(settings, resume=True))
    for name in ("metrics", "timings"):
        rows = read_rows(tmp_path / f"{name}.jsonl")
        assert [row["step"] for row in rows] == [1, 2, 3, 4]


# Refusals


def test_a_folder_that_holds_a_run_is_refused_and_left_alone(student, tmp_path):
    run(student, config(out=str(tmp_path), steps=1))
    before = (tmp_path / "metrics.jsonl").read_bytes()
    with pytest.raises(ValueError, match="already holds a run: continue it .--resume."):
        run(student, config(out=str(tmp_path), steps=1))
    assert (tmp_path / "metrics.jsonl").read_bytes() == before


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"learning_rate": 0.5}, r"other settings: learning_rate \(was 0.001\)"),
        ({"method": "grpo", "seed": 3}, r"method \(was 'sgpo'\), seed \(was 0\)"),
        ({"delta": None}, r"delta \(was 1.0\)"),
    ],
    ids=str,
)
def test_resuming_with_other_settings_is_refused_and_they_are_named(
    student, tmp_path, changes, told
):
    run(student, config(out=str(tmp_path), steps=1))
    with pytest.raises(ValueError, match=told):
        run(student, config(out=str(tmp_path), resume=True, **changes))


def from_an_earlier_version(out, **had):
    """Make the run one of a version without two of today's settings, and with others."""
    settings = json.loads((out / "config.json").read_text(encoding="utf-8"))
    del settings["question_column"], settings["right_reward"]
    (out / "config.json").write_text(json.dumps(settings | had), encoding="utf-8")


def test_a_run_of_an_earlier_version_resumes_when_what_it_lacks_is_at_its_default(
    student, tmp_path
):
    run(student, config(out=str(tmp_path), steps=1))
    from_an_earlier_version(tmp_path, wrong_strategies=False)
    run(student, config(out=str(tmp_path), steps=2, resume=True))
    assert len((tmp_path / "metrics.jsonl").read_text(encoding="utf-8").splitlines()) == 2


@pytest.mark.parametrize(
    ("had", "changes", "told"),
    [
        ({}, {"right_reward": 0.5}, r"other settings: right_reward \(was 1.0\);"),
        ({"wrong_strategies": True}, {}, r"other settings: wrong_strategies \(was True\);"),
    ],
    ids=["new", "gone"],
)
def test_a_setting_that_an_earlier_version_had_otherwise_is_refused(
    student, tmp_path, had, changes, told
):
    run(student, config(out=str(tmp_path), steps=1))
    from_an_earlier_version(tmp_path, **had)
    with pytest.raises(ValueError, match=told):
        run(student, config(out=str(tmp_path), resume=True, **changes))


def test_resuming_with_another_number_of_threads_is_refused(student, tmp_path):
    run(student, config(out=str(tmp_path), steps=1))
    try:
        with pytest.raises(ValueError, match=r"threads \(was 1\)"):
            run(student, config(out=str(tmp_path), steps=1, threads=2, resume=True))
    finally:
        torch.set_num_threads(1)


@pytest.mark.parametrize("made", ["nothing", "empty folder"])
def test_resuming_what_is_no_run_is_refused(student, tmp_path, made):
    out = tmp_path / "run"
    if made == "empty folder":
        out.mkdir()
    with pytest.raises(ValueError, match="holds no run to resume"):
        run(student, config(out=str(out), resume=True))


def test_a_file_is_refused_as_a_runs_folder(student, tmp_path):
    (tmp_path / "run").write_text("a file", encoding="utf-8")
    with pytest.raises(ValueError, match="is a file: give a folder"):
        run(student, config(out=str(tmp_path / "run")))


def test_a_moved_folder_can_be_resumed(pretrained, monkeypatch, tmp_path):
    settings = config(out=str(tmp_path / "run"))
    broken_run(pretrained, monkeypatch, settings, 3)
    os.replace(tmp_path / "run", tmp_path / "moved")
    run(copy_of(pretrained), replace(settings, out=str(tmp_path / "moved"), resume=True))
    saved = json.loads((tmp_path / "moved" / "config.json").read_text(encoding="utf-8"))
    assert saved["out"] == str(tmp_path / "moved")


def test_a_checkpoint_that_fails_leaves_the_last_one(student, monkeypatch, tmp_path):
    """A full disk, say, in the middle of a save."""
    real = checkpoints.save_file

    def full(tensors, path):
        if "optimizer" in path.name and "000004" in str(path):
            raise OSError("no space left on device")
        return real(tensors, path)

    monkeypatch.setattr(checkpoints, "save_file", full)
    with pytest.raises(OSError, match="no space"):
        run(student, config(out=str(tmp_path)))
    folder = RunFolder(tmp_path)
    assert [path.name for path in folder.checkpoints()] == ["step-000002"]
    optimizer = torch.optim.AdamW(student.model.parameters())
    scaler = torch.amp.GradScaler("cpu", enabled=False)
    state, _ = folder.load_checkpoint(student, optimizer, scaler)
    assert state["step"] == 2


# What a run was given


def changed(problem_list, index=3, **fields):
    return [replace(p, **fields) if i == index else p for i, p in enumerate(problem_list)]


GIVEN_CHANGES = {
    "question": ({"question": "name an even number"}, "problems"),
    "gold answer": ({"answer": "4"}, "problems"),
    "expert solution": ({"expert_solution": "I take 2 ."}, "problems"),
    "strategy": ({"strategy": "Choose a number that two divides"}, "strategies"),
    "strategy and question": ({"strategy": "two", "question": "q"}, "problems, strategies"),
}


@pytest.mark.parametrize(("fields", "told"), GIVEN_CHANGES.values(), ids=GIVEN_CHANGES)
def test_resuming_with_other_problems_is_refused_and_they_are_named(
    student, tmp_path, fields, told
):
    settings = config(out=str(tmp_path), steps=1)
    train(student, problems(), settings, reward=even_reward)
    before = contents(tmp_path)
    settings = replace(settings, steps=2, resume=True)
    told = rf"started from different inputs under the same names \(changed: {told}\): restore them"
    with pytest.raises(ValueError, match=told):
        train(student, changed(problems(), **fields), settings, reward=even_reward)
    assert contents(tmp_path) == before


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


@pytest.mark.parametrize("given", [problems()[:9], problems()[::-1], [*problems(), *problems()]])
def test_fewer_more_or_reordered_problems_are_other_problems(student, tmp_path, given):
    train(student, problems(), config(out=str(tmp_path), steps=1), reward=even_reward)
    with pytest.raises(ValueError, match=r"changed: problems(, strategies)?\)"):
        train(student, given, config(out=str(tmp_path), steps=2, resume=True), reward=even_reward)


def test_what_a_run_does_not_read_may_change(student, tmp_path):
    """GRPO reads no strategies; problems to measure on count where something is measured."""
    settings = config(out=str(tmp_path), steps=1, method="grpo")
    train(student, problems(), settings, reward=even_reward, validation=problems(3))
    settings = replace(settings, steps=2, resume=True)
    given = changed(problems(), strategy="another")
    train(student, given, settings, reward=even_reward, validation=problems(4))


def test_other_validation_problems_are_named_where_they_are_measured_on(student, tmp_path):
    settings = config(out=str(tmp_path), steps=1, evaluate_every=1)
    train(student, problems(), settings, reward=even_reward, validation=problems(2))
    settings = replace(settings, steps=2, resume=True)
    with pytest.raises(ValueError, match="changed: validation problems"):
        train(student, problems(), settings, reward=even_reward, validation=problems(3))


def another_byte(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)


def another_setting(path: Path) -> None:
    path.write_text(json.dumps(json.loads(path.read_bytes()) | {"x": 1}), encoding="utf-8")


STUDENT_CHANGES = {
    "model.safetensors": another_byte,
    "config.json": another_setting,
    "tokenizer_config.json": another_setting,
    "tokenizer.json": lambda path: path.write_bytes(path.read_bytes() + b"\n"),
    "chat_template.jinja": lambda path: path.write_text("{{ messages }}", encoding="utf-8"),
    "generation_config.json": Path.unlink,
}


@pytest.mark.parametrize("lora_rank", [0, 2])
def test_resuming_after_a_file_of_the_student_changed_is_refused(
    saved_student, tmp_path, lora_rank
):
    """The base too, of an adapter that was the student."""
    base = Path(shutil.copytree(saved_student, tmp_path / "base"))
    whose, folder = "student's", base
    if lora_rank:
        whose, folder = "base's", tmp_path / "adapter"
        save_student(load_student(base, device="cpu", lora_rank=lora_rank), folder)
    settings = config(out=str(tmp_path / "run"), steps=1)
    run(load_student(folder, device="cpu"), settings)
    settings = replace(settings, steps=2, resume=True)
    for name, change in STUDENT_CHANGES.items():
        kept = (base / name).read_bytes()
        change(base / name)
        with pytest.raises(ValueError, match=rf"changed: {whose} {re.escape(name)}\)"):
            run(load_student(folder, device="cpu"), settings)
        (base / name).write_bytes(kept)
    if lora_rank:
        weights = folder / "adapter_model.safetensors"
        kept = weights.read_bytes()
        another_byte(weights)
        with pytest.raises(ValueError, match=r"changed: student's adapter_model.safetensors\)"):
            run(load_student(folder, device="cpu"), settings)
        weights.write_bytes(kept)
    (base / "README.md").write_text("read by nobody", encoding="utf-8")
    run(load_student(folder, device="cpu"), settings)


def test_a_run_of_a_version_without_digests_goes_on_and_says_so(student, tmp_path, capsys):
    run(student, config(out=str(tmp_path), steps=1))
    path = tmp_path / "config.json"
    settings = json.loads(path.read_bytes())
    del settings["digests"]
    path.write_text(json.dumps(settings), encoding="utf-8")
    run(student, config(out=str(tmp_path), steps=2, resume=True))
    assert "stored no digests: we can't check that problems and weights are unchanged" in (
        capsys.readouterr().err
    )
    assert json.loads(path.read_bytes())["digests"]["problems"]  # from now on it is


@pytest.mark.parametrize("content", ["", "{", "[]", '{"steps": 4, "metho'])
def test_a_cut_config_is_named_with_what_to_do(student, tmp_path, content):
    run(student, config(out=str(tmp_path), steps=1))
    (tmp_path / "config.json").write_text(content, encoding="utf-8")
    told = "config.json is (empty|cut short or damaged): restore a copy of it, or start the run"
    with pytest.raises(ValueError, match=told):
        run(student, config(out=str(tmp_path), steps=2, resume=True))
    assert (tmp_path / "config.json").read_text(encoding="utf-8") == content


# Steps


def test_fewer_steps_than_are_done_are_refused_and_change_nothing(student, tmp_path):
    run(student, config(out=str(tmp_path)))
    before = contents(tmp_path)
    for steps in (1, 2, 3):
        told = rf"has done 4 steps: steps must be at least that \(--steps 4\), not {steps}"
        with pytest.raises(ValueError, match=told):
            run(student, config(out=str(tmp_path), steps=steps, resume=True))
    assert contents(tmp_path) == before
    run(student, config(out=str(tmp_path), resume=True))  # as many: nothing to do
    assert contents(tmp_path) == before


def test_checkpoints_are_sorted_by_number(student, tmp_path):
    """As text 1,000,000 comes before 999,998."""
    optimizer = torch.optim.AdamW(student.model.parameters())
    scaler = torch.amp.GradScaler("cpu", enabled=False)
    with RunFolder.open(str(tmp_path), {}, resume=False) as folder:
        for step in (999_998, 999_999, 1_000_000, 1_000_001, 10_000_000):
            folder.save_checkpoint(step, student, optimizer, scaler, {})
            assert folder.load_checkpoint(student, optimizer, scaler)[0]["step"] == step
        kept = ["step-10000000", "step-1000001"]
        assert [path.name for path in folder.checkpoints()] == kept
        (tmp_path / "checkpoints" / "step-2 (a copy)").mkdir()  # a person's, left alone
        assert [path.name for path in folder.checkpoints()] == kept
        folder._rewind(1_000_001)
        assert [path.name for path in folder.checkpoints()] == kept[1:]


# Best weights


def early_stopped(pretrained, out: Path, **changes) -> Config:
    """A run whose first measurement is its best; four steps are done, and its last two kept."""
    settings = config(
        out=str(out), evaluate_every=1, early_stop=3, checkpoint_every=1, steps=20, **changes
    )
    falling = iter([0.9, 0.5, 0.4, 0.3])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training, "evaluate", lambda *a, **k: _Measured(next(falling)))
        run(copy_of(pretrained), settings, validation=problems(2))
    return settings


class _Measured:
    def __init__(self, accuracy):
        self.accuracy = accuracy


BEST_DAMAGES = {
    "a flipped byte": lambda path: flip_a_byte(path.parent, path.name),
    "a flipped byte of the last tensor": another_byte,
    "cut short": lambda path: os.truncate(path, 1000),
    "empty": lambda path: path.write_bytes(b""),
    "gone": Path.unlink,
}


@pytest.mark.parametrize("damage", BEST_DAMAGES.values(), ids=BEST_DAMAGES)
def test_damaged_best_weights_are_refused(pretrained, tmp_path, damage):
    settings = early_stopped(pretrained, tmp_path)
    assert RunFolder(tmp_path).checkpoints()[-1].name == "step-000003"  # that of step 1 is gone
    damage(tmp_path / "best.safetensors")
    told = "best.safetensors is missing or damaged, and no checkpoint has the weights of step 1"
    with pytest.raises(ValueError, match=told):
        run(copy_of(pretrained), replace(settings, resume=True), validation=problems(2))


def test_damaged_best_weights_are_taken_from_their_checkpoint(
    pretrained, monkeypatch, tmp_path, capsys
):
    monkeypatch.setattr(checkpoints, "CHECKPOINTS_KEPT", 10)
    settings = early_stopped(pretrained, tmp_path)
    best = {n: t.clone() for n, t in load_file(tmp_path / "best.safetensors").items()}
    another_byte(tmp_path / "best.safetensors")
    resumed = run(copy_of(pretrained), replace(settings, resume=True), validation=problems(2))
    assert re.search(
        "best.safetensors is damaged: using .*step-000001 instead", capsys.readouterr().err
    )
    assert same_weights(trained_weights(resumed), best)


def test_best_weights_of_a_version_without_checksums_are_taken(pretrained, tmp_path):
    settings = early_stopped(pretrained, tmp_path)
    path = tmp_path / "best.safetensors"
    best = {name: tensor.clone() for name, tensor in load_file(path).items()}
    save_file(best, path)
    resumed = run(copy_of(pretrained), replace(settings, resume=True), validation=problems(2))
    assert same_weights(trained_weights(resumed), best)


def test_a_damaged_trained_student_is_refused_and_one_changed_on_purpose_is_not(student, tmp_path):
    run(student, config(out=str(tmp_path), steps=1))
    folder = tmp_path / "student"
    another_byte(folder / "model.safetensors")
    told = "model.safetensors is missing or not as it was saved: .* or remove checksums.json"
    with pytest.raises(ValueError, match=told):
        load_student(folder, device="cpu")
    another_setting(folder / "config.json")  # edited by hand: a setting is no weight
    (folder / "checksums.json").unlink()
    load_student(folder, device="cpu")


# Another precision


@pytest.mark.parametrize(
    ("before", "after", "told"),
    [
        (
            "float32",
            "float16",
            "made in float32 on cpu and continued in float16 on cpu with a fresh",
        ),
        (
            "bfloat16",
            "float16",
            "made in bfloat16 on cpu .* with a fresh gradient scaler: no longer",
        ),
        ("float16", "float32", "in float16 on cpu and continued in float32 on cpu: no longer bit"),
        (
            "bfloat16",
            "float32",
            "in bfloat16 on cpu and continued in float32 on cpu: no longer bit",
        ),
        ("float16", "float16", None),
    ],
)
def test_a_run_goes_on_in_another_precision_and_says_so(
    pretrained, tmp_path, capsys, before, after, told
):
    """A checkpoint of an A100 (bfloat16) on a T4 (float16), which scales its gradients."""
    student = replace(copy_of(pretrained), compute_dtype=getattr(torch, before))
    run(student, config(out=str(tmp_path), steps=1))
    student = replace(copy_of(pretrained), compute_dtype=getattr(torch, after))
    run(student, config(out=str(tmp_path), steps=2, resume=True))
    said = capsys.readouterr().err
    assert re.search(told, said) if told else "bit for bit" not in said
    assert [row["step"] for row in read_rows(tmp_path / "metrics.jsonl")] == [1, 2]
    state = json.loads((tmp_path / "checkpoints/step-000002/state.json").read_bytes())
    assert bool(state["scaler"]) == (after == "float16")


def test_a_checkpoint_of_a_version_that_did_not_name_its_precision(pretrained, tmp_path, capsys):
    run(copy_of(pretrained), config(out=str(tmp_path), steps=1))
    folder = tmp_path / "checkpoints/step-000001"
    state = json.loads((folder / "state.json").read_bytes())
    del state["computed_in"]
    (folder / "state.json").write_text(json.dumps(state), encoding="utf-8")
    (folder / "checksums.json").unlink()
    write_checksums(folder)
    student = replace(copy_of(pretrained), compute_dtype=torch.float16)
    run(student, config(out=str(tmp_path), steps=2, resume=True))
    assert "made in another precision and continued in float16" in capsys.readouterr().err


# One run at a time


def test_two_runs_in_one_folder_the_second_is_refused_and_the_first_goes_on(pretrained, tmp_path):
    said = []

    def reward(completion, given):
        if not said and (tmp_path / "config.json").exists():  # not at the trial of the reward
            try:
                run(copy_of(pretrained), config(out=str(tmp_path), resume=True))
            except ValueError as error:
                said.append(str(error))
        return even_reward(completion, given)

    run(copy_of(pretrained), config(out=str(tmp_path)), reward=reward)
    assert re.match(r"another run \(process \d+\) is using .*: wait until it ends", said[0])
    rows = read_rows(tmp_path / "metrics.jsonl")
    assert [row["step"] for row in rows] == [1, 2, 3, 4]
    assert not (tmp_path / checkpoints.LOCK).exists()


def test_a_number_that_is_not_finite_is_logged_as_null(tmp_path):
    folder = RunFolder(tmp_path)
    folder.log("metrics", {"step": 1, "loss": float("nan"), "norm": float("inf"), "a": 0.5})
    line = (tmp_path / "metrics.jsonl").read_text(encoding="utf-8")
    assert line == '{"step": 1, "loss": null, "norm": null, "a": 0.5}\n'
    folder.log("answers", {"completion": "two lines  or\x85three"})
    with open(tmp_path / "answers.jsonl", "a", encoding="utf-8") as file:
        file.write(json.dumps({"completion": "a b\x85c"}, ensure_ascii=False) + "\n")
    assert [row["completion"] for row in read_rows(tmp_path / "answers.jsonl")] == [
        "two lines  or\x85three",
        "a b\x85c",
    ]
