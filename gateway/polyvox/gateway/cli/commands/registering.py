"""Examine a flow, store it, and bind it to a model if ``polyvox register`` names one."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import typer

from polyvox.activities.registry.registry import Registry
from polyvox.activities.registry.virtual_models import ModelSpec
from polyvox.gateway.api.registry_document import FlowDocument
from polyvox.gateway.cli.input.key_value import assigned, read_params
from polyvox.gateway.cli.input.options import print_json
from polyvox.gateway.cli.input.stores import with_registry
from polyvox.worker.registering.dry_run import DryRuns
from polyvox.worker.registering.registration import examine, read_source
from polyvox.worker.settings.shipped_templates import system_user


@dataclass(frozen=True, slots=True)
class Order:
    """The arguments of the command."""

    path: Path
    message: str = ""
    model: str | None = None
    param: Sequence[str] | None = None
    param_file: Sequence[str] | None = None
    limit: Sequence[str] | None = None


def registered(data: Path, order: Order, dry_runs: DryRuns, *, as_json: bool) -> None:
    """Register a flow and print the result."""
    with_registry(data, lambda registry: _register(registry, order, dry_runs, as_json=as_json))


def _register(registry: Registry, order: Order, dry_runs: DryRuns, *, as_json: bool) -> None:
    params = read_params(order.param, order.param_file)
    author, providers = system_user(), registry.known_providers()
    candidate = examine(
        read_source(order.path),
        order.path.resolve().name,
        params=params,
        providers=providers,
        dry_runs=dry_runs,
    )
    for doubt in candidate.doubts:
        typer.echo(f"Warning: {doubt}", err=True)
    known = {version.name for version in registry.flows()}
    version = registry.register(
        candidate.source, candidate.filename, message=order.message, author=author
    )
    model = order.model
    if model is not None:
        wanted = ModelSpec(version.name, params, limits=assigned(order.limit, "--limit"))
        registry.change({model: wanted}, author=author, message=order.message, providers=providers)
    if as_json:
        print_json(FlowDocument.model_validate(version))
        return
    state = "is unchanged" if version.name in known else "is registered and live"
    typer.echo(f"{version.name} {state}.")
    if model is not None:
        typer.echo(f"Call it as model {model!r}.")
    elif registry.load(version.digest).needs_params:
        typer.echo(
            f"It needs parameters: polyvox models set NAME --flow {version.flow} --param "
            f'KEY=VALUE, or declare [models.NAME] flow = "{version.flow}" in polyvox.toml.'
        )
    else:
        typer.echo(f"Call it as model {version.flow!r}, or this exact version as {version.name!r}.")
