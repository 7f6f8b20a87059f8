"""Digests of a run's inputs: they detect changed contents under an unchanged name."""

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, replace
from pathlib import Path

import torch
from torch import Tensor

from ..problems import Problem
from .files import MODEL_FILES, sha256


def digests_of_problems(
    problems: Sequence[Problem], *, strategies: bool, name: str = "problems"
) -> dict[str, str]:
    """The digest of the problems without strategies; with `strategies`, a second one of those."""
    found = {name: _digest(replace(problem, strategy="") for problem in problems)}
    if strategies:
        texts = (problem.strategy for problem in problems)
        found["strategies"] = hashlib.sha256(json.dumps(list(texts)).encode()).hexdigest()
    return found


def digests_of_student(sources: Sequence[str]) -> dict[str, str]:
    """The digest of each file that a student was loaded from (`Student.sources`)."""
    found = {}
    for whose, source in zip(("student's", "base's"), sources, strict=False):
        folder = Path(source)
        if folder.is_dir():
            files = [*folder.glob("*.safetensors"), *(folder / name for name in MODEL_FILES)]
            found |= {f"{whose} {file.name}": sha256(file) for file in files if file.is_file()}
        else:  # a name on the Hub: the commit identifies all files
            found[f"{whose} commit"] = source.partition("@")[2]
    return found


def changed_digests(before: dict[str, str], now: dict[str, str]) -> list[str]:
    """The names of the inputs that were changed, added or removed.

    A student created in memory has no files, so it is not compared with a loaded one.
    """
    names = sorted(before | now)
    if not all(any(_is_students(name) for name in digests) for digests in (before, now)):
        names = [name for name in names if not _is_students(name)]
    return [name for name in names if before.get(name) != now.get(name)]


def digest_of_weights(weights: dict[str, Tensor]) -> str:
    """The SHA-256 of tensors with their names, types and shapes, in hexadecimal."""
    digest = hashlib.sha256()
    for name in sorted(weights):
        tensor = weights[name].detach().cpu().contiguous()
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)} ".encode())
        digest.update(memoryview(tensor.reshape(-1).view(torch.uint8).numpy()))
    return digest.hexdigest()


def _is_students(name: str) -> bool:
    return name.startswith(("student's ", "base's "))


def _digest(problems: Iterable[Problem]) -> str:
    digest = hashlib.sha256()
    for problem in problems:
        # Empty fields are left out, so a field added in a later version keeps old digests valid.
        given = {name: value for name, value in asdict(problem).items() if value}
        digest.update(json.dumps(given, sort_keys=True).encode() + b"\n")
    return digest.hexdigest()
