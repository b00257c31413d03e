"""The tables before there were migrations.

Such a database may also be older than the newest of these tables, columns and indexes: then it
gets what it lacks. Columns that came later are nullable for that reason.
"""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

TABLES = sa.MetaData()


def _text(name: str, *, null: bool = False, key: bool = False) -> sa.Column[str]:
    return sa.Column(name, sa.String(), nullable=null, primary_key=key)


_BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
"""64 bits everywhere: all of SQLite's integers have them."""


def _number(name: str, *, null: bool = False, key: bool = False) -> sa.Column[int]:
    return sa.Column(name, sa.Integer(), nullable=null, primary_key=key)


def _flag(name: str, *, null: bool = False) -> sa.Column[bool]:
    return sa.Column(name, sa.Boolean(), nullable=null)


def _time(name: str, *, null: bool = False) -> sa.Column[object]:
    return sa.Column(name, sa.DateTime(), nullable=null)


def _json(name: str, *, null: bool = False) -> sa.Column[object]:
    return sa.Column(name, sa.JSON(), nullable=null)


def _meters() -> list[sa.Column[int]]:
    meters = ("input", "cache_read", "cache_write", "output", "reasoning")
    return [sa.Column(f"{meter}_tokens", _BIG, nullable=True) for meter in meters]


sa.Table(
    "meta",
    TABLES,
    _text("name", key=True),
    _text("value"),
)
sa.Table(
    "runs",
    TABLES,
    *_meters(),
    _text("run_id", key=True),
    _text("model"),
    _text("flow"),
    _text("protocol"),
    _flag("stream"),
    _text("status"),
    _text("key_id", null=True),
    _time("started_at"),
    _time("ended_at", null=True),
    _text("error_kind", null=True),
    _text("error_message", null=True),
    _text("error_trace", null=True),
    _text("finish", null=True),
    _text("rerun_of", null=True),
    _json("notes"),
    _json("losses"),
    sa.Index("runs_by_start", "started_at", "run_id"),
    sa.Index("runs_by_status", "status", "started_at"),
)
sa.Table(
    "calls",
    TABLES,
    *_meters(),
    sa.Column("id", _BIG, primary_key=True),
    _text("run_id"),
    _text("step"),
    _number("attempt"),
    _text("provider"),
    _text("model"),
    _text("response_model", null=True),
    _text("status"),
    _text("error_kind", null=True),
    _text("error_message", null=True),
    _number("http_status", null=True),
    _text("finish", null=True),
    _time("started_at"),
    _time("first_token_at", null=True),
    _time("ended_at"),
    _flag("recorded", null=True),
    sa.Column("cost_usd", sa.Float(), nullable=True),
    sa.Index("ix_calls_run_id", "run_id"),
)
sa.Table(
    "keys",
    TABLES,
    _text("key_id", key=True),
    _text("sha256"),
    _text("name"),
    _time("created_at"),
    _time("revoked_at", null=True),
    _text("role", null=True),
    sa.UniqueConstraint("sha256"),
)
sa.Table(
    "flow_versions",
    TABLES,
    _number("id", key=True),
    _text("name"),
    _number("version"),
    _text("digest"),
    _text("source"),
    _text("filename"),
    _text("message"),
    _time("created_at"),
    _text("author", null=True),
    _text("description", null=True),
    _flag("needs_params", null=True),
    _time("retired_at", null=True),
    sa.UniqueConstraint("name", "version"),
    sa.UniqueConstraint("name", "digest"),
    sa.Index("ix_flow_versions_digest", "digest"),
)
sa.Table(
    "virtual_models",
    TABLES,
    _number("id", key=True),
    _text("name"),
    _number("version"),
    _text("flow"),
    _text("digest"),
    _json("params"),
    _text("description"),
    _text("message"),
    _time("created_at"),
    _json("limits", null=True),
    _text("author", null=True),
    _text("origin", null=True),
    _flag("retired", null=True),
    _json("card", null=True),
    sa.UniqueConstraint("name", "version"),
)
sa.Table(
    "registry_revision",
    TABLES,
    _number("id", key=True),
    _number("revision"),
)
sa.Table(
    "responses",
    TABLES,
    _text("response_id", key=True),
    _text("key_id"),
    _text("model"),
    _text("status"),
    _flag("stream"),
    _flag("background"),
    _time("created_at"),
    _text("previous_id", null=True),
    _text("conversation"),
    _text("document", null=True),
    sa.Index("responses_by_age", "created_at"),
)
sa.Table(
    "response_items",
    TABLES,
    _text("item_id", key=True),
    _text("response_id", key=True),
    sa.Index("ix_response_items_response_id", "response_id"),
)
sa.Table(
    "response_frames",
    TABLES,
    _text("response_id", key=True),
    _number("first", key=True),
    sa.Column("frames", sa.LargeBinary(), nullable=False),
)
sa.Table(
    "conversations",
    TABLES,
    _text("conversation_id", key=True),
    _text("key_id"),
    _time("created_at"),
    _json("labels"),
    _text("items"),
    _json("item_ids"),
)
sa.Table(
    "transcripts",
    TABLES,
    _text("key", key=True),
    _text("digest"),
    _time("created_at"),
)
sa.Table(
    "memos",
    TABLES,
    _text("key", key=True),
    _json("value"),
    _time("created_at"),
)


def upgrade() -> None:
    connection = op.get_bind()
    TABLES.create_all(connection)
    known = sa.inspect(connection)
    for table in TABLES.sorted_tables:
        columns = {column["name"] for column in known.get_columns(table.name)}
        for column in table.columns:
            if column.name not in columns:
                op.add_column(table.name, sa.Column(column.name, column.type, nullable=True))
        indexes = {index["name"] for index in known.get_indexes(table.name)}
        for index in table.indexes:
            if index.name not in indexes:
                index.create(connection)
    # Programs from before the migrations ask for this, and can still use what these make.
    meta = TABLES.tables["meta"]
    if connection.execute(sa.select(meta).where(meta.c.name == "schema")).first() is None:
        connection.execute(meta.insert().values(name="schema", value="1"))
