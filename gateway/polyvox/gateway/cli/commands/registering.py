"""Examine a flow, store it, and bind it to a model if ``polyvox register`` names one."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import typer

from polyvox.activities.registry.catalog import FlowVersion
from polyvox.activities.registry.registry import Registry
from polyvox.activities.registry.virtual_models import ModelSpec, ResolvedModel
from polyvox.gateway.api.model_edits import ModelEdit, edited
from polyvox.gateway.api.registry_document import RegisteredFlowDocument, render_registered
from polyvox.gateway.cli.input.key_value import assigned, read_params
from polyvox.gateway.cli.input.options import print_json
from polyvox.gateway.cli.input.stores import with_registry
from polyvox.worker.registering.dry_run import DryRuns
from polyvox.worker.registering.registration import examine, read_source
from polyvox.worker.settings.shipped_templates import system_user
from polyvox.workflows.conversation import Json


@dataclass(frozen=True, slots=True)
class Order:
    """The arguments of the command."""

    path: Path
    message: str = ""
    model: str | None = None
    param: Sequence[str] | None = None
    param_file: Sequence[str] | None = None
    limit: Sequence[str] | None = None
    unset: Sequence[str] | None = None


def registered(data: Path, order: Order, dry_runs: DryRuns, *, as_json: bool) -> None:
    """Register a flow and print the result."""
    with_registry(data, lambda registry: _register(registry, order, dry_runs, as_json=as_json))


def _register(registry: Registry, order: Order, dry_runs: DryRuns, *, as_json: bool) -> None:
    params = read_params(order.param, order.param_file)
    models = {order.model: _spec(registry, order.model, order, params)} if order.model else {}
    author, providers = system_user(), registry.known_providers()
    candidate = examine(
        read_source(order.path),
        order.path.resolve().name,
        params=models[order.model].params if order.model else params,
        providers=providers,
        dry_runs=dry_runs,
    )
    for doubt in candidate.doubts:
        typer.echo(f"Warning: {doubt}", err=True)
    known = {version.name for version in registry.flows()}
    version = registry.register(
        candidate.source,
        candidate.filename,
        message=order.message,
        author=author,
        models=models,
        providers=providers,
    )
    document = render_registered(registry, version, candidate.doubts)
    if as_json:
        print_json(document)
        _name_left_behind(document)
        return
    new = "is registered" if document.left_behind else "is registered and live"
    typer.echo(f"{version.name} {'is unchanged' if version.name in known else new}.")
    if order.model is not None:
        typer.echo(f"Call it as model {order.model!r}.")
    elif not (behind := _models_of(registry, version.flow)):
        typer.echo(_how_to_call(registry, version))
    elif on_it := [model.model for model in behind if model.flow == version.name]:
        typer.echo(f"It answers for the models {', '.join(on_it)}.")
    _name_left_behind(document)


def _name_left_behind(document: RegisteredFlowDocument) -> None:
    """Print, beside the result, which models keep an older version."""
    for model in document.left_behind:
        typer.echo(
            f"Model {model.model!r} still runs {model.flow}. To change it: polyvox models set "
            f"{model.model} --flow {document.flow}",
            err=True,
        )


def _spec(registry: Registry, name: str, order: Order, params: Mapping[str, Json]) -> ModelSpec:
    """Return the model after the command, which keeps what it does not name."""
    present = {model.model: model for model in registry.virtual_models()}.get(name)
    edit = ModelEdit(
        flow=order.path.stem,  # replaced by the version that is registered
        params=dict(params),
        unset=list(order.unset or ()),
        limits=assigned(order.limit, "--limit"),
    )
    return edited(name, present, edit)


def _models_of(registry: Registry, flow: str) -> list[ResolvedModel]:
    return [m for m in registry.virtual_models() if m.flow.partition("@")[0] == flow]


def _how_to_call(registry: Registry, version: FlowVersion) -> str:
    if registry.load(version.digest).needs_params:
        return (
            f"It needs parameters: polyvox models set NAME --flow {version.flow} --param "
            f'KEY=VALUE, or declare [models.NAME] flow = "{version.flow}" in polyvox.toml.'
        )
    return f"Call it as model {version.flow!r}, or this exact version as {version.name!r}."
