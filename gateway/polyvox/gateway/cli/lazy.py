"""Commands whose modules are imported when they are run: `--help` and quick ones need not wait.

Server, engine and exporters are two seconds of imports that `polyvox keys list` has no use for.
"""

import gc
from importlib import import_module
from typing import Any

import typer
from typer.core import TyperCommand
from typer.main import get_command


def group(about: str) -> typer.Typer:
    """Return a group of commands without any."""
    return typer.Typer(
        no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, help=about
    )


def add(app: typer.Typer, name: str, place: str, about: str) -> None:
    """Add the command ``name``: the function ``module:function`` of ``commands`` at ``place``.

    ``about`` is how its docstring begins, for the lists of commands.
    """

    class Later(TyperCommand):
        def make_context(
            self, info_name: str | None, args: list[str], parent: Any = None, **extra: Any
        ) -> Any:
            return loaded(place).make_context(info_name, args, parent, **extra)

    app.command(name, cls=Later, help=about)(_nothing)


def loaded(place: str) -> Any:
    """Return the command at ``place``, its module imported."""
    module, _, function = place.partition(":")
    alone = group("")
    alone.command()(getattr(imported(module), function))
    return get_command(alone)


def imported(module: str) -> Any:
    """Return a module of the package ``commands``.

    What is imported stays: walking it again and again for garbage would be a sixth of the time.
    """
    gc.disable()
    try:
        return import_module(f"{__package__}.commands.{module}")
    finally:
        gc.enable()


def _nothing() -> None:
    """Stands in for a command that was not imported yet."""
