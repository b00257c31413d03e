"""The revision of a stored conversation, so that no change overwrites another."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    op.add_column("conversations", sa.Column("revision", sa.Integer(), nullable=True))
