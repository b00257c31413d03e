"""Executed by Alembic for every upgrade: runs the due revisions in the caller's transaction.

``polyvox.activities.storage.database`` is the caller. This folder is not a package, so that only
Alembic imports these files.
"""

from alembic import context

context.configure(connection=context.config.attributes["connection"])
context.run_migrations()
