"""A run's files: written completely or not at all, verified by checksum, locked by one run.

Everything here uses UTF-8 and works on Windows, which flushes only handles open for writing.
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
# What loading reads from a model's folder besides the weights.
MODEL_FILES = """config.json generation_config.json adapter_config.json tokenizer.json
tokenizer_config.json special_tokens_map.json added_tokens.json vocab.json vocab.txt merges.txt
tokenizer.model chat_template.jinja chat_template.json model.safetensors.index.json""".split()


def lenient_console() -> None:
    """Print a question mark for characters that the console lacks, instead of raising."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # a program may have replaced the stream
            stream.reconfigure(errors="replace")


@contextmanager
def locked(path: Path, what: object) -> Iterator[None]:
    """Reserve `what` for this run with the lock file `path`, and remove that file afterwards.

    The system releases a lock when its process ends, even by kill -9, so a leftover file blocks
    nobody. Raises ValueError if another run has the lock.
    """
    from filelock import FileLock, Timeout

    path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        process = ""
        with suppress(OSError, ValueError):  # Windows lets nobody read a locked file
            process = f" (process {int(path.read_text(encoding='utf-8'))})"
        raise ValueError(
            f"another run{process} is using {what}: wait until it ends, or give another --out"
        ) from None
    try:
        with suppress(OSError):
            path.write_text(str(os.getpid()), encoding="utf-8")
        yield
    finally:
        with suppress(OSError):  # before the release, so that we don't remove another run's file
            path.unlink()
        lock.release()


@contextmanager
def saving(path: Path) -> Iterator[None]:
    """Turn a write error into an OSError that names the file and says what to do."""
    try:
        yield
    except (OSError, SafetensorError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise OSError(
            f"{path} can't be written ({reason}); what was saved before is intact: fix the "
            "cause, then continue from there (--resume)"
        ) from error


def write_whole(path: Path, text: str) -> None:
    """Write a text as UTF-8, completely or not at all, and wait until it is on disk."""
    temporary = path.with_name(f".{path.name}")
    with saving(path):
        try:
            temporary.write_text(text, encoding="utf-8", newline="\n")
            flush(temporary)
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)


def write_folder(path: Path, write: Callable[[Path], None]) -> None:
    """Let `write` fill a temporary folder, then move it to `path`, replacing any folder there."""
    temporary = path.with_name(f".{path.name}")
    if temporary.exists():  # from a run that was killed
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
        shutil.rmtree(temporary, ignore_errors=True)  # make room again on a full disk
        raise


def flush(path: Path) -> None:
    """Wait until a file or folder is on disk."""
    folder = path.is_dir()
    if folder and os.name == "nt":  # Windows can't open folders
        return
    handle = os.open(path, os.O_RDONLY if folder else os.O_RDWR)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def read_json(path: Path, mend: str, kind: type = dict):
    """The content of a JSON file; ValueError with its path and `mend` if it is damaged."""
    content = path.read_bytes()
    try:
        found = json.loads(content)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, kind):
        state = "is cut short or damaged" if content.strip() else "is empty"
        raise ValueError(f"{path} {state}: {mend}")
    return found


def read_rows(path: str | Path) -> list[dict]:
    """The rows of a log, without a last line that was cut short when the run was killed."""
    rows = []
    for line in Path(path).read_bytes().split(b"\n"):  # a completion may hold other separators
        try:
            rows.append(json.loads(line))
        except ValueError:
            break
    return rows


def sha256(path: Path) -> str:
    """The SHA-256 of a file's bytes, in hexadecimal."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_checksums(folder: Path, pattern: str = "*") -> None:
    """Write the checksums of a folder's files into the folder."""
    sums = {file.name: sha256(file) for file in sorted(folder.glob(pattern))}
    (folder / CHECKSUMS).write_text(json.dumps(sums, indent=1), encoding="utf-8")


def damaged_files(folder: Path) -> list[str]:
    """The files of a folder that are missing or don't match their checksum.

    Returns the checksum file itself if it is missing or can't be read.
    """
    try:
        sums = json.loads((folder / CHECKSUMS).read_bytes())
        return [name for name, known in sums.items() if not _is(folder / name, known)]
    except (OSError, ValueError, AttributeError, TypeError):
        return [CHECKSUMS]


def _is(path: Path, known: str) -> bool:
    return path.is_file() and sha256(path) == known
