"""Attempts are written when they begin, and runs that never had a workflow are marked.

A column that is there already is left as it is.
"""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    _add("calls", sa.Column("call_id", sa.String(), nullable=True))
    _add("runs", sa.Column("workflow", sa.Boolean(), nullable=True))
    with op.batch_alter_table("calls") as calls:
        calls.alter_column("ended_at", existing_type=sa.DateTime(), nullable=True)


def _add(table: str, column: sa.Column[str] | sa.Column[bool]) -> None:
    known = {found["name"] for found in sa.inspect(op.get_bind()).get_columns(table)}
    if column.name not in known:
        op.add_column(table, column)
