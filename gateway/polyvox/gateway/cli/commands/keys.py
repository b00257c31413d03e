"""``polyvox keys``: list, create and revoke the server's keys."""

from collections.abc import Sequence
from itertools import chain, count
from typing import Annotated, Any

import typer
from rich.console import RenderableType
from rich.text import Text

from polyvox.activities.ledger.entries import KeyRecord, Role
from polyvox.activities.ledger.ledger import Ledger
from polyvox.gateway.cli.input.options import (
    DEFAULT_DATA,
    DataOption,
    JsonOption,
    console,
    print_json,
)
from polyvox.gateway.cli.input.stores import with_ledger
from polyvox.gateway.cli.output.format import minute, plain_table
from polyvox.gateway.own_keys import RESERVED_NAMES
from polyvox.workflows.errors import ModelError


def list_keys(data: DataOption = DEFAULT_DATA, as_json: JsonOption = False) -> None:
    """List the keys, without their secrets."""
    keys = with_ledger(data, lambda ledger: ledger.list_keys())
    if as_json:
        print_json([_document(key) for key in keys])
    else:
        console().print(render_keys(keys))


def create_key(
    name: Annotated[
        str | None, typer.Argument(metavar="NAME", help="What the key is for; no two share one.")
    ] = None,
    data: DataOption = DEFAULT_DATA,
    role: Annotated[
        Role,
        typer.Option(help="An admin may change flows and models and see the runs of all keys."),
    ] = "user",
    as_json: JsonOption = False,
) -> None:
    """Create a key. Its secret is shown only once; a running server accepts it immediately."""

    async def created(ledger: Ledger) -> tuple[str, str, str]:
        own = free_name(await ledger.list_keys(), name)
        return own, *await ledger.create_key(own, role)

    given, key_id, secret = with_ledger(data, created, create=True)
    if as_json:
        print_json({"key_id": key_id, "name": given, "role": role, "secret": secret})
    else:
        # The secret alone on standard output, for KEY=$(polyvox keys create NAME).
        typer.echo(
            f"Key {key_id} ({given}) with role {role}. Save it: it is not shown again.", err=True
        )
        typer.echo(secret)


def revoke_key(
    key: Annotated[
        str,
        typer.Argument(metavar="KEY", help="The key's name, its id or the beginning of its id."),
    ],
    data: DataOption = DEFAULT_DATA,
    as_json: JsonOption = False,
) -> None:
    """Revoke a key. A running server refuses it within seconds."""

    async def revoked(ledger: Ledger) -> KeyRecord:
        return await ledger.revoke_key(named_key(await ledger.list_keys(), key).key_id)

    _print_revoked(with_ledger(data, revoked), as_json=as_json)


def _print_revoked(key: KeyRecord, *, as_json: bool) -> None:
    if as_json:
        print_json(_document(key))
    else:
        typer.echo(f"Revoked {key.key_id} ({key.name}).")


def free_name(keys: Sequence[KeyRecord], name: str | None) -> str:
    """Return ``name`` if no valid key has it; without a name one that is free.

    Raises ModelError("conflict"): of two keys with one name, neither could be revoked by it.
    """
    taken = {key.name: key for key in keys if key.revoked_at is None}
    if name is None:
        numbered = chain(["key"], (f"key-{number}" for number in count(2)))
        return next(free for free in numbered if free not in taken)
    if name in RESERVED_NAMES:
        raise ModelError("conflict", f"The name {name!r} is reserved. Choose another name.")
    if name in taken:
        raise ModelError(
            "conflict",
            f"The key {taken[name].key_id} is named {name!r}. Choose another name, or revoke it "
            f"first: polyvox keys revoke {taken[name].key_id}.",
        )
    return name


def named_key(keys: Sequence[KeyRecord], wanted: str) -> KeyRecord:
    """Return the key with the id, name or beginning of an id ``wanted``. Raises ModelError.

    A valid key precedes revoked ones of the same name.
    """
    exact = [key for key in keys if wanted == key.key_id]
    named = [key for key in keys if wanted == key.name]
    valid = [key for key in named if key.revoked_at is None]
    begun = [
        key
        for key in keys
        if wanted and key.key_id.removeprefix("key_").startswith(wanted.removeprefix("key_"))
    ]
    found = exact or valid or named or begun
    if not found:
        raise ModelError(
            "not_found", f"There is no key {wanted!r}. `polyvox keys list` shows them."
        )
    if len(found) > 1:
        ids = ", ".join(key.key_id for key in found)
        raise ModelError("conflict", f"Several keys match {wanted!r}: {ids}. Give one of the ids.")
    return found[0]


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
