"""What Alembic runs for every upgrade: the due revisions, in the transaction of the caller.

``polyvox.activities.storage.database`` is the caller. This folder is not a package, so that nothing
imports these files but Alembic.
"""

from alembic import context

context.configure(connection=context.config.attributes["connection"])
context.run_migrations()
