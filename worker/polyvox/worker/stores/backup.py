"""Copies the stores of a data folder while a server uses them, and restores such a copy.

Files are copied in this order: the engine's database, the database of the rows, the blobs. Each
refers to things in the ones after it, which are written first: a blob before the row or the history
that refers to it. So everything that a copied file refers to is in the files that are copied later.
The rows are copied after the engine's database: a run that only the rows know is settled at the
next start, and one that only the engine knew would be invisible.

Each file is copied by SQLite's backup interface, in one step: the copy is the state of one moment,
and writers do not wait. A backup is made in a folder with another name, which is renamed when it is
complete; so is a restored data folder.
"""

import hashlib
import os
import shutil
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import orjson
from sqlalchemy.engine import make_url

from polyvox.activities.storage.backends.urls import StoreUrls
from polyvox.activities.storage.credential_seal import KEY_FILE
from polyvox.activities.storage.private_files import tighten, write_private

_CONTENTS = "backup.json"
_FORMAT = 1

_KEY_FILES = ("key", "admin_key", KEY_FILE)
_DUMP = "database.dump"


class BackupError(RuntimeError):
    """A backup cannot be made or restored; the message contains the remedy."""


@dataclass(frozen=True, slots=True)
class Backup:
    """What a backup contains: files with their sizes in bytes, and what the operator must do."""

    folder: Path
    files: dict[str, int]
    notes: tuple[str, ...] = ()


def back_up(data: Path, urls: StoreUrls, target: Path) -> Backup:
    """Copy the stores and the key files to the new folder ``target``. Blocks.

    Raises BackupError.
    """
    if target.exists():
        raise BackupError(f"{str(target)!r} exists already. Name a new folder for each backup.")
    unfinished = target.with_name(f".{target.name}.unfinished-{os.getpid()}")
    try:
        unfinished.mkdir(mode=0o700, parents=True)
        notes = tuple(_copied(data, urls, unfinished))
        sums = {_name(file, unfinished): _sha256(file) for file in _files(unfinished)}
        contents = {"polyvox_backup": _FORMAT, "sha256": sums, "notes": notes}
        write_private(
            unfinished / _CONTENTS, orjson.dumps(contents, option=orjson.OPT_INDENT_2) + b"\n"
        )
        _sync(unfinished)
        unfinished.rename(target)
        _sync_folder(target.parent)
    except (OSError, sqlite3.Error) as error:
        raise BackupError(f"The backup {str(target)!r} cannot be made: {error}.") from None
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    sizes = {_name(file, target): file.stat().st_size for file in _files(target)}
    return Backup(target, sizes, notes)


def restore(source: Path, data: Path) -> Backup:
    """Copy a backup to the data folder ``data``, which must not exist or be empty. Blocks.

    Raises BackupError.
    """
    if data.exists() and (not data.is_dir() or any(data.iterdir())):
        raise BackupError(
            f"{str(data)!r} is not empty. Restore into a new folder, and move this one away."
        )
    try:
        contents = orjson.loads((source / _CONTENTS).read_bytes())
        assert contents["polyvox_backup"] == _FORMAT
        sums: dict[str, str] = contents["sha256"]
    except (OSError, ValueError, KeyError, TypeError, AssertionError):
        raise BackupError(
            f"{str(source)!r} is not a backup of `polyvox storage backup`: {_CONTENTS} is missing "
            "or cannot be read."
        ) from None
    unfinished = data.with_name(f".{data.name}.unfinished-{os.getpid()}")
    try:
        for name, expected in sums.items():
            if not (source / name).is_file() or _sha256(source / name) != expected:
                raise BackupError(
                    f"{name} in {str(source)!r} is damaged or missing. Use another backup."
                )
            if name == _DUMP:
                continue
            copy = unfinished / name
            copy.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            shutil.copyfile(source / name, copy)
        unfinished.mkdir(mode=0o700, exist_ok=True)
        tighten(unfinished)
        _sync(unfinished)
        if data.exists():
            data.rmdir()
        unfinished.rename(data)
        _sync_folder(data.parent)
    except OSError as error:
        raise BackupError(f"{str(source)!r} cannot be restored: {error}.") from None
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    notes = list(contents.get("notes", []))
    if _DUMP in sums:
        notes.append(f"Restore the database: pg_restore --dbname URL {source / _DUMP}")
    return Backup(data, {_name(f, data): f.stat().st_size for f in _files(data)}, tuple(notes))


def _copied(data: Path, urls: StoreUrls, target: Path) -> Iterator[str]:
    """Copy everything; yield what is not copied, and what to do about it."""
    for database in sorted(data.glob("engine/temporal-*.db")):
        _copy_database(database, target / "engine" / database.name)
    if urls.database_file is not None:
        _copy_database(urls.database_file, target / "polyvox.db")
    else:
        yield from _dumped(urls.database, target / _DUMP)
    if urls.blobs_file is not None:
        _copy_database(urls.blobs_file, target / "blobs.db")
    elif urls.blobs.startswith("s3:"):
        if urls.index.startswith("sqlite:"):
            _copy_database(Path(urls.index.partition("///")[2]), target / "blobs.db")
        yield f"The objects in {urls.blobs} are not copied: use the bucket's versioning."
    elif urls.blobs != urls.database:
        yield "The blobs are in another database: back it up with pg_dump, after this backup."
    for name in _KEY_FILES:
        if (data / name).is_file():
            write_private(target / name, (data / name).read_bytes())


def _copy_database(source: Path, target: Path) -> None:
    if not source.is_file():
        return
    target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with (
        closing(sqlite3.connect(f"{source.absolute().as_uri()}?mode=ro", 10.0, uri=True)) as live,
        closing(sqlite3.connect(target)) as copy,
    ):
        live.backup(copy)


def _dumped(url: str, target: Path) -> Iterator[str]:
    """Dump a PostgreSQL database with pg_dump if it is installed; yield what to do if it is not."""
    yield (
        "The deployment key (POLYVOX_DEPLOYMENT_KEY) is not in the backup. Keep it elsewhere: "
        "without it, credentials in stored requests cannot be read."
    )
    parsed = make_url(url).set(drivername="postgresql")
    shown = parsed.set(password=None).render_as_string()
    command = ["pg_dump", "--format=custom", "--no-owner", f"--file={target}", f"--dbname={shown}"]
    if shutil.which("pg_dump") is None:
        yield f"The database is not in the backup: run {' '.join(command)}"
        return
    secret = {"PGPASSWORD": str(parsed.password)} if parsed.password else {}
    done = subprocess.run(
        command, env={**os.environ, **secret}, capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        raise BackupError(f"pg_dump failed: {' '.join(done.stderr.split())}")


def _files(folder: Path) -> list[Path]:
    return sorted(file for file in folder.rglob("*") if file.is_file() and file.name != _CONTENTS)


def _name(file: Path, folder: Path) -> str:
    return file.relative_to(folder).as_posix()


def _sha256(file: Path) -> str:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def _sync(folder: Path) -> None:
    for file in (*_files(folder), *folder.glob(_CONTENTS)):
        with file.open("rb") as opened:
            os.fsync(opened.fileno())


def _sync_folder(folder: Path) -> None:
    opened = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)
