"""Reads the values in the rows of a database that may refer to blobs."""

from collections.abc import Iterator
from contextlib import suppress

import orjson
import zstandard
from sqlalchemy import JSON, Column, Engine, LargeBinary, MetaData, String, Table, inspect, select
from sqlalchemy.types import TypeEngine

from polyvox.activities.storage.blobs import decompressed

_WITHOUT = frozenset(
    {
        *("blobs", "calls", "flow_versions", "keys", "meta", "processes", "registry_revision"),
        *("response_frames", "response_items", "ui_sessions", "ui_tickets", "virtual_models"),
    }
)
"""Tables that never refer to blobs. Every other table is read, also one that is added later."""

_PAGE = 1000


def values_in_rows(engine: Engine) -> Iterator[bytes]:
    """Yield the texts, documents and bytes of all rows that may contain digests."""
    for name in inspect(engine).get_table_names():
        if name in _WITHOUT or name.endswith("alembic_version"):
            continue
        table = Table(name, MetaData(), autoload_with=engine)
        columns = [column for column in table.columns if _may_refer(column.type)]
        if columns:
            yield from _values(engine, table, columns)


def _values(engine: Engine, table: Table, columns: list[Column[object]]) -> Iterator[bytes]:
    with engine.connect() as connection:
        rows = connection.execution_options(yield_per=_PAGE).execute(select(*columns))
        for row in rows:
            for value in row:
                yield _as_bytes(value)


def _may_refer(kind: TypeEngine[object]) -> bool:
    return isinstance(kind, String | JSON | LargeBinary)


def _as_bytes(value: object) -> bytes:
    match value:
        case None:
            return b""
        case str():
            return value.encode("utf-8", "surrogatepass")
        case bytes() | memoryview():
            stored = bytes(value)
            with suppress(zstandard.ZstdError):
                return decompressed(stored)
            return stored
        case _:
            return orjson.dumps(value)
