"""files.py: UTF-8 everywhere, handles, locks, damage; and what each platform asks of a file."""

import ast
import json
import multiprocessing
import os
import re
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import torch
from small_world import config, copy_of, even_reward, pretrained_student, problems

from sgpo_mini.checkpoints import RunFolder
from sgpo_mini.strategies import Strategy, save_strategies
from sgpo_mini.student import load_student, save_student
from sgpo_mini.support import files
from sgpo_mini.support.files import (
    damaged_files,
    locked,
    read_json,
    saving,
    write_checksums,
    write_whole,
)
from sgpo_mini.support.weights import weights_of
from sgpo_mini.training import train

ROOT = Path(__file__).resolve().parents[1]
SOURCES = [
    path
    for folder in ("sgpo_mini", "tests", "notebooks")
    for path in sorted((ROOT / folder).rglob("*.py"))
]

torch.set_num_threads(1)


# Encodings

_STATED = {"read_text": 0, "write_text": 1, "fdopen": 3}  # where `encoding` stands by position


def text_without_encoding(tree: ast.AST) -> list[int]:
    """The lines that open, read or write a text, or a process's output, in the locale's encoding.

    `mode` is taken from a literal; what is opened in a mode that is computed is told too.
    """
    found = []
    for call in (node for node in ast.walk(tree) if isinstance(node, ast.Call)):
        name = getattr(call.func, "id", getattr(call.func, "attr", ""))
        owner = getattr(getattr(call.func, "value", None), "id", "")
        named = {word.arg: word.value for word in call.keywords}
        if "encoding" in named or owner in ("os", "tarfile", "zipfile", "Image", "RunFolder"):
            continue
        if name in _STATED:
            found += [call.lineno] if len(call.args) <= _STATED[name] else []
        elif name == "open":
            place = 1 if isinstance(call.func, ast.Name) else 0  # open(path, mode), path.open(mode)
            given = call.args[place : place + 1] + [named.get("mode", ast.Constant("r"))]
            mode = getattr(given[0], "value", "?")
            found += [] if "b" in str(mode) else [call.lineno]
        elif getattr(named.get("text", named.get("universal_newlines")), "value", False):
            found.append(call.lineno)
    return found


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_text_states_its_encoding(path):
    """Windows takes cp1252 otherwise: what is written there ends the run, or is read wrongly."""
    assert text_without_encoding(ast.parse(path.read_text(encoding="utf-8"))) == []


@pytest.mark.parametrize(
    "code",
    [
        "open(p)", "open(p, 'w')", "open(p, mode='a')", "open(p, m)", "p.open()", "p.open('w')",
        "p.read_text()", "p.write_text(t)", "p.read_text(errors='replace')",
        "subprocess.run(c, text=True)", "Popen(c, universal_newlines=True)",
    ],
)  # fmt: skip
def test_the_rule_of_encodings_finds(code):
    assert text_without_encoding(ast.parse(code)) == [1]


@pytest.mark.parametrize(
    "code",
    [
        "open(p, 'rb')", "open(p, 'w', encoding='utf-8')", "p.open('ab')", "p.read_text('utf-8')",
        "p.write_text(t, 'utf-8')", "subprocess.run(c)", "p.read_bytes()",
    ],
)  # fmt: skip
def test_the_rule_of_encodings_lets_pass(code):
    assert text_without_encoding(ast.parse(code)) == []


# Consoles

SAYING = """
import sys
from sgpo_mini import __main__
def say(options):
    print("Préis 数学 ∆ — \\udc80")
    raise ValueError("kein 数学")
__main__.evaluate_command = say
from sgpo_mini.commands import evaluate
evaluate.evaluate_command = say
sys.exit(__main__.main(["evaluate"]))
"""


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "cp437", "shift_jis", "utf-8"])
def test_what_the_console_does_not_know_is_replaced(encoding):
    done = subprocess.run(
        [sys.executable, "-c", SAYING],
        capture_output=True,
        env=os.environ | {"PYTHONIOENCODING": encoding},
        timeout=120,
    )
    assert done.returncode == 2, done.stderr
    shown = "Préis 数学 ∆ — \udc80".encode(encoding, "replace").decode(encoding)
    assert done.stdout.decode(encoding).rstrip("\r\n") == shown
    said = "sgpo_mini: kein 数学".encode(encoding, "replace").decode(encoding)
    assert done.stderr.decode(encoding).strip() == said


# Handles


def refuse_read_only_handles(monkeypatch):
    """As Windows does: [Errno 9] Bad file descriptor."""
    fcntl = pytest.importorskip("fcntl")
    real = os.fsync

    def fsync(handle):
        is_file = not os.path.isdir(f"/proc/self/fd/{handle}")
        flags = fcntl.fcntl(handle, fcntl.F_GETFL)
        if is_file and flags & os.O_ACCMODE == os.O_RDONLY:
            raise OSError(9, "Bad file descriptor")
        real(handle)

    monkeypatch.setattr(os, "fsync", fsync)


def test_what_is_flushed_is_open_for_writing(monkeypatch, tmp_path):
    refuse_read_only_handles(monkeypatch)
    (tmp_path / "file").write_bytes(b"1")
    with open(tmp_path / "file", "rb") as file, pytest.raises(OSError, match="Bad file descriptor"):
        os.fsync(file.fileno())
    train(
        copy_of(pretrained_student()),
        problems(),
        config(steps=1, out=str(tmp_path / "run")),
        reward=even_reward,
    )
    save_strategies(tmp_path / "s.jsonl", {"a": Strategy("a", "b", ("c",))})
    write_whole(tmp_path / "text", "∆")
    assert (tmp_path / "run" / "student" / "model.safetensors").exists()


def mapped(folder: Path) -> list[str]:
    lines = Path("/proc/self/maps").read_text(encoding="utf-8").splitlines()
    return [line for line in lines if str(folder) in line]


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="needs /proc")
@pytest.mark.parametrize("lora_rank", [0, 2])
def test_no_file_stays_mapped(tmp_path, lora_rank):
    """Windows deletes and replaces no mapped file, and what is written into one changes the model:
    not the student's, not a checkpoint's, not the best weights'."""
    save_student(pretrained_student(), tmp_path / "base")
    student = load_student(tmp_path / "base", device="cpu", lora_rank=lora_rank)
    assert not mapped(tmp_path)
    settings = config(steps=2, checkpoint_every=1, out=str(tmp_path / "run"))
    train(student, problems(), settings, reward=even_reward)
    folder = RunFolder(tmp_path / "run")
    folder.save_best(weights_of(student))
    optimizer = torch.optim.AdamW([p for p in student.model.parameters() if p.requires_grad])
    scaler = torch.amp.GradScaler("cpu", enabled=False)
    state, _ = folder.load_checkpoint(student, optimizer, scaler)
    best = folder.load_best(student, 2)
    trained = load_student(tmp_path / "run" / "student", device="cpu")
    assert state["step"] == 2 and len(best) == len(optimizer.state) and not mapped(tmp_path)
    save_student(trained, tmp_path / "run" / "student")  # into the folder that it came from


# Locks


def held_elsewhere(path, ready, end):
    with locked(path, "the run"):
        ready.set()
        end.wait(60)


@pytest.fixture
def holder(tmp_path):
    """A process that holds tmp_path/run.lock."""
    context = multiprocessing.get_context("spawn")
    ready, end = context.Event(), context.Event()
    process = context.Process(target=held_elsewhere, args=(tmp_path / "run.lock", ready, end))
    process.start()
    assert ready.wait(60)
    process.end = end
    yield process
    process.kill()
    process.join()


def test_a_lock_names_its_holder_and_a_killed_one_holds_up_nobody(holder, tmp_path):
    lock = tmp_path / "run.lock"
    told = rf"another run \(process {holder.pid}\) is using the run: wait until it ends, or give"
    for _ in range(2):  # asking spoils nothing
        with pytest.raises(ValueError, match=told if os.name != "nt" else "another run"):
            with locked(lock, "the run"):
                pass
    holder.kill()
    holder.join()
    with locked(lock, "the run"):
        assert os.name == "nt" or lock.read_text(encoding="utf-8") == str(os.getpid())
    assert not lock.exists()


def test_a_lock_goes_at_the_end_however_it_comes(holder, tmp_path):
    holder.end.set()
    holder.join()
    assert not (tmp_path / "run.lock").exists()
    with pytest.raises(RuntimeError), locked(tmp_path / "run.lock", "x"):
        raise RuntimeError
    assert not (tmp_path / "run.lock").exists()


def test_two_threads_hold_no_lock_at_once(tmp_path):
    said = []

    def ask():
        try:
            with locked(tmp_path / "lock", "x"):
                said.append("held")
        except ValueError as error:
            said.append(str(error))

    with locked(tmp_path / "lock", "x"):
        thread = threading.Thread(target=ask)
        thread.start()
        thread.join()
    ask()
    assert said[0].startswith("another run") and said[1] == "held"


def test_a_stale_lock_file_without_a_number_is_no_obstacle(tmp_path):
    (tmp_path / "lock").write_bytes(b"\xff no number")
    with locked(tmp_path / "lock", "x"):
        pass


# Damage


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "is empty"), (b" \n", "is empty"), (b"{", "is cut short or damaged"),
        (b'{"a": 1', "is cut short"), (b"[1]", "damaged"), (b"null", "damaged"),
        (b"\xff\xfe{}", "damaged"), (b'{"a": "\xff"}', "damaged"), (b"[" * 10**5, "damaged"),
    ],
    ids=str,
)  # fmt: skip
def test_a_json_file_that_cannot_be_used_is_named_with_what_to_do(tmp_path, content, told):
    path = tmp_path / "config.json"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=f"{re.escape(str(path))} .*{told}.*: restore it"):
        read_json(path, "restore it")


def test_files_that_are_gone_cut_or_changed_are_named(tmp_path):
    for name in "abc":
        (tmp_path / name).write_text(name * 100, encoding="utf-8")
    write_checksums(tmp_path)
    assert damaged_files(tmp_path) == []
    (tmp_path / "a").write_bytes(b"a" * 99)
    (tmp_path / "b").unlink()
    assert damaged_files(tmp_path) == ["a", "b"]
    for broken in (b"", b"{", b"[]", b'"a"', b'{"a": 1', b'{"a": 1}'):
        (tmp_path / files.CHECKSUMS).write_bytes(broken)
        assert damaged_files(tmp_path), broken
    (tmp_path / files.CHECKSUMS).unlink()
    assert damaged_files(tmp_path) == [files.CHECKSUMS]


def test_a_text_is_written_whole_or_not_at_all(tmp_path, monkeypatch):
    path = tmp_path / "report.md"
    write_whole(path, "α\n")
    assert path.read_bytes() == "α\n".encode()

    def full(handle):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    told = (
        r"report.md can't be written \(No space left on device\); what was saved before is intact"
    )
    with pytest.raises(OSError, match=told):
        write_whole(path, "β")
    assert path.read_bytes() == "α\n".encode() and [p.name for p in tmp_path.iterdir()] == [
        path.name
    ]


def test_what_the_weights_library_says_is_told_with_the_file(tmp_path):
    from safetensors.torch import save_file

    path = tmp_path / "none" / "weights.safetensors"
    with pytest.raises(OSError, match="weights.safetensors can't be written .*; what was saved"):
        with saving(path):
            save_file({"a": torch.zeros(1)}, path)


# A full disk

LIMITED = """
import json, resource, sys
import torch
from small_world import config, even_reward, problems
from sgpo_mini.student import load_student
from sgpo_mini.training import train
torch.set_num_threads(1)
student, out, limit = load_student(sys.argv[1], device="cpu"), sys.argv[2], int(sys.argv[3])
def reward(completion, problem):
    # from the third step on: a trial for each problem, then 3 problems with 7 rollouts each
    if limit and next(count) >= 10 + 2 * 21:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    return even_reward(completion, problem)
count = iter(range(10**6))
try:
    train(student, problems(), config(out=out, resume=not limit), reward=reward)
except Exception as error:
    sys.exit(f"{type(error).__name__}: {error}")
"""


@pytest.mark.parametrize("limit", [100, 2000, 300_000], ids=["log", "state", "weights"])
def test_a_limit_on_the_size_of_files_loses_no_checkpoint(tmp_path, limit):
    """Hit while the log, the checkpoint's small or its large files are written."""
    pytest.importorskip("resource")
    save_student(pretrained_student(), tmp_path / "base")
    trained = copy_of(pretrained_student())
    train(trained, problems(), config(out=str(tmp_path / "whole")), reward=even_reward)

    def start(limit: int) -> str:
        done = subprocess.run(
            [sys.executable, "-c", LIMITED, tmp_path / "base", tmp_path / "run", str(limit)],
            env=os.environ | {"PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'tests'}"},
            capture_output=True,
            timeout=240,
        )
        return done.stderr.decode().strip().splitlines()[-1] if done.returncode else ""

    said = start(limit)
    assert re.fullmatch(r"OSError: .* can't be written \(.*\); what was saved .*\(--resume\)", said)
    assert [p.name for p in RunFolder(tmp_path / "run").checkpoints()] == ["step-000002"]
    assert not list((tmp_path / "run").rglob(".*")), "a full disk has room again"
    assert start(0) == ""
    for name in ("metrics.jsonl", "student/model.safetensors", "student/checksums.json"):
        assert (tmp_path / "run" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    assert json.loads((tmp_path / "run" / "config.json").read_bytes())["steps"] == 4
