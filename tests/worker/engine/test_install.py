"""An engine is found where it may be, else built once, with progress, else the error says why."""

import asyncio
import os
from pathlib import Path

import pytest

from polyvox.worker.engine.binary import cache_folder, find_engine, inspect
from polyvox.worker.engine.frontend import EngineError
from polyvox.worker.engine.install import install_engine

CLI = """#!/bin/sh
echo "temporal version {cli} (Server {server}, UI 2.0.0)"
"""

# Answers as Go does: the version, then what it fetches and compiles, and the binary in GOBIN.
GO = """#!/bin/sh
if [ "$1" = env ]; then echo {version}; exit 0; fi
echo "go: downloading example.com/module v1.0.0" >&2
echo "example.com/module/part" >&2
[ {status} = 0 ] || {{ echo "no space left on device" >&2; exit {status}; }}
printf '#!/bin/sh\\necho "temporal version 1.5.1 (Server 1.29.1, UI 2.0.0)"\\n' > "$GOBIN/temporal"
chmod +x "$GOBIN/temporal"
"""


def put(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)
    return path


@pytest.fixture
def environ(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """A machine without Temporal, Go and network: downloads go to a proxy that is not there."""
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
    return {
        "PATH": f"{tmp_path / 'bin'}{os.pathsep}/bin{os.pathsep}/usr/bin",
        "HOME": str(tmp_path),
        "XDG_CACHE_HOME": str(tmp_path / "cache"),
    }


async def test_the_first_usable_place_wins(tmp_path: Path, environ: dict[str, str]) -> None:
    """PATH, then the data folder, then the user's cache; the newest of several copies."""
    cached = put(
        cache_folder(environ) / "temporal-1.10.0", CLI.format(cli="1.10.0", server="1.30.0")
    )
    put(cache_folder(environ) / "temporal-1.9.0", CLI.format(cli="1.9.0", server="1.29.0"))
    binary, _ = await find_engine(tmp_path / "data", environ)
    assert binary is not None
    assert (binary.path, binary.cli, binary.server) == (cached, "1.10.0", "1.30.0")

    carried = put(tmp_path / "data" / "engine" / "temporal-1.4.0", CLI.format(cli="1", server="2"))
    (carried.parent / "temporal-1.29.1.db").touch()
    binary, _ = await find_engine(tmp_path / "data", environ)
    assert binary is not None
    assert binary.path == carried

    on_path = put(tmp_path / "bin" / "temporal", CLI.format(cli="1.5.1", server="1.29.1"))
    assert await install_engine(print, environ=environ, data=tmp_path / "data") == on_path


async def test_a_file_that_is_no_engine_is_passed_over(
    tmp_path: Path, environ: dict[str, str]
) -> None:
    """Something else called temporal, or a broken copy, does not stop the search."""
    put(tmp_path / "bin" / "temporal", "#!/bin/sh\necho Temporal the calendar\n")
    put(cache_folder(environ) / "temporal-2.0.0", "garbage")
    put(cache_folder(environ) / "temporal-1.0.0", CLI.format(cli="1.0.0", server="1.2.3"))
    binary, attempts = await find_engine(None, environ)
    assert binary is not None
    assert binary.server == "1.2.3"
    assert [a.place for a in attempts] == ["`temporal` on PATH", "an earlier copy"]
    assert "is not a Temporal CLI" in attempts[0].outcome


async def test_an_engine_is_built_once_for_all_data_folders(
    tmp_path: Path, environ: dict[str, str]
) -> None:
    """Two programs that need it at the same moment build it once, into the user's cache."""
    put(tmp_path / "bin" / "go", GO.format(version="go1.26.8", status=0))
    said: list[str] = []
    paths = await asyncio.gather(
        *(install_engine(said.append, environ=environ, data=tmp_path / name) for name in "ab")
    )
    assert set(paths) == {cache_folder(environ) / "temporal-1.5.1"}
    assert sum("Building" in line for line in said) == 1
    assert (await inspect(paths[0])).cli == "1.5.1"
    assert sorted(p.name for p in cache_folder(environ).iterdir()) == [
        "install.lock",
        "temporal-1.5.1",
    ]


async def test_an_error_lists_everything_that_was_tried(
    tmp_path: Path, environ: dict[str, str]
) -> None:
    """Each place with its outcome, and what to install."""
    put(tmp_path / "bin" / "go", GO.format(version="go1.26.8", status=1))
    with pytest.raises(EngineError) as caught:
        await install_engine(print, environ=environ, data=tmp_path / "data")
    message = str(caught.value)
    for part in (
        "`temporal` on PATH: not found",
        f"an earlier copy in {tmp_path / 'data' / 'engine'}: not found",
        "download by the Temporal SDK: ",
        "failed with status 1: ",
        "no space left on device",
        "https://docs.temporal.io/cli#install",
        "--engine HOST:PORT",
    ):
        assert part in message


async def test_an_old_go_is_named_with_the_one_needed(
    tmp_path: Path, environ: dict[str, str]
) -> None:
    """Older releases of Go refuse the engine's module with a message that helps nobody."""
    put(tmp_path / "bin" / "go", GO.format(version="go1.19.8", status=0))
    with pytest.raises(EngineError, match=r"needs Go 1\.25 or newer, .*/go is 1\.19"):
        await install_engine(print, environ=environ)
