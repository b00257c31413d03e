"""Files that only their owner may read: databases, keys and logs hold what people said."""

import os
from contextlib import suppress
from pathlib import Path
from stat import S_IMODE, S_ISREG

OTHERS = 0o077
"""The permission bits of everybody but the owner."""

_KEPT = (
    *("polyvox.db*", "blobs.db*", "key", "admin_key", "lock", "web_ui.json"),
    *("engine/temporal-*.db*", "engine/engine.log*", "engine/ports.json", "engine/engine.pid"),
)
"""What the program keeps in a data folder."""


def make_private(file: Path) -> None:
    """Make ``file`` if it does not exist, and close it to everybody but its owner.

    SQLite gives its -wal and -shm files the permissions of their database. A file that exists is
    not opened: closing it again would drop the locks that SQLite holds on it in this process.
    Raises OSError.
    """
    with suppress(FileExistsError):
        os.close(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    status = file.stat()
    if S_ISREG(status.st_mode) and status.st_mode & OTHERS and status.st_uid == os.geteuid():
        file.chmod(S_IMODE(status.st_mode) & ~OTHERS)


def tighten(data: Path) -> list[Path]:
    """Close what the program keeps in a data folder to others; return what was open to them.

    Only files that the program makes are touched: the folder may hold others. A file of another
    user is left alone.
    """
    opened: list[Path] = []
    for pattern in _KEPT:
        for file in sorted(data.glob(pattern)):
            status = file.lstat()
            if not S_ISREG(status.st_mode) or status.st_uid != os.geteuid():
                continue
            if status.st_mode & OTHERS:
                file.chmod(S_IMODE(status.st_mode) & ~OTHERS)
                opened.append(file)
    return opened
