"""A protocol is one folder: the others work without it."""

import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from polyvox.protocols.table import PROTOCOLS

PACKAGE = Path(__file__).parents[2] / "protocols"

# Runs in a process of its own, which finds the copy instead of the package.
IMPORT_THE_REST = textwrap.dedent(
    """
    import importlib, pkgutil, sys

    original, copy, missing, *kept = sys.argv[1:]
    sys.path[:] = [copy, *(path for path in sys.path if path != original)]
    for name in (*kept, "openai"):
        package = importlib.import_module(f"polyvox.protocols.{name}")
        assert package.__file__.startswith(copy), package.__file__
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            importlib.import_module(module.name)
    try:
        importlib.import_module("polyvox.protocols.table")
    except ModuleNotFoundError as error:
        assert error.name.startswith(f"polyvox.protocols.{missing}"), error.name
    else:
        raise AssertionError(f"{missing} is not missing")
    """
)


@pytest.mark.parametrize("missing", PROTOCOLS)
def test_only_the_table_needs_every_protocol(missing: str, tmp_path: Path) -> None:
    shutil.copytree(PACKAGE, tmp_path, dirs_exist_ok=True)
    shutil.rmtree(tmp_path / "polyvox" / "protocols" / missing)
    kept = [name for name in PROTOCOLS if name != missing]
    arguments = [str(PACKAGE), str(tmp_path), missing, *kept]
    ended = subprocess.run(
        [sys.executable, "-c", IMPORT_THE_REST, *arguments],
        check=False,
        capture_output=True,
        text=True,
    )
    assert ended.returncode == 0, ended.stderr
