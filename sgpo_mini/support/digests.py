"""Digests of what a run is given: a name stays the same when what lies under it is changed."""

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, replace
from pathlib import Path

from ..problems import Problem
from .files import MODEL_FILES, sha256


def digests_of_problems(
    problems: Sequence[Problem], *, strategies: bool, name: str = "problems"
) -> dict[str, str]:
    """The digest of problems without their strategies and, if these are read, that of these."""
    found = {name: _digest(replace(problem, strategy="") for problem in problems)}
    if strategies:
        texts = (problem.strategy for problem in problems)
        found["strategies"] = hashlib.sha256(json.dumps(list(texts)).encode()).hexdigest()
    return found


def digests_of_student(sources: Sequence[str]) -> dict[str, str]:
    """The digests of what a student was loaded from, a file each (`Student.sources`)."""
    found = {}
    for whose, source in zip(("student's", "base's"), sources, strict=False):
        folder = Path(source)
        if folder.is_dir():
            files = [*folder.glob("*.safetensors"), *(folder / name for name in MODEL_FILES)]
            found |= {f"{whose} {file.name}": sha256(file) for file in files if file.is_file()}
        else:  # a name on the Hub; the commit stands for all its files
            found[f"{whose} commit"] = source.partition("@")[2]
    return found


def changed_digests(before: dict[str, str], now: dict[str, str]) -> list[str]:
    """The names of what was changed, is new, or is gone.

    A student that was made in memory has no files: it is not held against one that was loaded.
    """
    names = sorted(before | now)
    if not all(any(_is_students(name) for name in digests) for digests in (before, now)):
        names = [name for name in names if not _is_students(name)]
    return [name for name in names if before.get(name) != now.get(name)]


def _is_students(name: str) -> bool:
    return name.startswith(("student's ", "base's "))


def _digest(problems: Iterable[Problem]) -> str:
    digest = hashlib.sha256()
    for problem in problems:
        # Without empty fields: one that a later version adds changes nothing.
        given = {name: value for name, value in asdict(problem).items() if value}
        digest.update(json.dumps(given, sort_keys=True).encode() + b"\n")
    return digest.hexdigest()
