"""The options ``--database`` and ``--blobs`` of every command that has ``--data``.

They are added to the commands (``lazy.loaded``), so that the commands need not pass them on:
whatever opens the stores of a data folder asks ``stores_of``.
"""

import os
import tomllib
from collections.abc import Mapping
from contextvars import ContextVar
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any

import typer
from typer.main import get_command

from polyvox.activities.storage.backends.urls import StoreUrls, store_urls, url_mistake
from polyvox.gateway.cli.input.options import give_up

_NAMES = ("database", "blobs")

_NOTHING: Mapping[str, str] = MappingProxyType({})

_given: ContextVar[Mapping[str, str]] = ContextVar("given", default=_NOTHING)
"""The URLs on the command line of the running command, or in its environment."""


def _variable(name: str) -> str:
    return f"POLYVOX_{name.upper()}"


def _remember(option: typer.CallbackParam, value: str | None) -> None:
    others = {name: url for name, url in _given.get().items() if name != option.name}
    _given.set({**others, str(option.name): value} if value else others)


def _option(name: str) -> Any:
    return typer.Option(
        f"--{name}",
        envvar=_variable(name),
        help=f"URL of the {name} of `polyvox up`, if it is not in the data folder.",
        expose_value=False,
        callback=_remember,
    )


def _with_options(
    database: Annotated[str | None, _option("database")] = None,
    blobs: Annotated[str | None, _option("blobs")] = None,
) -> None:
    """Have the two options."""


def store_options() -> list[Any]:
    """Return the two options, whose values ``stores_of`` finds."""
    alone = typer.Typer(add_completion=False)
    alone.command()(_with_options)
    return [parameter for parameter in get_command(alone).params if parameter.name in _NAMES]


def stores_of(data: Path) -> StoreUrls:
    """Return where the stores of the server on ``data`` are.

    Sources, in order of precedence: the command line and the environment, the ``polyvox.toml`` that
    a server would read, the data folder. Prints an error and exits with 2 for a URL with a mistake.
    """
    environ = {name: os.environ.get(_variable(name)) for name in _NAMES}
    named = {name: url for name, url in environ.items() if url}
    given = {**_configured(data), **named, **_given.get()}
    for name, url in given.items():
        if wrong := url_mistake(url, blobs=name == "blobs"):
            give_up(
                f"The URL of the {name} {wrong} (--{name}, {_variable(name)} or storage.{name}).",
                status=2,
            )
    return store_urls(data.expanduser().absolute(), given.get("database"), given.get("blobs"))


def _configured(data: Path) -> dict[str, str]:
    """Return the URLs in the configuration file; mistakes in it are those of other commands."""
    for file in (Path("polyvox.toml"), data.expanduser() / "polyvox.toml"):
        if file.is_file():
            try:
                storage = tomllib.loads(file.read_text("utf-8")).get("storage", {})
            except (OSError, ValueError):
                return {}
            named = storage if isinstance(storage, dict) else {}
            return {n: named[n] for n in _NAMES if isinstance(named.get(n), str)}
    return {}
