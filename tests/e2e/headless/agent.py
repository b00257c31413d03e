"""The interface of every coding agent: it gets one prompt and returns its output."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import orjson

from tests.e2e.headless.process import Ended

CLIENTS = Path(__file__).parents[1] / "clients"
MORE_CLIENTS = Path(__file__).parents[1] / "more_clients"
VENVS = Path(__file__).parents[3] / ".clients"


@dataclass(frozen=True, slots=True)
class AgentResult:
    """``stdout`` is the agent's output; ``text`` is its last message, or empty."""

    exit_code: int
    stdout: str
    stderr: str
    text: str


class Agent(Protocol):
    """A coding agent that is configured for an endpoint."""

    async def run(
        self, prompt: str, *, model: str, cwd: Path, image: Path | None = None, timeout_s: float
    ) -> AgentResult:
        """Run the agent with ``prompt`` in folder ``cwd``, where it may change files.

        ``image`` is a PNG sent with the prompt. Raise Stuck after ``timeout_s`` seconds.
        """


def result(ended: Ended, text: str) -> AgentResult:
    return AgentResult(ended.exit_code, ended.stdout, ended.stderr, text)


def json_lines(stdout: str) -> Iterator[dict[str, Any]]:
    """Yield the objects among the lines of ``stdout``."""
    for line in stdout.split("\n"):
        if line.startswith("{"):
            yield orjson.loads(line)


def program(pattern: str, folder: Path = CLIENTS) -> str:
    """Return the one program matching ``pattern``: npm installs only this machine's build."""
    packages = folder / "node_modules"
    match sorted(packages.glob(pattern)):
        case [only]:
            return str(only)
        case found:
            raise FileNotFoundError(
                f"Expected one {pattern!r} in {str(packages)!r}, found {len(found)}. "
                "Run `make clients-install`."
            )


def python(venv: str) -> str:
    """Return the interpreter of the virtual environment called ``venv``."""
    path = VENVS / venv / "bin" / "python"
    if not path.exists():
        raise FileNotFoundError(f"{str(path)!r} is not there. Run `make clients-install`.")
    return str(path)
