"""Files that a run depends on: written whole or not at all, known by checksum, held by one run.

Everything here states UTF-8 and works on Windows: a handle that is flushed is open for writing.
"""

import hashlib
import json
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from safetensors import SafetensorError

CHECKSUMS = "checksums.json"
# What a load reads of a model's folder beside the weights.
MODEL_FILES = """config.json generation_config.json adapter_config.json tokenizer.json
tokenizer_config.json special_tokens_map.json added_tokens.json vocab.json vocab.txt merges.txt
tokenizer.model chat_template.jinja chat_template.json model.safetensors.index.json""".split()


def lenient_console() -> None:
    """Show a question mark where the console has no such character, instead of ending there."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # not so where a program has put another in its place
            stream.reconfigure(errors="replace")


@contextmanager
def locked(path: Path, what: object) -> Iterator[None]:
    """Hold `what` for this run alone, by the lock file `path`, which goes afterwards.

    The system lets go of a lock when its process ends, even by kill -9: a file that is left behind
    holds up nobody. Raises ValueError where another run has the lock.
    """
    from filelock import FileLock, Timeout

    path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        process = ""
        with suppress(OSError, ValueError):  # Windows lets nobody read what is locked
            process = f" (process {int(path.read_text(encoding='utf-8'))})"
        raise ValueError(
            f"another run{process} is at work on {what}: wait for its end, or give another --out"
        ) from None
    try:
        with suppress(OSError):
            path.write_text(str(os.getpid()), encoding="utf-8")
        yield
    finally:
        with suppress(OSError):  # while it is held, so that nobody's else is removed
            path.unlink()
        lock.release()


@contextmanager
def saving(path: Path) -> Iterator[None]:
    """Say in one sentence which file can't be written and what to do, as OSError."""
    try:
        yield
    except (OSError, SafetensorError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise OSError(
            f"{path} can't be written ({reason}); what was saved before is whole: mend that, then "
            "go on from there (--resume)"
        ) from error


def write_whole(path: Path, text: str) -> None:
    """Write a text as UTF-8, whole or not at all, and wait until it is on the disk."""
    temporary = path.with_name(f".{path.name}")
    with saving(path):
        try:
            temporary.write_text(text, encoding="utf-8", newline="\n")
            flush(temporary)
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)


def write_folder(path: Path, write: Callable[[Path], None]) -> None:
    """Let `write` fill a folder that becomes `path`, in the place of another, when all is done."""
    temporary = path.with_name(f".{path.name}")
    if temporary.exists():  # of a run that was killed
        shutil.rmtree(temporary)
    try:
        temporary.mkdir(parents=True)
        write(temporary)
        for file in (*temporary.iterdir(), temporary):
            flush(file)
        if path.exists():
            shutil.rmtree(path)
        os.replace(temporary, path)
        flush(path.parent)
    except Exception:
        shutil.rmtree(temporary, ignore_errors=True)  # a full disk has room again
        raise


def flush(path: Path) -> None:
    """Wait until a file or folder is on the disk."""
    folder = path.is_dir()
    if folder and os.name == "nt":  # no folder can be opened there
        return
    handle = os.open(path, os.O_RDONLY if folder else os.O_RDWR)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def read_json(path: Path, mend: str, kind: type = dict):
    """What a JSON file holds; ValueError with the file and `mend` where it is cut or damaged."""
    content = path.read_bytes()
    try:
        found = json.loads(content)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, kind):
        state = "is cut short or damaged" if content.strip() else "is empty"
        raise ValueError(f"{path} {state}: {mend}")
    return found


def sha256(path: Path) -> str:
    """The SHA-256 of a file's bytes, in hexadecimal."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_checksums(folder: Path, pattern: str = "*") -> None:
    """Write the checksums of a folder's files beside them."""
    sums = {file.name: sha256(file) for file in sorted(folder.glob(pattern))}
    (folder / CHECKSUMS).write_text(json.dumps(sums, indent=1), encoding="utf-8")


def damaged_files(folder: Path) -> list[str]:
    """The files of a folder that are missing or not as their checksum says.

    The checksums themselves are named where they are missing or can't be read.
    """
    try:
        sums = json.loads((folder / CHECKSUMS).read_bytes())
        return [name for name, known in sums.items() if not _is(folder / name, known)]
    except (OSError, ValueError, AttributeError, TypeError):
        return [CHECKSUMS]


def _is(path: Path, known: str) -> bool:
    return path.is_file() and sha256(path) == known
