"""Several processes share a database: their register, who holds a run's client, finished calls."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    op.create_table(
        "processes",
        sa.Column("process_id", sa.String(), primary_key=True),
        sa.Column("role", sa.String(), nullable=False),
        sa.Column("address", sa.String(), nullable=True),
        sa.Column("version", sa.String(), nullable=False),
        sa.Column("started_at", sa.DateTime(), nullable=False),
        sa.Column("seen_at", sa.DateTime(), nullable=False),
    )
    op.create_table(
        "finished_calls",
        sa.Column("run_id", sa.String(), primary_key=True),
        sa.Column("call_id", sa.String(), primary_key=True),
        sa.Column("reply", sa.LargeBinary(), nullable=False),
    )
    for column in (
        sa.Column("listener", sa.String(), nullable=True),
        sa.Column("fetchable", sa.Boolean(), nullable=True),
        sa.Column("request_digest", sa.String(), nullable=True),
        sa.Column("idempotency_key", sa.String(), nullable=True),
    ):
        op.add_column("runs", column)
    op.add_column("calls", sa.Column("process", sa.String(), nullable=True))
    op.create_index("runs_by_request", "runs", ["key_id", "request_digest"])
    op.create_index("runs_by_idempotency_key", "runs", ["key_id", "idempotency_key"])
