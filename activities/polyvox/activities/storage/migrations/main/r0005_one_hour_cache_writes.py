"""The tokens written to a cache that lasts an hour, which have their own price."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    for table in ("runs", "calls"):
        tokens = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
        op.add_column(table, sa.Column("cache_write_1h_tokens", tokens, nullable=True))
