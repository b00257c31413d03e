"""Connections to PostgreSQL: the engine and its pool, and locks between processes.

A connection from the pool is checked without a round trip: the server of an idle connection has
nothing to send, so bytes or an end of file on its socket mean that the server ended it. Then the
whole pool is renewed, and the query does not notice that the server was restarted.
"""

import select
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import URL, Engine, create_engine, event
from sqlalchemy.exc import InvalidatePoolError

DRIVER = "postgresql+psycopg"

CONNECT_S = 5
"""A server that does not answer this long counts as unreachable."""

POOL = 4
MORE = 8
"""A store keeps up to POOL connections open, and opens up to MORE others under load."""

POOL_WAIT_S = 5.0

_CONNECTION_ARGUMENTS = {
    "connect_timeout": CONNECT_S,
    "application_name": "polyvox",
    # A machine that vanished is noticed after about 15 s instead of two hours.
    "keepalives_idle": 5,
    "keepalives_interval": 5,
    "keepalives_count": 2,
    "tcp_user_timeout": 15_000,
}


def is_postgresql(url: URL) -> bool:
    return url.get_backend_name() in ("postgresql", "postgres")


def postgresql_engine(url: URL, **options: Any) -> Engine:
    """Return an engine for a PostgreSQL URL; its driver is psycopg 3 unless the URL names one.

    ``options`` are passed to ``create_engine``. Does not connect.
    """
    if "+" not in url.drivername:
        url = url.set(drivername=DRIVER)
    engine = create_engine(
        url,
        pool_size=POOL,
        max_overflow=MORE,
        pool_timeout=POOL_WAIT_S,
        # What the URL's query sets has precedence.
        connect_args={n: v for n, v in _CONNECTION_ARGUMENTS.items() if n not in url.query},
        **options,
    )
    event.listen(engine, "checkout", _require_alive)
    return engine


@contextmanager
def one_at_a_time(engine: Engine, number: int) -> Iterator[None]:
    """Let one process after the other run the body; does nothing for a SQLite database.

    ``number`` is that of an advisory lock. It ends with its connection, so a killed process does
    not keep it.
    """
    if engine.dialect.name != "postgresql":
        yield
        return
    alone = engine.execution_options(isolation_level="AUTOCOMMIT")
    with alone.connect() as connection:
        connection.exec_driver_sql("SELECT pg_advisory_lock(%s)", (number,))
        try:
            yield
        finally:
            connection.exec_driver_sql("SELECT pg_advisory_unlock(%s)", (number,))


def remedy(engine: Engine, error: BaseException) -> str:
    """Return what to do about a failure to use the database, as a sentence or two."""
    url = engine.url
    place = f"{url.host or 'the local socket'}" + (f":{url.port}" if url.port else "")
    why = str(getattr(error, "orig", None) or error)
    if "does not exist" in why and "database" in why:
        return f"Create it: createdb -h {url.host} -p {url.port or 5432} -O USER {url.database}"
    if "authentication" in why or "no password" in why or "does not exist" in why:
        return (
            "Correct the user and the password in the URL (POLYVOX_DATABASE, --database or "
            "storage.database), or set PGPASSWORD."
        )
    if "permission denied" in why:
        return f"Make the user {url.username!r} the owner of the database {url.database!r}."
    return f"Start the PostgreSQL server at {place}, or correct host and port in the URL."


def _require_alive(connection: Any, _record: object, _fairy: object) -> None:
    """Raise if the server has ended a pooled connection."""
    if connection.closed:
        raise InvalidatePoolError
    waiting = select.poll()
    waiting.register(connection.fileno(), select.POLLIN)
    if waiting.poll(0):
        # A notice may be the reason too; a new connection costs some milliseconds.
        raise InvalidatePoolError
