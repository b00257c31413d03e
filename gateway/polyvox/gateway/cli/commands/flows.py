"""``polyvox flows``: the flows, their versions and their parameters."""

from typing import Annotated

import typer
from rich.syntax import Syntax
from rich.text import Text

from polyvox.activities.registry.catalog import FlowVersion
from polyvox.activities.registry.registry import Registry
from polyvox.gateway.api.registry_document import FlowDocument, render_whole_flow, source_diff
from polyvox.gateway.cli.input.options import (
    DEFAULT_DATA,
    DataOption,
    FlowArgument,
    JsonOption,
    console,
    print_json,
)
from polyvox.gateway.cli.input.stores import with_registry
from polyvox.gateway.cli.output.format import minute, plain_table


def list_flows(
    data: DataOption = DEFAULT_DATA,
    everything: Annotated[
        bool, typer.Option("--all", help="Include all versions, also retired ones.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """List the flows in use, each with its newest version."""

    def listed(registry: Registry) -> None:
        used = [version for version in registry.flows() if not version.retired_at]
        newest = {version.flow: version for version in used}
        shown = registry.flows() if everything else list(newest.values())
        if as_json:
            print_json([FlowDocument.model_validate(version) for version in shown])
            return
        table = plain_table("FLOW", "REGISTERED", "BY", "MESSAGE", "ABOUT")
        for version in shown:
            about = version.description.partition("\n")[0]
            state = f"retired. {version.message}" if version.retired_at else version.message
            registered = minute(version.created_at)
            table.add_row(version.name, registered, version.author, Text(state), Text(about))
        console().print(table)

    with_registry(data, listed)


def show_flow(
    name: FlowArgument, data: DataOption = DEFAULT_DATA, as_json: JsonOption = False
) -> None:
    """Show a flow's parameters and source; with --json also their JSON Schema."""

    def shown(registry: Registry) -> None:
        version = registry.flow(name)
        document = render_whole_flow(registry, version)
        if as_json:
            print_json(document)
            return
        out = console()
        out.print(Text(f"{version.name}  {document.description}"))
        out.print(Text(_history(registry, version)))
        required = document.params.get("required", [])
        for key, schema in document.params.get("properties", {}).items():
            default = "required" if key in required else f"default {schema.get('default')!r}"
            description = schema.get("description", "")
            out.print(Text(f"  {key}: {schema.get('type', 'any')}, {default[:60]}  {description}"))
        if document.models:
            out.print(Text(f"Models: {', '.join(document.models)}"))
        for path, source in document.files.items():
            out.print(Text(f"\n{path}", style="bold"))
            out.print(Syntax(source, "python" if path.endswith(".py") else "markdown"))

    with_registry(data, shown)


def diff_flows(
    name: FlowArgument,
    other: Annotated[
        str | None, typer.Argument(metavar="[OTHER]", help="Default: the previous version.")
    ] = None,
    data: DataOption = DEFAULT_DATA,
    as_json: JsonOption = False,
) -> None:
    """Show the differences from the previous version to NAME, or from NAME to OTHER."""

    def compare(registry: Registry) -> None:
        newer = registry.flow(name)
        if other is not None:
            before, after = newer, registry.flow(other)
        else:
            before, after = registry.flow(f"{newer.flow}@{max(1, newer.version - 1)}"), newer
        compared = source_diff(registry, before, after)
        if as_json:
            print_json(compared)
        else:
            typer.echo(compared.diff or f"{before.name} and {after.name} do not differ.")

    with_registry(data, compare)


def retire_flow(
    name: FlowArgument, data: DataOption = DEFAULT_DATA, as_json: JsonOption = False
) -> None:
    """Retire a version or a whole flow: new runs cannot use it, running ones continue."""

    def retired(registry: Registry) -> None:
        versions = registry.retire_flow(name)
        if as_json:
            print_json([FlowDocument.model_validate(version) for version in versions])
        else:
            typer.echo(f"Retired: {', '.join(version.name for version in versions)}.")

    with_registry(data, retired)


def _history(registry: Registry, version: FlowVersion) -> str:
    names = [
        f"{known.name}{' (retired)' if known.retired_at else ''}"
        for known in registry.flows()
        if known.flow == version.flow
    ]
    return f"registered by {version.author or '?'}: {version.message}  versions: {', '.join(names)}"
