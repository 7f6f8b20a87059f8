"""One run at a time on a store: two that append to the same files would spoil them."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None
    import msvcrt


@contextmanager
def locked(store: Path) -> Iterator[None]:
    """Hold a store for this run alone, by NAME.lock beside it, which goes afterwards.

    The system lets go of a lock when its process ends, even by kill -9: a file that is left behind
    holds up nobody. Raises ValueError where another run has the store.
    """
    path = store.with_suffix(".lock")
    path.parent.mkdir(parents=True, exist_ok=True)
    with _hold(path, store) as file:
        file.write(str(os.getpid()).encode())
        file.flush()
        try:
            yield
        finally:
            if fcntl:  # while it is held; Windows removes no open file, and there it stays
                path.unlink(missing_ok=True)


def _hold(path: Path, store: Path) -> BinaryIO:
    while True:
        file = open(path, "a+b")
        try:
            _lock(file)
        except (BlockingIOError, PermissionError):  # of fcntl, of msvcrt
            file.seek(0)
            process = file.read().decode("ascii", "replace").strip()
            file.close()
            raise ValueError(
                f"another run{f' (process {process})' if process else ''} is at work on {store}: "
                "wait for its end, or give another --out"
            ) from None
        # The run that had it may have removed the file between our opening and locking it.
        try:
            if os.path.samestat(os.fstat(file.fileno()), os.stat(path)):
                file.truncate(0)  # the number of a process that was killed
                return file
        except FileNotFoundError:
            pass
        file.close()


def _lock(file: BinaryIO) -> None:
    if fcntl:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    else:
        file.seek(1 << 30)  # Windows lets nobody read what is locked: not where the number stands
        msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
