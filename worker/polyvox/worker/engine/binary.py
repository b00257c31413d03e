"""Finding the Temporal CLI that is already on this machine.

A copy we fetch or build goes into the user's cache folder (``$XDG_CACHE_HOME/polyvox/engine``,
else ``~/.cache/polyvox/engine``), not into the data folder: it costs minutes and 250 MB once per
machine and version, while data folders are many, are copied and are thrown away. A copy somebody
put into ``DATA/engine`` is still taken, before the cache, so that a folder can carry its own
engine to a machine without network.
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
    """A Temporal CLI that runs here: ``cli`` is its own version, ``server`` the one it embeds."""

    path: Path
    cli: str
    server: str


@dataclass(frozen=True, slots=True)
class Attempt:
    """One place that was tried and what came of it."""

    place: str
    outcome: str


def cache_folder(environ: Mapping[str, str]) -> Path:
    """Where fetched and built engines are kept for all data folders of this user."""
    cache = environ.get("XDG_CACHE_HOME")
    home = environ.get("HOME")
    root = Path(cache) if cache else (Path(home) if home else Path.home()) / ".cache"
    return root / "polyvox" / "engine"


async def find_engine(
    data: Path | None, environ: Mapping[str, str]
) -> tuple[EngineBinary | None, list[Attempt]]:
    """The first usable engine on PATH, in the data folder or in the cache; and what was tried."""
    attempts = []
    on_path = shutil.which("temporal", path=environ.get("PATH", os.defpath))
    candidates = [("`temporal` on PATH", Path(on_path))] if on_path else []
    if not on_path:
        attempts.append(Attempt("`temporal` on PATH", "not there"))
    for folder in ([data / "engine"] if data else []) + [cache_folder(environ)]:
        copies = _copies(folder)
        candidates += [("an earlier copy", copy) for copy in copies]
        if not copies:
            attempts.append(Attempt(f"an earlier copy in {folder}", "not there"))
    for place, path in candidates:
        try:
            return await inspect(path), attempts
        except EngineError as error:
            attempts.append(Attempt(place, str(error)))
    return None, attempts


async def inspect(path: Path) -> EngineBinary:
    """Ask the binary for its versions; raises EngineError when it is not a usable Temporal CLI."""
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
        raise EngineError(f"{str(path)!r} does not tell its version") from None
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    text = output.decode(errors="replace")
    # "temporal version 1.5.1 (Server 1.29.1, UI 2.42.1)"
    versions = re.search(r"temporal version (\S+) \(server ([\w.-]+)", text, re.IGNORECASE)
    if versions is None:
        raise EngineError(f"{str(path)!r} is not a Temporal CLI with a server in it")
    return EngineBinary(path, versions[1], versions[2])


def _copies(folder: Path) -> list[Path]:
    """``temporal-VERSION`` files, newest version first; databases share folder and prefix."""
    named = [
        (tuple(map(int, version[1].split("."))), path)
        for path in folder.glob("temporal-*")
        if (version := re.fullmatch(r"temporal-(\d+(?:\.\d+)*)", path.name)) and path.is_file()
    ]
    return [path for _, path in sorted(named, reverse=True)]
