"""``polyvox models``: virtual models, their prompts and parameters, and their history."""

from collections.abc import Mapping
from typing import Annotated

import orjson
import typer
from rich.text import Text

from polyvox.activities.registry.registry import Registry
from polyvox.activities.registry.virtual_models import ModelSpec, Plan, differences, documents
from polyvox.gateway.api.model_edits import ModelEdit, as_it_was, earlier, edited
from polyvox.gateway.api.registry_document import ModelDocument, model_diff
from polyvox.gateway.cli.input.key_value import (
    CardOption,
    LimitOption,
    MessageOption,
    ParamFileOption,
    ParamOption,
    assigned,
    read_params,
)
from polyvox.gateway.cli.input.options import (
    DEFAULT_DATA,
    DataOption,
    JsonOption,
    console,
    print_json,
)
from polyvox.gateway.cli.input.stores import with_registry
from polyvox.gateway.cli.output.format import plain_table
from polyvox.gateway.cli.output.plan_text import render_differences, render_plan
from polyvox.worker.settings.shipped_templates import system_user

NameArgument = Annotated[str, typer.Argument(metavar="NAME", help="A virtual model's name.")]


def list_models(data: DataOption = DEFAULT_DATA, as_json: JsonOption = False) -> None:
    """List the virtual models in use."""

    def listed(registry: Registry) -> None:
        models = registry.virtual_models()
        if as_json:
            print_json([ModelDocument.model_validate(binding) for binding in models])
            return
        table = plain_table("MODEL", "VERSION", "FLOW", "CONTEXT", "BY", "MESSAGE")
        for binding in models:
            table.add_row(
                Text(binding.model),
                str(binding.version),
                binding.flow,
                str(binding.parsed_card.context_window or "-"),
                Text(binding.author),
                Text(binding.message),
            )
        console().print(table)

    with_registry(data, listed)


def show_model(
    name: NameArgument, data: DataOption = DEFAULT_DATA, as_json: JsonOption = False
) -> None:
    """Show a model: its flow, the parameters that are set, and its limits."""

    def shown(registry: Registry) -> None:
        binding = registry.virtual_model(name)
        if as_json:
            print_json(ModelDocument.model_validate(binding))
            return
        out = console()
        head = f"{name}  version {binding.version}  {binding.flow}  {binding.description}"
        out.print(Text(head.rstrip(), style="bold"))
        for table, values in (("params", binding.params), ("limits", binding.limits)):
            for key, value in values.items():
                out.print(Text(f"  {table}.{key} = {orjson.dumps(value).decode()}"))

    with_registry(data, shown)


def set_model(
    name: NameArgument,
    data: DataOption = DEFAULT_DATA,
    flow: Annotated[
        str | None, typer.Option(help="careful for its newest version, careful@2 for that version.")
    ] = None,
    param: ParamOption = None,
    param_file: ParamFileOption = None,
    unset: Annotated[
        list[str] | None, typer.Option(help="A parameter to remove; may be repeated.")
    ] = None,
    limit: LimitOption = None,
    card: CardOption = None,
    description: Annotated[
        str | None, typer.Option(help="The description shown in lists of models.")
    ] = None,
    message: MessageOption = "",
    as_json: JsonOption = False,
) -> None:
    """Create a virtual model, or store the given changes to one as its next version."""

    def made(registry: Registry) -> None:
        present = {binding.model: binding for binding in registry.virtual_models()}.get(name)
        edit = ModelEdit(
            flow=flow,
            params=read_params(param, param_file),
            unset=unset or [],
            description=description,
            limits=assigned(limit, "--limit"),
            card=assigned(card, "--card"),
        )
        _change(registry, {name: edited(name, present, edit)}, message, as_json=as_json)

    with_registry(data, made, create=True)


def show_history(
    name: NameArgument, data: DataOption = DEFAULT_DATA, as_json: JsonOption = False
) -> None:
    """List all versions of a model, newest first: who changed what, when and why."""

    def shown(registry: Registry) -> None:
        history = registry.history(name)
        earlier(name, history, 1)
        if as_json:
            print_json([ModelDocument.model_validate(binding) for binding in reversed(history)])
            return
        before = [None, *history]
        for binding, previous in reversed(list(zip(history, before, strict=False))):
            moment = f"{binding.created_at.astimezone():%Y-%m-%d %H:%M:%S}"  # type: ignore[union-attr]
            state = "  retired" if binding.retired else ""
            head = f"{name} {binding.version}  {moment}  {binding.author}  {binding.message}{state}"
            console().print(Text(head, style="bold"))
            if previous is not None:
                changed = differences(previous.document(), binding.document())
                console().print(render_differences(changed))

    with_registry(data, shown)


def diff_model(
    name: NameArgument,
    before: Annotated[
        int | None, typer.Argument(metavar="[FROM]", help="Default: the version before TO.")
    ] = None,
    after: Annotated[int | None, typer.Argument(metavar="[TO]", help="Default: newest.")] = None,
    data: DataOption = DEFAULT_DATA,
    as_json: JsonOption = False,
) -> None:
    """Show what differs between two versions of a model."""

    def compared(registry: Registry) -> None:
        found = model_diff(name, registry.history(name), before, after)
        changed = found.differences
        if as_json:
            print_json(found)
        else:
            console().print(render_differences(changed) if changed else "They do not differ.")

    with_registry(data, compared)


def roll_back(
    name: NameArgument,
    to: Annotated[int | None, typer.Option(help="The version; default: the previous one.")] = None,
    data: DataOption = DEFAULT_DATA,
    message: MessageOption = "",
    as_json: JsonOption = False,
) -> None:
    """Restore an earlier version of a model, as its next version."""

    def rolled(registry: Registry) -> None:
        goal = earlier(name, registry.history(name), to)
        why = message or f"back to version {goal.version}"
        _change(registry, {name: as_it_was(goal)}, why, as_json=as_json)

    with_registry(data, rolled)


def retire_model(
    name: NameArgument,
    data: DataOption = DEFAULT_DATA,
    message: MessageOption = "",
    as_json: JsonOption = False,
) -> None:
    """Retire a model. Its history is kept, and a rollback restores it."""
    with_registry(data, lambda registry: _change(registry, {name: None}, message, as_json=as_json))


def _change(
    registry: Registry, wanted: Mapping[str, ModelSpec | None], message: str, *, as_json: bool
) -> None:
    plan: Plan = registry.change(
        wanted, author=system_user(), message=message, providers=registry.known_providers()
    )
    if as_json:
        print_json(documents(plan))
    else:
        console().print(render_plan(plan))
