"""Tickets and sessions of the Web UI, and indexes for listing runs by model, key and flow.

The last programs before the migrations made these themselves.
"""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.create_table(
        "ui_tickets",
        sa.Column("sha256", sa.String(), primary_key=True),
        sa.Column("target", sa.String(), nullable=False),
        sa.Column("expires_at", sa.DateTime(), nullable=False),
        if_not_exists=True,
    )
    op.create_table(
        "ui_sessions",
        sa.Column("sha256", sa.String(), primary_key=True),
        sa.Column("key_id", sa.String(), nullable=True),
        sa.Column("expires_at", sa.DateTime(), nullable=False),
        if_not_exists=True,
    )
    for name, column in (("model", "model"), ("key", "key_id"), ("flow", "flow")):
        columns = [column, "started_at", "run_id"]
        op.create_index(f"runs_by_{name}", "runs", columns, if_not_exists=True)
