"""A run's folder: its log, and checkpoints from which it goes on bit for bit.

A checkpoint is written whole or not at all: into a temporary folder, flushed to the disk, then
renamed. Each carries the SHA-256 of its files, so that a damaged one is known and passed over.
"""

import hashlib
import json
import os
import shutil
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

    def start(self, config: dict) -> None:
        """Make the folder; ValueError where it already holds a run."""
        if (self.path / "config.json").exists():
            raise ValueError(
                f"{self.path} already holds a run: go on with it (--resume) or give another --out"
            )
        (self.path / "checkpoints").mkdir(parents=True, exist_ok=True)
        _write_whole(self.path / "config.json", json.dumps(config, indent=1) + "\n")

    def check_same(self, config: dict, may_differ: set[str]) -> None:
        """ValueError where the run in this folder has another config, naming what differs."""
        path = self.path / "config.json"
        if not path.is_file():
            raise ValueError(f"{self.path} holds no run to resume: there is no {path.name} in it")
        saved = json.loads(path.read_text())
        other = sorted(
            name for name in saved.keys() | config.keys() if saved.get(name) != config.get(name)
        )
        other = [name for name in other if name not in may_differ]
        if other:
            told = ", ".join(f"{name} (was {saved.get(name)!r})" for name in other)
            raise ValueError(f"the run in {self.path} had other settings: {told}")

    def log(self, name: str, row: dict) -> None:
        """Append one line to `name`.jsonl."""
        with open(self.path / f"{name}.jsonl", "a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")

    def rewind(self, step: int) -> None:
        """Drop the log lines of steps after `step`: a resumed run writes them again."""
        for name in ("metrics", "timings"):
            path = self.path / f"{name}.jsonl"
            if path.exists():
                rows = read_rows(path)
                kept = [json.dumps(row) + "\n" for row in rows if row["step"] <= step]
                _write_whole(path, "".join(kept))

    def save_checkpoint(self, step: int, student: Student, optimizer, state: dict) -> Path:
        """Write the trainable weights, the optimizer and `state` as checkpoints/step-NNNNNN."""
        folder = self.path / "checkpoints"
        folder.mkdir(parents=True, exist_ok=True)
        for leftover in folder.glob(".*"):  # of a save that was killed
            shutil.rmtree(leftover)
        final = folder / f"step-{step:06d}"
        temporary = folder / f".{final.name}"
        temporary.mkdir()
        weights, moments = {}, {}
        for name, parameter in _trainable(student):
            weights[name] = parameter.detach().contiguous()
            for key, value in optimizer.state[parameter].items():
                moments[f"{key} {name}"] = value.contiguous()
        save_file(weights, temporary / "weights.safetensors")
        save_file(moments, temporary / "optimizer.safetensors")
        (temporary / "state.json").write_text(json.dumps({"step": step, **state}))
        files = sorted(temporary.iterdir())
        sums = {file.name: _sha256(file) for file in files}
        (temporary / "checksums.json").write_text(json.dumps(sums, indent=1))
        for file in temporary.iterdir():
            _flush(file)
        _flush(temporary)
        if final.exists():  # an unsound one of the same step, passed over on resuming
            shutil.rmtree(final)
        os.replace(temporary, final)
        _flush(folder)
        for old in self.checkpoints()[CHECKPOINTS_KEPT:]:
            shutil.rmtree(old)
        return final

    def checkpoints(self) -> list[Path]:
        """The checkpoints there are, the newest first."""
        return sorted((self.path / "checkpoints").glob("step-*"), reverse=True)

    def load_checkpoint(self, student: Student, optimizer) -> tuple[dict, str]:
        """Put the newest sound checkpoint into student and optimizer: (its state, what to say).

        ({}, reason) where there is none, and nothing is changed then.
        """
        passed_over = []
        for folder in self.checkpoints():
            if not _is_sound(folder):
                passed_over.append(folder.name)
                continue
            weights = load_file(folder / "weights.safetensors", device=str(student.device))
            moments = load_file(folder / "optimizer.safetensors", device=str(student.device))
            with torch.no_grad():
                for name, parameter in _trainable(student):
                    parameter.copy_(weights[name])
                    optimizer.state[parameter] = _moments_of(name, moments)
            said = f"resuming from {folder}"
            if passed_over:
                said += f" ({', '.join(passed_over)} is damaged and was passed over)"
            return json.loads((folder / "state.json").read_text()), said
        damaged = f": {', '.join(passed_over)} is damaged" if passed_over else ""
        return {}, f"no sound checkpoint in {self.path}{damaged}; starting from the first step"


def read_rows(path: str | Path) -> list[dict]:
    """The objects of a log; a last line that a kill cut short is left out."""
    rows = []
    for line in Path(path).read_text(encoding="utf-8").splitlines():
        try:
            rows.append(json.loads(line))
        except json.JSONDecodeError:
            break
    return rows


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
