"""Finds a Temporal CLI on this machine.

Downloaded or built copies are in the user's cache folder (``$XDG_CACHE_HOME/polyvox/engine``, else
``~/.cache/polyvox/engine``) and not in the data folder, because installing takes minutes and
250 MB, and one machine may have many data folders. A copy in ``DATA/engine`` takes precedence over
the cache, so that a data folder can bring its engine to a machine without network access.
"""

import asyncio
import os
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from polyvox.worker.engine.frontend import EngineError

VERSION_LIMIT_S = 20.0


@dataclass(frozen=True, slots=True)
class EngineBinary:
    """A usable Temporal CLI: ``cli`` is its version, ``server`` that of the embedded server."""

    path: Path
    cli: str
    server: str


@dataclass(frozen=True, slots=True)
class Attempt:
    """One place that was searched, or way that was tried, and the outcome."""

    place: str
    outcome: str


def cache_folder(environ: Mapping[str, str]) -> Path:
    """Return the folder of downloaded and built engines, shared by the user's data folders."""
    cache = environ.get("XDG_CACHE_HOME")
    home = environ.get("HOME")
    root = Path(cache) if cache else (Path(home) if home else Path.home()) / ".cache"
    return root / "polyvox" / "engine"


async def find_engine(
    data: Path | None, environ: Mapping[str, str]
) -> tuple[EngineBinary | None, list[Attempt]]:
    """Return the first usable engine on PATH, in the data folder or cache; and all attempts."""
    attempts = []
    on_path = shutil.which("temporal", path=environ.get("PATH", os.defpath))
    candidates = [("`temporal` on PATH", Path(on_path))] if on_path else []
    if not on_path:
        attempts.append(Attempt("`temporal` on PATH", "not found"))
    for folder in ([data / "engine"] if data else []) + [cache_folder(environ)]:
        copies = _copies(folder)
        candidates += [("an earlier copy", copy) for copy in copies]
        if not copies:
            attempts.append(Attempt(f"an earlier copy in {folder}", "not found"))
    for place, path in candidates:
        try:
            return await inspect(path), attempts
        except EngineError as error:
            attempts.append(Attempt(place, str(error)))
    return None, attempts


async def inspect(path: Path) -> EngineBinary:
    """Run the binary to get its versions. Raises EngineError if it is not a usable Temporal CLI."""
    try:
        process = await asyncio.create_subprocess_exec(
            *(str(path), "--version"),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            start_new_session=True,
        )
    except OSError as error:
        raise EngineError(f"{str(path)!r} cannot be run: {error.strerror}") from None
    try:
        output, _ = await asyncio.wait_for(process.communicate(), VERSION_LIMIT_S)
    except TimeoutError:
        raise EngineError(f"{str(path)!r} did not print its version in time") from None
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    text = output.decode(errors="replace")
    # "temporal version 1.5.1 (Server 1.29.1, UI 2.42.1)"
    versions = re.search(r"temporal version (\S+) \(server ([\w.-]+)", text, re.IGNORECASE)
    if versions is None:
        raise EngineError(f"{str(path)!r} is not a Temporal CLI with an embedded server")
    return EngineBinary(path, versions[1], versions[2])


def _copies(folder: Path) -> list[Path]:
    """Return the ``temporal-VERSION`` files, newest first; not databases of the same prefix."""
    named = [
        (tuple(map(int, version[1].split("."))), path)
        for path in folder.glob("temporal-*")
        if (version := re.fullmatch(r"temporal-(\d+(?:\.\d+)*)", path.name)) and path.is_file()
    ]
    return [path for _, path in sorted(named, reverse=True)]
