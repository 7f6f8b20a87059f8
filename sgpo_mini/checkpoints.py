"""A run's folder: its log, and checkpoints from which it goes on bit for bit.

A checkpoint is written whole or not at all: into a temporary folder, flushed to the disk, then
renamed. Each carries the SHA-256 of its files, so that a damaged one is known and passed over. So
do the best weights and the trained student. `config.json` has digests of what the run was given,
and a run that goes on is held against them.
"""

import hashlib
import json
import math
import os
import re
import shutil
import sys
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from .student import Student, save_student
from .support.digests import changed_digests
from .support.files import (
    damaged_files,
    flush,
    locked,
    read_json,
    saving,
    write_checksums,
    write_folder,
    write_whole,
)

CHECKPOINTS_KEPT = 2
LOCK = "run.lock"
DIGESTS = "digests"  # of what the run was given, in its config.json


@dataclass
class RunFolder:
    """`config.json`, `metrics.jsonl`, `timings.jsonl`, `checkpoints/` and what else a run leaves.

    `metrics.jsonl` holds only what an equal run repeats bit for bit; clocks and memory go to
    `timings.jsonl`.
    """

    path: Path

    @classmethod
    @contextmanager
    def open(
        cls,
        out: str,
        settings: dict,
        resume: bool,
        digests: dict[str, str] | None = None,
        may_differ: Collection[str] = (),
    ) -> Iterator["RunFolder | None"]:
        """The folder of a new run, or of the one to resume, held by a lock; None without `out`.

        ValueError where `out` already holds a run or another process has it, or where the run to
        resume is not there, had other settings (the thread count is one), was given something else
        under the same names (by `digests`), or has done more steps than it is to have.
        """
        if not out:
            if resume:
                raise ValueError("resume needs the run's folder: give it with out (--out FOLDER)")
            yield None
            return
        folder = cls(Path(out))
        path = folder.path / "config.json"
        if resume and not path.is_file():
            raise ValueError(f"{out} holds no run to resume: there is no {path.name} in it")
        if folder.path.exists() and not folder.path.is_dir():
            raise ValueError(f"{out} is a file: give a folder for the run (--out FOLDER)")
        settings = settings | {"threads": torch.get_num_threads(), DIGESTS: digests or {}}
        with locked(folder.path / LOCK, out):
            if resume:
                folder._check_same(settings, may_differ)
            elif path.exists():
                raise ValueError(
                    f"{out} already holds a run: go on with it (--resume) or give another --out"
                )
            write_whole(path, json.dumps(settings, indent=1) + "\n")
            yield folder

    def _check_same(self, settings: dict, may_differ: Collection[str]) -> None:
        mend = "put back a copy of it, or start the run again with another --out"
        saved = read_json(self.path / "config.json", mend)
        other = sorted(
            name
            for name in (saved.keys() | settings.keys()) - {*may_differ, DIGESTS}
            if saved.get(name) != settings.get(name)
        )
        if other:
            told = ", ".join(f"{name} (was {saved.get(name)!r})" for name in other)
            raise ValueError(f"the run in {self.path} had other settings: {told}")
        if DIGESTS not in saved:
            print(
                f"the run in {self.path} is of a version that kept no digests: whether problems "
                "and weights are still the same is not checked",
                file=sys.stderr,
            )
        elif changed := changed_digests(saved[DIGESTS], settings[DIGESTS]):
            raise ValueError(
                f"the run in {self.path} began with something else under the same names "
                f"(changed: {', '.join(changed)}): put that back, or start again with another --out"
            )
        done = max(map(_step_of, self.checkpoints()), default=0)
        if settings.get("steps", done) < done:
            raise ValueError(
                f"the run in {self.path} has done {done} steps: steps must be at least that "
                f"(--steps {done}), not {settings['steps']}"
            )

    def log(self, name: str, row: dict) -> None:
        """Append one line to `name`.jsonl; a number that is not finite, and no JSON, as null."""
        path = self.path / f"{name}.jsonl"
        row = {key: _as_json(value) for key, value in row.items()}
        with saving(path), open(path, "a", encoding="utf-8", newline="\n") as file:
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
                write_whole(path, "".join(json.dumps(row) + "\n" for row in kept))
        for folder in self.checkpoints():
            if _step_of(folder) > step:
                shutil.rmtree(folder)

    def save_checkpoint(self, step: int, student: Student, optimizer, scaler, state: dict) -> Path:
        """Write all that the next step depends on as checkpoints/step-NNNNNN."""
        folder = self.path / "checkpoints"
        final = folder / f"step-{step:06d}"
        weights, moments = {}, {}
        for name, parameter in _trainable(student):
            weights[name] = parameter.detach().contiguous()
            for key, value in optimizer.state[parameter].items():
                moments[f"{key} {name}"] = value.contiguous()
        state = {"step": step, **state, "scaler": scaler.state_dict()}
        state["computed_in"] = _computed_in(student)

        def write(temporary: Path) -> None:
            save_file(weights, temporary / "weights.safetensors")
            save_file(moments, temporary / "optimizer.safetensors")
            (temporary / "state.json").write_text(json.dumps(state), encoding="utf-8")
            write_checksums(temporary)
            # The log first: a checkpoint whose steps are missing from it would leave a gap.
            for path in self.path.glob("*.jsonl"):
                flush(path)

        with saving(final):
            folder.mkdir(exist_ok=True)
            for leftover in folder.glob(".step-*"):  # of a save that was killed
                shutil.rmtree(leftover)
            write_folder(final, write)
        for old in self.checkpoints()[CHECKPOINTS_KEPT:]:
            shutil.rmtree(old)
        return final

    def save_student(self, student: Student) -> None:
        """Save the trained student as student/."""
        save_with_checksums(student, self.path / "student")

    def save_best(self, weights: dict[str, Tensor]) -> None:
        """Keep the weights that were best on validation, beside the checkpoints."""
        path, temporary = self.path / "best.safetensors", self.path / ".best.safetensors"
        weights = {name: tensor.contiguous() for name, tensor in weights.items()}
        with saving(path):
            try:
                save_file(weights, temporary, metadata={"sha256": _digest_of(weights)})
                flush(temporary)
                os.replace(temporary, path)
            finally:
                temporary.unlink(missing_ok=True)

    def load_best(self, student: Student, step: int) -> dict[str, Tensor]:
        """The weights that `save_best` kept at `step`; ValueError where they are lost.

        Where their file is damaged, the checkpoint of that step has them too, if it is still there.
        """
        path = self.path / "best.safetensors"
        if (weights := _read_best(path, student)) is not None:
            return weights
        for folder in self.checkpoints():
            if _step_of(folder) == step and not damaged_files(folder):
                print(f"{path} is damaged: taken from {folder}", file=sys.stderr)
                return _owned(load_file(folder / "weights.safetensors", str(student.device)))
        raise ValueError(
            f"{path} is missing or damaged, and no checkpoint has the weights of step {step}: put "
            "back a copy, or start the run again with another --out"
        )

    def checkpoints(self) -> list[Path]:
        """The checkpoints there are, the newest first."""
        found = (self.path / "checkpoints").glob("step-*")
        return sorted((f for f in found if _step_of(f)), key=_step_of, reverse=True)

    def load_checkpoint(self, student: Student, optimizer, scaler) -> tuple[dict, str]:
        """Put the newest sound checkpoint into the three: (its state, what to say).

        ({}, reason) where there is none; nothing is changed then. ValueError where the checkpoint
        is another student's.
        """
        damaged = []
        for folder in self.checkpoints():
            if damaged_files(folder):
                damaged.append(folder.name)
                continue
            weights = load_file(folder / "weights.safetensors", device=str(student.device))
            moments = load_file(folder / "optimizer.safetensors", device=str(student.device))
            state = json.loads((folder / "state.json").read_bytes())
            own = _trainable(student)
            if {n: w.shape for n, w in weights.items()} != {n: p.shape for n, p in own}:
                raise ValueError(f"{folder} holds the weights of another student than this one")
            put_weights(student, weights)
            for name, parameter in own:
                optimizer.state[parameter] = _moments_of(name, moments)
            if (scales := state.pop("scaler")) and scaler.is_enabled():
                scaler.load_state_dict(scales)
            said = f"resuming from {folder}"
            now = _computed_in(student)
            before = state.pop("computed_in", "")  # an older version didn't say
            fresh = scaler.is_enabled() and not scales
            if fresh or scales and not scaler.is_enabled() or before not in ("", now):
                said += f", made in {before or 'another precision'} and going on in {now}"
                said += " with a fresh gradient scaler" if fresh else ""
                said += ": no longer bit for bit"
            if damaged:
                said += f" (passed over, because damaged: {', '.join(damaged)})"
            return state, said
        said = f" (damaged: {', '.join(damaged)})" if damaged else ""
        return {}, f"no sound checkpoint in {self.path}{said}: starting from the first step"


def save_with_checksums(student: Student, folder: str | Path) -> None:
    """`save_student` to a folder of its own, whole or not at all; loading it finds damage."""

    def write(temporary: Path) -> None:
        save_student(student, temporary)
        write_checksums(temporary, "*.safetensors")

    with saving(Path(folder)):
        write_folder(Path(folder), write)


def weights_of(student: Student) -> dict[str, Tensor]:
    """A copy of all weights that are trained."""
    return {name: parameter.detach().clone() for name, parameter in _trainable(student)}


@torch.no_grad()
def put_weights(student: Student, weights: dict[str, Tensor]) -> None:
    """Copy weights into the student; an empty dict changes nothing."""
    for name, parameter in _trainable(student) if weights else ():
        parameter.copy_(weights[name])


def read_rows(path: str | Path) -> list[dict]:
    """The objects of a log; a last line that a kill cut short is left out."""
    rows = []
    for line in Path(path).read_bytes().split(b"\n"):  # a completion may hold other line ends
        try:
            rows.append(json.loads(line))
        except ValueError:
            break
    return rows


def _moments_of(name: str, moments: dict[str, Tensor]) -> dict[str, Tensor]:
    found = {}
    for key in moments:
        moment, _, owner = key.partition(" ")
        if owner == name:
            # Adam counts its steps in a tensor that stays on the CPU.
            found[moment] = moments[key].cpu() if moment == "step" else moments[key]
    return _owned(found)


def _owned(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Copies of what a loaded file's memory map holds: no file can be deleted on Windows then."""
    return {name: t.clone() if t.device.type == "cpu" else t for name, t in tensors.items()}


def _trainable(student: Student) -> list[tuple[str, torch.nn.Parameter]]:
    return [(n, p) for n, p in student.model.named_parameters() if p.requires_grad]


def _step_of(checkpoint: Path) -> int:
    """The step in a checkpoint's name; 0 where it is none."""
    name = re.fullmatch(r"step-([0-9]+)", checkpoint.name)
    return int(name[1]) if name else 0


def _computed_in(student: Student) -> str:
    return f"{str(student.compute_dtype).removeprefix('torch.')} on {student.device.type}"


def _as_json(value):
    """A number that JSON can't hold as None."""
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _read_best(path: Path, student: Student) -> dict[str, Tensor] | None:
    """The weights of a file that `save_best` wrote; None where it is missing or damaged."""
    try:
        weights = _owned(load_file(path, device=str(student.device)))
        with safe_open(path, framework="pt") as file:
            known = (file.metadata() or {}).get("sha256")  # an older version wrote none
    except (OSError, SafetensorError):
        return None
    shapes = {name: weight.shape for name, weight in _trainable(student)}
    fits = {name: weight.shape for name, weight in weights.items()} == shapes
    return weights if fits and known in (None, _digest_of(weights)) else None


def _digest_of(weights: dict[str, Tensor]) -> str:
    digest = hashlib.sha256()
    for name in sorted(weights):
        tensor = weights[name].detach().cpu().contiguous()
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)} ".encode())
        digest.update(memoryview(tensor.reshape(-1).view(torch.uint8).numpy()))
    return digest.hexdigest()
