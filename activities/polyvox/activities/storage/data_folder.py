"""The data folder: created for its owner only, and checked by writing into it."""

import os
import tempfile
from pathlib import Path
from stat import S_IMODE

from polyvox.activities.storage.private_files import OTHERS


class DataFolderUnusable(RuntimeError):
    """The data folder cannot be created or written; the message is one sentence and a remedy."""


def create_folder(data: Path) -> None:
    """Create the data folder if it does not exist. Raises DataFolderUnusable."""
    try:
        data.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise _unusable(data, error) from None


def require_writable(data: Path) -> None:
    """Create the data folder if it does not exist, and write into it. Raises DataFolderUnusable."""
    create_folder(data)
    try:
        _write_into(data)
    except OSError as error:
        raise _unusable(data, error) from None


def data_folder_mistake(data: Path) -> str | None:
    """Return why ``data`` cannot be used as the data folder; None if it can.

    Writes and removes a file. A folder that does not exist is created and removed again.
    """
    missing = [place for place in (data, *data.parents) if not place.exists()]
    created: list[Path] = []
    try:
        for place in reversed(missing):
            place.mkdir(mode=0o700)
            created.append(place)
        _write_into(data)
    except OSError as error:
        return _reason(data, error)
    finally:
        for place in reversed(created):
            place.rmdir()
    return None


def open_to_others(data: Path) -> str | None:
    """Return the mode of ``data`` in octal if other users may list or enter it, else None."""
    status = data.stat()
    if status.st_uid != os.geteuid() or not status.st_mode & OTHERS:
        return None
    return f"{S_IMODE(status.st_mode):o}"


def _write_into(data: Path) -> None:
    with tempfile.TemporaryFile(dir=data) as file:
        file.write(b"Polyvox can write here.\n")


def _reason(data: Path, error: OSError) -> str:
    place = next((place for place in (data, *data.parents) if place.exists()), data)
    if not place.is_dir():
        return f"{str(place)!r} is not a folder"
    return error.strerror or str(error)


def _unusable(data: Path, error: OSError) -> DataFolderUnusable:
    return DataFolderUnusable(
        f"The data folder {str(data)!r} cannot be used ({_reason(data, error)}): "
        "make it writable for this user, or choose another folder with --data."
    )
