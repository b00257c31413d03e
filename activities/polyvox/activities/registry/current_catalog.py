"""The catalog of this process, which notices the changes of others by the tables' revision."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Event, Thread

from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from polyvox.activities.registry.catalog import Catalog, read_catalog

FOLLOWED_S = 0.5
"""The interval of looking for changes of other processes in a database server."""

log = logging.getLogger(__name__)


class CurrentCatalog:
    """The catalog, read again when its revision has changed."""

    def __init__(self, engine: Engine) -> None:
        self._is_file = engine.dialect.name == "sqlite"
        # With autocommit a query is one round trip.
        self._engine = (
            engine if self._is_file else engine.execution_options(isolation_level="AUTOCOMMIT")
        )
        self._catalog = Catalog()
        self._is_followed = False

    def get(self) -> Catalog:
        """Return the catalog: the newest, or while it is followed, one that is FOLLOWED_S old."""
        return self._catalog if self._is_followed else self.refreshed()

    def refreshed(self) -> Catalog:
        """Return the newest catalog."""
        with self._engine.connect() as connection:
            row = connection.exec_driver_sql("SELECT revision FROM registry_revision").first()
        revision = row[0] if row else 0
        if revision != self._catalog.revision:
            self._catalog = read_catalog(self._engine, revision)
        return self._catalog

    @contextmanager
    def followed(self) -> Iterator[None]:
        """Look for changes in a thread, unless the database is a file, which is read in no time.

        A query to a server would stop the event loop, which needs the catalog for every request.
        """
        if self._is_file:
            yield
            return
        self.refreshed()
        ended = Event()
        thread = Thread(target=self._follow, args=(ended,), name="registry", daemon=True)
        thread.start()
        self._is_followed = True
        try:
            yield
        finally:
            self._is_followed = False
            ended.set()

    def _follow(self, ended: Event) -> None:
        is_read = True
        while not ended.wait(FOLLOWED_S):
            try:
                self.refreshed()
            except SQLAlchemyError as error:
                if is_read and not ended.is_set():
                    log.warning("The registry cannot be read: %s", getattr(error, "orig", error))
                is_read = False
            else:
                is_read = True
