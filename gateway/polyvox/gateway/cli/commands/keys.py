"""``polyvox keys``: list, create and revoke the server's keys."""

from collections.abc import Sequence
from typing import Annotated, Any

import typer
from rich.console import RenderableType
from rich.text import Text

from polyvox.activities.ledger.entries import KeyRecord, Role
from polyvox.gateway.cli.input.options import (
    DEFAULT_DATA,
    DataOption,
    JsonOption,
    console,
    print_json,
)
from polyvox.gateway.cli.input.stores import with_ledger
from polyvox.gateway.cli.output.format import minute, plain_table


def list_keys(data: DataOption = DEFAULT_DATA, as_json: JsonOption = False) -> None:
    """List the keys, without their secrets."""
    keys = with_ledger(data, lambda ledger: ledger.list_keys())
    if as_json:
        print_json([_document(key) for key in keys])
    else:
        console().print(render_keys(keys))


def create_key(
    name: Annotated[str, typer.Argument(help="What the key is for.")] = "key",
    data: DataOption = DEFAULT_DATA,
    role: Annotated[
        Role,
        typer.Option(help="An admin may change flows and models and see the runs of all keys."),
    ] = "user",
    as_json: JsonOption = False,
) -> None:
    """Create a key. Its secret is shown only once; a running server accepts it immediately."""
    key_id, secret = with_ledger(data, lambda ledger: ledger.create_key(name, role), create=True)
    if as_json:
        print_json({"key_id": key_id, "name": name, "role": role, "secret": secret})
    else:
        typer.echo(
            f"{secret}\nThis is key {key_id} with role {role}. Save the line above: "
            "it is not shown again."
        )


def revoke_key(
    key_id: Annotated[
        str, typer.Argument(metavar="ID", help="The key's id, such as key_0123abcd.")
    ],
    data: DataOption = DEFAULT_DATA,
    as_json: JsonOption = False,
) -> None:
    """Revoke a key. A running server refuses it within seconds."""
    key = with_ledger(data, lambda ledger: ledger.revoke_key(key_id))
    if as_json:
        print_json(_document(key))
    else:
        typer.echo(f"Revoked {key.key_id} ({key.name}).")


def render_keys(keys: Sequence[KeyRecord]) -> RenderableType:
    """Render a table with one row for each key."""
    if not keys:
        return Text("No keys. Run `polyvox keys create` to create one.")
    table = plain_table("KEY", "NAME", "ROLE", "CREATED", "STATE")
    for key in keys:
        table.add_row(
            key.key_id,
            Text(key.name),
            key.role,
            minute(key.created_at),
            Text("revoked", "red") if key.revoked_at else Text("valid", "green"),
        )
    return table


def _document(key: KeyRecord) -> dict[str, Any]:
    return {
        "key_id": key.key_id,
        "name": key.name,
        "role": key.role,
        "created_at": key.created_at.isoformat(),
        "revoked_at": key.revoked_at.isoformat() if key.revoked_at else None,
    }
