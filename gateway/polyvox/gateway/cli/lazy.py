"""Commands whose modules are imported only when they run, so that `--help` is fast.

Server, engine and exporters take two seconds to import, and `polyvox keys list` needs none of them.
"""

import gc
from importlib import import_module
from typing import Any

import typer
from typer.core import TyperCommand
from typer.main import get_command

HELP = {"help_option_names": ["-h", "--help"]}


def group(about: str) -> typer.Typer:
    """Return an empty group of commands."""
    return typer.Typer(
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        help=about,
        context_settings=HELP,
    )


def add(app: typer.Typer, name: str, place: str, about: str) -> None:
    """Add the command ``name``: the function at ``place``, ``module:function`` in ``commands``.

    ``about`` is the first line of its docstring, which lists of commands show.
    """

    class Later(TyperCommand):
        def make_context(
            self, info_name: str | None, args: list[str], parent: Any = None, **extra: Any
        ) -> Any:
            return loaded(place).make_context(info_name, args, parent, **extra)

    app.command(name, cls=Later, help=about, context_settings=HELP)(_nothing)


def loaded(place: str) -> Any:
    """Import the module of the command at ``place`` and return the command."""
    module, _, function = place.partition(":")
    alone = group("")
    alone.command(context_settings=HELP)(getattr(imported(module), function))
    command = get_command(alone)
    names = {parameter.name for parameter in command.params}
    if "data" in names and "database" not in names:
        # Not needed for lists of commands.
        from polyvox.gateway.cli.input.store_options import store_options  # noqa: PLC0415

        command.params += store_options()
    return command


def imported(module: str) -> Any:
    """Return a module of the package ``commands``.

    Imported modules stay in memory: collecting garbage meanwhile would take a sixth of the time.
    """
    gc.disable()
    try:
        return import_module(f"{__package__}.commands.{module}")
    finally:
        gc.enable()


def _nothing() -> None:
    """Stand in for a command that is not imported yet."""
