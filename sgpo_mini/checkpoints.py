"""A run's folder: its log, and checkpoints from which it resumes bit for bit.

A checkpoint is written completely or not at all: into a temporary folder, flushed to disk, then
renamed. It stores the SHA-256 of its files, so resuming detects and skips a damaged one. The best
weights and the trained student have checksums too. `config.json` stores digests of the run's
inputs, and resuming compares them.
"""

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
from .support.digests import changed_digests, digest_of_weights
from .support.files import (
    damaged_files,
    flush,
    locked,
    read_json,
    read_rows,
    saving,
    write_checksums,
    write_folder,
    write_whole,
)
from .support.weights import computed_in, owned, put_weights, trainable

CHECKPOINTS_KEPT = 2
LOCK = "run.lock"
DIGESTS = "digests"  # of the run's inputs, in its config.json


@dataclass
class RunFolder:
    """A run's files: `config.json`, `metrics.jsonl`, `timings.jsonl`, `checkpoints/` and weights.

    An equal run writes the same `metrics.jsonl`, bit for bit; times and memory go to
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
        defaults: dict | None = None,
    ) -> Iterator["RunFolder | None"]:
        """Lock and yield the folder of a new run or of the run to resume; None without `out`.

        Raises ValueError if `out` already holds a run or another process uses it. When resuming,
        raises ValueError if there is no run, its settings (thread count included) or `digests`
        differ, or it has already done more steps than `steps`. `defaults` gives the values that
        settings had before they existed.
        """
        if not out:
            if resume:
                raise ValueError("resume needs the run's folder: give it with out (--out FOLDER)")
            yield None
            return
        folder = cls(Path(out))
        path = folder.path / "config.json"
        if resume and not path.is_file():
            raise ValueError(f"{out} holds no run to resume: it has no {path.name}")
        if folder.path.exists() and not folder.path.is_dir():
            raise ValueError(f"{out} is a file: give a folder for the run (--out FOLDER)")
        settings = settings | {"threads": torch.get_num_threads(), DIGESTS: digests or {}}
        with locked(folder.path / LOCK, out):
            if resume:
                folder._check_same(settings, may_differ, defaults or {})
            elif path.exists():
                raise ValueError(
                    f"{out} already holds a run: continue it (--resume) or give another --out"
                )
            write_whole(path, json.dumps(settings, indent=1) + "\n")
            yield folder

    def _check_same(self, settings: dict, may_differ: Collection[str], defaults: dict) -> None:
        mend = "restore a copy of it, or start the run again with another --out"
        saved = read_json(self.path / "config.json", mend)
        before = dict.fromkeys(settings) | defaults | saved
        other = sorted(
            name
            for name in before.keys() - {*may_differ, DIGESTS}
            if before[name] != settings.get(name)
            # a setting that the run or this version does not have is off there
            and (before[name] or settings.get(name) or (name in saved and name in settings))
        )
        if other:
            told = ", ".join(f"{name} (was {before[name]!r})" for name in other)
            raise ValueError(
                f"the run in {self.path} had other settings: {told}; resume with them, or start "
                "again with another --out"
            )
        if DIGESTS not in saved:
            print(
                f"the run in {self.path} was started by a version that stored no digests: we can't "
                "check that problems and weights are unchanged",
                file=sys.stderr,
            )
        elif changed := changed_digests(saved[DIGESTS], settings[DIGESTS]):
            raise ValueError(
                f"the run in {self.path} started from different inputs under the same names "
                f"(changed: {', '.join(changed)}): restore them, or start again with another --out"
            )
        done = max(map(_step_of, self.checkpoints()), default=0)
        if settings.get("steps", done) < done:
            raise ValueError(
                f"the run in {self.path} has done {done} steps: steps must be at least that "
                f"(--steps {done}), not {settings['steps']}"
            )

    def log(self, name: str, row: dict) -> None:
        """Append one line to `name`.jsonl; JSON has no NaN or infinity, so they become null."""
        path = self.path / f"{name}.jsonl"
        row = row | {
            k: None for k, v in row.items() if isinstance(v, float) and not math.isfinite(v)
        }
        with saving(path), open(path, "a", encoding="utf-8", newline="\n") as file:
            file.write(json.dumps(row) + "\n")

    def resume(self, student: Student, optimizer, scaler) -> dict:
        """Load the newest intact checkpoint and print which; its state, {} if there is none."""
        state, said = self.load_checkpoint(student, optimizer, scaler)
        print(said, file=sys.stderr)
        self._rewind(state.get("step", 0))
        return state

    def _rewind(self, step: int) -> None:
        """Delete log lines and checkpoints after `step`, which the run will write again."""
        for name in ("metrics", "timings"):
            path = self.path / f"{name}.jsonl"
            if path.exists():
                kept = [row for row in read_rows(path) if row["step"] <= step]
                write_whole(path, "".join(json.dumps(row) + "\n" for row in kept))
        for folder in self.checkpoints():
            if _step_of(folder) > step:
                shutil.rmtree(folder)

    def save_checkpoint(self, step: int, student: Student, optimizer, scaler, state: dict) -> Path:
        """Write everything that the next step depends on to checkpoints/step-NNNNNN."""
        folder = self.path / "checkpoints"
        final = folder / f"step-{step:06d}"
        weights, moments = {}, {}
        for name, parameter in trainable(student):
            weights[name] = parameter.detach().contiguous()
            for key, value in optimizer.state[parameter].items():
                moments[f"{key} {name}"] = value.contiguous()
        state = {"step": step, **state, "scaler": scaler.state_dict()}
        state["computed_in"] = computed_in(student)

        def write(temporary: Path) -> None:
            save_file(weights, temporary / "weights.safetensors")
            save_file(moments, temporary / "optimizer.safetensors")
            (temporary / "state.json").write_text(json.dumps(state), encoding="utf-8")
            write_checksums(temporary)
            # The log first: a crash must not leave a checkpoint whose log lines are missing.
            for path in self.path.glob("*.jsonl"):
                flush(path)

        with saving(final):
            folder.mkdir(exist_ok=True)
            for leftover in folder.glob(".step-*"):  # from a save that was killed
                shutil.rmtree(leftover)
            write_folder(final, write)
        for old in self.checkpoints()[CHECKPOINTS_KEPT:]:
            shutil.rmtree(old)
        return final

    def save_student(self, student: Student) -> None:
        """Save the trained student as student/."""
        save_with_checksums(student, self.path / "student")

    def save_best(self, weights: dict[str, Tensor]) -> None:
        """Save the weights with the best validation accuracy, beside the checkpoints."""
        path, temporary = self.path / "best.safetensors", self.path / ".best.safetensors"
        weights = {name: tensor.contiguous() for name, tensor in weights.items()}
        with saving(path):
            try:
                save_file(weights, temporary, metadata={"sha256": digest_of_weights(weights)})
                flush(temporary)
                os.replace(temporary, path)
            finally:
                temporary.unlink(missing_ok=True)

    def load_best(self, student: Student, step: int) -> dict[str, Tensor]:
        """The weights that `save_best` saved at `step`, else those of that step's checkpoint.

        Raises ValueError if both are missing or damaged.
        """
        path = self.path / "best.safetensors"
        if (weights := _read_best(path, student)) is not None:
            return weights
        for folder in self.checkpoints():
            if _step_of(folder) == step and not damaged_files(folder):
                print(f"{path} is damaged: using {folder} instead", file=sys.stderr)
                return owned(load_file(folder / "weights.safetensors", str(student.device)))
        raise ValueError(
            f"{path} is missing or damaged, and no checkpoint has the weights of step {step}: "
            "restore a copy, or start the run again with another --out"
        )

    def checkpoints(self) -> list[Path]:
        """The folders of all checkpoints, newest first."""
        found = (self.path / "checkpoints").glob("step-*")
        return sorted((f for f in found if _step_of(f)), key=_step_of, reverse=True)

    def load_checkpoint(self, student: Student, optimizer, scaler) -> tuple[dict, str]:
        """Load the newest intact checkpoint into the arguments: (its state, a message).

        Without one, returns ({}, reason) and changes nothing. Raises ValueError if the checkpoint
        belongs to another student.
        """
        damaged = []
        for folder in self.checkpoints():
            if damaged_files(folder):
                damaged.append(folder.name)
                continue
            weights = load_file(folder / "weights.safetensors", device=str(student.device))
            moments = load_file(folder / "optimizer.safetensors", device=str(student.device))
            state = json.loads((folder / "state.json").read_bytes())
            own = trainable(student)
            if {n: w.shape for n, w in weights.items()} != {n: p.shape for n, p in own}:
                raise ValueError(
                    f"{folder} holds the weights of another student: load the same one"
                )
            put_weights(student, weights)
            for name, parameter in own:
                optimizer.state[parameter] = _moments_of(name, moments)
            if (scales := state.pop("scaler")) and scaler.is_enabled():
                scaler.load_state_dict(scales)
            said = f"resuming from {folder}"
            now = computed_in(student)
            before = state.pop("computed_in", "")  # older versions didn't store it
            fresh = scaler.is_enabled() and not scales
            if fresh or scales and not scaler.is_enabled() or before not in ("", now):
                said += f", made in {before or 'another precision'} and continued in {now}"
                said += " with a fresh gradient scaler" if fresh else ""
                said += ": no longer bit for bit"
            if damaged:
                said += f" (skipped because damaged: {', '.join(damaged)})"
            return state, said
        said = f" (damaged: {', '.join(damaged)})" if damaged else ""
        return {}, f"no intact checkpoint in {self.path}{said}: starting from the first step"


def save_with_checksums(student: Student, folder: str | Path) -> None:
    """`save_student`, completely or not at all, with checksums that loading verifies."""

    def write(temporary: Path) -> None:
        save_student(student, temporary)
        write_checksums(temporary, "*.safetensors")

    with saving(Path(folder)):
        write_folder(Path(folder), write)


def _moments_of(name: str, moments: dict[str, Tensor]) -> dict[str, Tensor]:
    found = {}
    for key in moments:
        moment, _, owner = key.partition(" ")
        if owner == name:
            # Adam keeps its step count in a tensor on the CPU.
            found[moment] = moments[key].cpu() if moment == "step" else moments[key]
    return owned(found)


def _step_of(checkpoint: Path) -> int:
    """The step in a checkpoint's name, or 0 if the name is not a checkpoint's."""
    name = re.fullmatch(r"step-([0-9]+)", checkpoint.name)
    return int(name[1]) if name else 0


def _read_best(path: Path, student: Student) -> dict[str, Tensor] | None:
    """The weights that `save_best` wrote; None if the file is missing or damaged."""
    try:
        weights = owned(load_file(path, device=str(student.device)))
        with safe_open(path, framework="pt") as file:
            known = (file.metadata() or {}).get("sha256")  # older versions wrote none
    except (OSError, SafetensorError):
        return None
    shapes = {name: weight.shape for name, weight in trainable(student)}
    fits = {name: weight.shape for name, weight in weights.items()} == shapes
    return weights if fits and known in (None, digest_of_weights(weights)) else None
