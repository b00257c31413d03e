"""A lock that allows one program per data folder; the system releases it when its holder ends."""

import contextlib
import fcntl
import os
from pathlib import Path
from typing import IO

from polyvox.activities.storage.private_files import make_private


class DataFolderInUse(Exception):
    """Another program uses the data folder; ``pid`` is its process id, if known."""

    def __init__(self, data: Path, pid: int | None) -> None:
        who = f"process {pid}" if pid else "another process"
        super().__init__(
            f"The data folder {str(data)!r} is in use by {who}. "
            "Stop that program, or choose another folder with --data."
        )
        self.pid = pid


class DataLock:
    """An exclusive flock on ``DATA/lock``. The file holds the holder's process id and remains."""

    def __init__(self, data: Path) -> None:
        self._data = data
        self._file: IO[str] | None = None

    def acquire(self) -> None:
        """Take the lock; create the folder (readable by its owner only) if it does not exist.

        Raises DataFolderInUse without waiting if the lock is held, OSError if the folder is not
        writable.
        """
        self._data.mkdir(mode=0o700, parents=True, exist_ok=True)
        make_private(self._data / "lock")
        # Not "w", which would erase the holder's id when the lock is held.
        file = (self._data / "lock").open("a+", encoding="utf-8")
        if not try_lock(file):
            with file:
                raise DataFolderInUse(self._data, _read_pid(file))
        file.truncate(0)
        file.write(f"{os.getpid()}\n")
        file.flush()
        self._file = file

    def release(self) -> None:
        """Release the lock; do nothing if it is not held."""
        if self._file is not None:
            self._file.truncate(0)
            self._file.close()
            self._file = None


def lock_holder(data: Path) -> int | None:
    """Return the process id of the program that uses the folder, None if there is none."""
    with contextlib.suppress(OSError), (data / "lock").open(encoding="utf-8") as file:
        if not try_lock(file, fcntl.LOCK_SH):
            return _read_pid(file)
    return None


def try_lock(file: IO[str], kind: int = fcntl.LOCK_EX) -> bool:
    """Lock an open file without waiting; return False if another process holds the lock."""
    try:
        fcntl.flock(file, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _read_pid(file: IO[str]) -> int | None:
    file.seek(0)
    text = file.read().strip()
    return int(text) if text.isdigit() else None
