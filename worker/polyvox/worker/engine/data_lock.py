"""One program per data folder: a lock that the system itself lifts when its holder dies."""

import contextlib
import fcntl
import os
from pathlib import Path
from typing import IO


class DataFolderInUse(Exception):
    """Another program works on the data folder; ``pid`` is its process id where known."""

    def __init__(self, data: Path, pid: int | None) -> None:
        who = f"process {pid}" if pid else "another process"
        super().__init__(
            f"The data folder {str(data)!r} is in use by {who}. "
            "Stop that program, or choose another folder with --data."
        )
        self.pid = pid


class DataLock:
    """An exclusive flock on ``DATA/lock``; the file holds the holder's process id and stays."""

    def __init__(self, data: Path) -> None:
        self._data = data
        self._file: IO[str] | None = None

    def acquire(self) -> None:
        """Take the lock, making the folder where needed (readable by its owner only).

        Raises DataFolderInUse at once when it is held; OSError when the folder cannot be written.
        """
        self._data.mkdir(mode=0o700, parents=True, exist_ok=True)
        # Not "w": the holder's id must survive an attempt that fails.
        file = (self._data / "lock").open("a+", encoding="utf-8")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            with file:
                raise DataFolderInUse(self._data, _read_pid(file)) from None
        file.truncate(0)
        file.write(f"{os.getpid()}\n")
        file.flush()
        self._file = file

    def release(self) -> None:
        """Give the lock back; does nothing when it is not held."""
        if self._file is not None:
            self._file.truncate(0)
            self._file.close()
            self._file = None


def lock_holder(data: Path) -> int | None:
    """The process id of the program that works on the folder; None when there is none."""
    with contextlib.suppress(OSError), (data / "lock").open(encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return _read_pid(file)
    return None


def _read_pid(file: IO[str]) -> int | None:
    file.seek(0)
    text = file.read().strip()
    return int(text) if text.isdigit() else None
