"""Executed by Alembic for every upgrade: runs the due revisions in the caller's transaction.

``polyvox.activities.storage.database`` is the caller. This folder is not a package, so that only
Alembic imports these files.
"""

from alembic import context

attributes = context.config.attributes
context.configure(connection=attributes["connection"], version_table=attributes["version_table"])
context.run_migrations()
