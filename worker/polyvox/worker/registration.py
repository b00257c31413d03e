"""Reads a flow file for registration: refuses what cannot be replayed, tries it in a clean process.

The trial happens in a process of its own because a flow file is somebody's program: what it breaks
at import is broken there, not in the server.
"""

import subprocess
import sys
from pathlib import Path

from polyvox.workflows.determinism import complaints
from polyvox.workflows.flow import FlowError

_TRIAL_S = 20.0

_TRIAL = """
import sys
from polyvox.workflows.flow import load_flow
flow = load_flow(sys.stdin.read(), sys.argv[1])
flow.params.model_json_schema()
"""


def read_flow(file: Path) -> str:
    """Return the source in ``file`` if it can be registered.

    Raises FlowError that names file, line and what to do.
    """
    try:
        source = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise FlowError(f"Cannot read {str(file)!r}: {error}.") from None
    try:
        found = complaints(source, file.name)
    except SyntaxError as error:
        raise FlowError(f"{file.name}:{error.lineno}: {error.msg}.") from None
    if found:
        raise FlowError("\n".join(f"{file.name}:{c.line}: {c.message}" for c in found))
    _try(source, file.name)
    return source


def _try(source: str, filename: str) -> None:
    try:
        trial = subprocess.run(
            [sys.executable, "-I", "-c", _TRIAL, filename],
            input=source,
            capture_output=True,
            text=True,
            timeout=_TRIAL_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise FlowError(
            f"{filename}: importing it took more than {_TRIAL_S:g} s. Only definitions may stand "
            "at the top level of a flow file."
        ) from None
    if trial.returncode != 0:
        lines = trial.stderr.strip().splitlines()
        own = [line.strip() for line in lines if f'"{filename}"' in line]
        where = f" ({own[-1]})" if own else ""
        raise FlowError(f"{filename} cannot be imported{where}: {lines[-1] if lines else '?'}")
