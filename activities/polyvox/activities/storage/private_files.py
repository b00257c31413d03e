"""Limits files to their owner: databases and logs contain conversations and keys."""

import os
from contextlib import suppress
from pathlib import Path
from stat import S_IMODE, S_ISREG

OTHERS = 0o077
"""The permission bits of all users except the owner."""

_FILES = (
    *("polyvox.db*", "blobs.db*", "key", "admin_key", "credentials_key", "lock", "web_ui.json"),
    "server.json",
    *("engine/temporal-*.db*", "engine/engine.log*", "engine/ports.json", "engine/engine.pid"),
)
"""The files that Polyvox creates in a data folder."""


def make_private(file: Path) -> None:
    """Create ``file`` if it does not exist, and remove all permissions except the owner's.

    SQLite gives its -wal and -shm files the permissions of their database. An existing file is not
    opened, because closing it would drop the locks that SQLite holds on it in this process. Raises
    OSError.
    """
    with suppress(FileExistsError):
        os.close(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    status = file.stat()
    if S_ISREG(status.st_mode) and status.st_mode & OTHERS and status.st_uid == os.geteuid():
        file.chmod(S_IMODE(status.st_mode) & ~OTHERS)


def write_private(file: Path, content: bytes) -> None:
    """Write ``content`` to ``file``, which only its owner can read, whatever the umask.

    An existing file loses the permissions of other users before it is written. Raises OSError.
    """
    opened = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with os.fdopen(opened, "wb") as writing:
        status = os.fstat(opened)
        if S_ISREG(status.st_mode) and status.st_mode & OTHERS and status.st_uid == os.geteuid():
            os.fchmod(opened, S_IMODE(status.st_mode) & ~OTHERS)
        writing.write(content)


def tighten(data: Path) -> list[Path]:
    """Remove other users' permissions from Polyvox's files in a data folder; return those files.

    Other files in the folder, and files of other users, are not changed.
    """
    opened: list[Path] = []
    for pattern in _FILES:
        for file in sorted(data.glob(pattern)):
            status = file.lstat()
            if not S_ISREG(status.st_mode) or status.st_uid != os.geteuid():
                continue
            if status.st_mode & OTHERS:
                file.chmod(S_IMODE(status.st_mode) & ~OTHERS)
                opened.append(file)
    return opened
