"""What the program can be told: its command lines and the environment variables it reads."""

import re
from collections.abc import Sequence
from pathlib import Path

from opentelemetry.sdk import environment_variables as opentelemetry
from typer.main import get_command

from polyvox.gateway.cli.main import app
from polyvox.worker.settings.settings import WELL_KNOWN_PROVIDERS

ROOT = Path(__file__).parents[2]
_READ = re.compile(r"environ(?:\.get\(|\[)(?:\"(?P<text>[A-Z0-9_]+)\"|(?P<constant>[A-Z_]+)\b)")
_OPTION = re.compile(r'envvar="([A-Z0-9_]+)"')

OPENTELEMETRY_VARIABLES = {name for name in vars(opentelemetry) if name.startswith("OTEL_")}
"""Those that OpenTelemetry's SDK reads."""


def environment_variables() -> set[str]:
    """Return the names of all variables that the program's source reads."""
    sources = "\n".join(
        path.read_text("utf-8")
        for part in ("workflows", "protocols", "activities", "worker", "gateway")
        for path in (ROOT / part).rglob("*.py")
    )
    names = {p.api_key_env for p in WELL_KNOWN_PROVIDERS if p.api_key_env}
    names.update(_OPTION.findall(sources))
    for read in _READ.finditer(sources):
        if text := read["text"]:
            names.add(text)
        else:
            defined = re.search(
                rf'^{read["constant"]}(?:: Final)? = "([A-Z0-9_]+)"$', sources, re.M
            )
            assert defined, f"no definition of {read['constant']}"
            names.add(defined[1])
    return names


def parse_command(words: Sequence[str]) -> None:
    """Parse what stands after ``polyvox`` as the program would, without running it.

    Raises KeyError for an unknown command, and the usage error the program would show.
    """
    command = get_command(app)
    rest = [*words]
    while commands := getattr(command, "commands", None):
        command = commands[rest.pop(0)]
    if "--help" not in rest:
        command.make_context("polyvox", rest)
