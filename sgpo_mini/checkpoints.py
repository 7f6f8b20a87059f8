"""A run's folder: its log, and checkpoints from which it goes on bit for bit.

A checkpoint is written whole or not at all: into a temporary folder, flushed to the disk, then
renamed. Each carries the SHA-256 of its files, so that a damaged one is known and passed over.
"""

import hashlib
import json
import math
import os
import shutil
import signal
import sys
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from .student import Student

CHECKPOINTS_KEPT = 2


@dataclass
class RunFolder:
    """`config.json`, `metrics.jsonl`, `timings.jsonl`, `checkpoints/` and what else a run leaves.

    `metrics.jsonl` holds only what an equal run repeats bit for bit; clocks and memory go to
    `timings.jsonl`.
    """

    path: Path

    @classmethod
    def open(
        cls, out: str, settings: dict, resume: bool, may_differ: Collection[str] = ()
    ) -> "RunFolder | None":
        """The folder of a new run, or of the one to resume; None without `out`.

        ValueError where `out` already holds a run, or where the run to resume is not there or had
        other settings (the thread count is one).
        """
        if not out:
            if resume:
                raise ValueError("resume needs the run's folder: give it with out (--out FOLDER)")
            return None
        folder = cls(Path(out))
        path = folder.path / "config.json"
        settings = settings | {"threads": torch.get_num_threads()}
        if resume:
            folder._check_same(settings, may_differ)
        elif path.exists():
            raise ValueError(
                f"{out} already holds a run: go on with it (--resume) or give another --out"
            )
        elif folder.path.exists() and not folder.path.is_dir():
            raise ValueError(f"{out} is a file: give a folder for the run (--out FOLDER)")
        folder.path.mkdir(parents=True, exist_ok=True)
        _write_whole(path, json.dumps(settings, indent=1) + "\n")
        return folder

    def _check_same(self, settings: dict, may_differ: Collection[str]) -> None:
        path = self.path / "config.json"
        if not path.is_file():
            raise ValueError(f"{self.path} holds no run to resume: there is no {path.name} in it")
        saved = json.loads(path.read_text(encoding="utf-8"))
        other = sorted(
            name
            for name in (saved.keys() | settings.keys()) - set(may_differ)
            if saved.get(name) != settings.get(name)
        )
        if other:
            told = ", ".join(f"{name} (was {saved.get(name)!r})" for name in other)
            raise ValueError(f"the run in {self.path} had other settings: {told}")

    def log(self, name: str, row: dict) -> None:
        """Append one line to `name`.jsonl; null stands for NaN and infinity, which are no JSON."""
        row = {
            key: None if isinstance(value, float) and not math.isfinite(value) else value
            for key, value in row.items()
        }
        with open(self.path / f"{name}.jsonl", "a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")

    def resume(self, student: Student, optimizer, scaler) -> dict:
        """Go back to the newest sound checkpoint, and say so; its state, {} where there is none."""
        state, said = self.load_checkpoint(student, optimizer, scaler)
        print(said, file=sys.stderr)
        self._rewind(state.get("step", 0))
        return state

    def _rewind(self, step: int) -> None:
        """Drop what came after `step`, damaged checkpoints too: the run writes it again."""
        for name in ("metrics", "timings"):
            path = self.path / f"{name}.jsonl"
            if path.exists():
                kept = [row for row in read_rows(path) if row["step"] <= step]
                _write_whole(path, "".join(json.dumps(row) + "\n" for row in kept))
        for folder in self.checkpoints():
            if folder.name > _name_of(step):
                shutil.rmtree(folder)

    def save_checkpoint(self, step: int, student: Student, optimizer, scaler, state: dict) -> Path:
        """Write all that the next step depends on as checkpoints/step-NNNNNN."""
        folder = self.path / "checkpoints"
        folder.mkdir(exist_ok=True)
        for leftover in folder.glob(".step-*"):  # of a save that was killed
            shutil.rmtree(leftover)
        final = folder / _name_of(step)
        temporary = folder / f".{final.name}"
        temporary.mkdir()
        weights, moments = {}, {}
        for name, parameter in _trainable(student):
            weights[name] = parameter.detach().contiguous()
            for key, value in optimizer.state[parameter].items():
                moments[f"{key} {name}"] = value.contiguous()
        save_file(weights, temporary / "weights.safetensors")
        save_file(moments, temporary / "optimizer.safetensors")
        state = {"step": step, **state, "scaler": scaler.state_dict()}
        (temporary / "state.json").write_text(json.dumps(state))
        sums = {file.name: _sha256(file) for file in sorted(temporary.iterdir())}
        (temporary / "checksums.json").write_text(json.dumps(sums, indent=1))
        # The log first: a checkpoint whose steps are missing from it would leave a gap.
        for path in (*self.path.glob("*.jsonl"), *temporary.iterdir(), temporary):
            _flush(path)
        if final.exists():
            shutil.rmtree(final)
        os.replace(temporary, final)
        _flush(folder)
        for old in self.checkpoints()[CHECKPOINTS_KEPT:]:
            shutil.rmtree(old)
        return final

    def save_best(self, weights: dict[str, Tensor]) -> None:
        """Keep the weights that were best on validation, beside the checkpoints."""
        temporary = self.path / ".best.safetensors"
        save_file({name: tensor.contiguous() for name, tensor in weights.items()}, temporary)
        _flush(temporary)
        os.replace(temporary, self.path / "best.safetensors")

    def load_best(self, student: Student) -> dict[str, Tensor]:
        """The weights that `save_best` kept."""
        return load_file(self.path / "best.safetensors", device=str(student.device))

    def checkpoints(self) -> list[Path]:
        """The checkpoints there are, the newest first."""
        return sorted((self.path / "checkpoints").glob("step-*"), reverse=True)

    def load_checkpoint(self, student: Student, optimizer, scaler) -> tuple[dict, str]:
        """Put the newest sound checkpoint into the three: (its state, what to say).

        ({}, reason) where there is none; nothing is changed then. ValueError where the checkpoint
        is another student's.
        """
        damaged = []
        for folder in self.checkpoints():
            if not _is_sound(folder):
                damaged.append(folder.name)
                continue
            weights = load_file(folder / "weights.safetensors", device=str(student.device))
            moments = load_file(folder / "optimizer.safetensors", device=str(student.device))
            state = json.loads((folder / "state.json").read_text())
            own = _trainable(student)
            if {n: w.shape for n, w in weights.items()} != {n: p.shape for n, p in own}:
                raise ValueError(f"{folder} holds the weights of another student than this one")
            put_weights(student, weights)
            for name, parameter in own:
                optimizer.state[parameter] = _moments_of(name, moments)
            if scaler.is_enabled():
                scaler.load_state_dict(state.pop("scaler"))
            said = f"resuming from {folder}"
            if damaged:
                said += f" (passed over, because damaged: {', '.join(damaged)})"
            return state, said
        said = f" (damaged: {', '.join(damaged)})" if damaged else ""
        return {}, f"no sound checkpoint in {self.path}{said}: starting from the first step"


def weights_of(student: Student) -> dict[str, Tensor]:
    """A copy of all weights that are trained."""
    return {name: parameter.detach().clone() for name, parameter in _trainable(student)}


@torch.no_grad()
def put_weights(student: Student, weights: dict[str, Tensor]) -> None:
    """Copy weights into the student; an empty dict changes nothing."""
    for name, parameter in _trainable(student) if weights else ():
        parameter.copy_(weights[name])


@contextmanager
def finishing_steps(out: str) -> Iterator[list[int]]:
    """Ctrl-C lets the step in progress be finished: the list that this yields is empty until then.

    The loop inside then has to stop; KeyboardInterrupt follows, which says how to go on with the
    run in `out`. A second Ctrl-C stops at once.
    """
    interrupts: list[int] = []

    def remember(number, frame):
        if interrupts:
            raise KeyboardInterrupt
        interrupts.append(number)
        print("\nfinishing this step, then stopping (Ctrl-C again: at once)", file=sys.stderr)

    try:
        before = signal.signal(signal.SIGINT, remember)
    except ValueError:  # not the main thread: Ctrl-C is somebody else's
        yield interrupts
        return
    try:
        yield interrupts
    finally:
        signal.signal(signal.SIGINT, before)
    if interrupts:
        how = f"go on with --resume --out {out}" if out else "nothing was saved (no --out)"
        raise KeyboardInterrupt(f"stopped; {how}")


def read_rows(path: str | Path) -> list[dict]:
    """The objects of a log; a last line that a kill cut short is left out."""
    rows = []
    for line in Path(path).read_text(encoding="utf-8").splitlines():
        try:
            rows.append(json.loads(line))
        except json.JSONDecodeError:
            break
    return rows


def _name_of(step: int) -> str:
    return f"step-{step:06d}"


def _moments_of(name: str, moments: dict[str, Tensor]) -> dict[str, Tensor]:
    found = {}
    for key in moments:
        moment, _, owner = key.partition(" ")
        if owner == name:
            # Adam counts its steps in a tensor that stays on the CPU.
            found[moment] = moments[key].cpu() if moment == "step" else moments[key]
    return found


def _trainable(student: Student) -> list[tuple[str, torch.nn.Parameter]]:
    return [(n, p) for n, p in student.model.named_parameters() if p.requires_grad]


def _is_sound(folder: Path) -> bool:
    try:
        sums = json.loads((folder / "checksums.json").read_text())
        return bool(sums) and all(_sha256(folder / name) == value for name, value in sums.items())
    except (OSError, ValueError):
        return False


def _sha256(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _flush(path: Path) -> None:
    """Wait until a file or folder is on the disk (a folder can't be opened so on Windows)."""
    if path.is_dir() and os.name == "nt":
        return
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _write_whole(path: Path, text: str) -> None:
    temporary = path.with_name(f".{path.name}")
    temporary.write_text(text, encoding="utf-8")
    _flush(temporary)
    os.replace(temporary, path)
