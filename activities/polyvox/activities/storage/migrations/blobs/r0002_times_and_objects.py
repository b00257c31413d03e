"""When a blob was last put, and the name of its object if its body is in a bucket.

Blobs that are stored already count as put at the time of the migration.
"""

import time

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    now = sa.text(str(int(time.time())))
    for column in (
        sa.Column("stored_at", sa.BigInteger(), nullable=False, server_default=now),
        sa.Column("object", sa.String(), nullable=True),
        sa.Column("object_bytes", sa.Integer(), nullable=True),
    ):
        op.add_column("blobs", column)
    if op.get_bind().dialect.name == "postgresql":
        # Bodies are compressed already.
        op.execute("ALTER TABLE blobs ALTER COLUMN body SET STORAGE EXTERNAL")
