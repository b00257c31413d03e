"""What only a PostgreSQL database has: servers that end, several processes, refused connections."""

import asyncio
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import pytest
from sqlalchemy import event, inspect

from polyvox.activities.ledger.ledger import Ledger
from polyvox.activities.registry.registry import Registry
from polyvox.activities.registry.virtual_models import ModelSpec
from polyvox.activities.storage.backends.postgresql import one_at_a_time
from polyvox.activities.storage.backends.postgresql_blobs import PostgresqlBlobs
from polyvox.activities.storage.blobs import digest_of
from polyvox.activities.storage.database import DatabaseError, database_mistake, open_database
from polyvox.activities.storage.write_queue import WriteQueue
from polyvox.workflows.errors import ModelError
from tests.programs.postgres import PASSWORD, Postgres

FLOW = """\
from polyvox.workflows import Model, Params, Reply, Run, flow


class P(Params):
    model: Model


@flow
async def direct(run: Run[P]) -> Reply:
    return await run.ask(run.params.model)
"""


def test_processes_that_start_at_once_make_one_of_everything(postgres: Postgres) -> None:
    """Tables, flow versions and models: each waits for the others, and none fails."""
    with postgres.bare_database() as database, ExitStack() as stack:

        def start(_: int) -> str:
            engine = open_database(database.url)
            stack.callback(engine.dispose)
            stack.callback(PostgresqlBlobs(database.url).close)
            with one_at_a_time(engine, 1):
                registry = Registry(engine)
                registry.know_providers(["p"])
                registry.register(FLOW, "direct.py")
                registry.change({"m": ModelSpec("direct", {"model": "p:x"})})
            return registry.flow("direct").name

        with ThreadPoolExecutor(3) as threads:
            assert list(threads.map(start, range(3))) == ["direct@1"] * 3
        engine = open_database(database.url)
        assert [model.version for model in Registry(engine).history("m")] == [1]
        tables = set(inspect(engine).get_table_names())
        assert {"alembic_version", "blobs_alembic_version", "runs", "blobs"} <= tables
        engine.dispose()


def test_concurrent_changes_of_the_registry_are_all_seen(postgres: Postgres) -> None:
    """Each change advances the revision, by which other processes notice it."""
    with postgres.new_database() as database:
        engine = open_database(database.url)
        registries = [Registry(engine) for _ in range(4)]
        registries[0].register(FLOW, "direct.py")

        def change(number: int) -> None:
            registries[number].change({f"m{number}": ModelSpec("direct", {"model": "p:x"})})

        with ThreadPoolExecutor(4) as threads:
            list(threads.map(change, range(4)))
        assert [m.model for m in registries[0].virtual_models()] == ["m0", "m1", "m2", "m3"]
        with engine.connect() as connection:
            found = connection.exec_driver_sql("SELECT revision FROM registry_revision")
            assert found.scalar_one() == 5
        engine.dispose()


async def test_a_key_that_two_processes_add_at_once_is_one_key(postgres: Postgres) -> None:
    """As replicas do with POLYVOX_KEY when they start."""
    with postgres.new_database() as database:
        async with Ledger.open(database.url) as one, Ledger.open(database.url) as other:
            secret = "pvx-" + "x" * 32
            added = await asyncio.gather(*(led.add_key(secret, "name") for led in (one, other)))
            assert added[0] == added[1]


def test_a_restarted_server_is_not_noticed(postgres: Postgres) -> None:
    """An outage is an error that says when to try again, and names no password."""
    with postgres.new_database() as database:
        engine, store = open_database(database.url), PostgresqlBlobs(database.url)
        digest = digest_of(b"x")
        store.put({digest: b"x"})
        postgres.stop()
        try:
            assert "failed" in (database_mistake(engine) or "")
            assert "failed" in (store.mistake() or "")
            with pytest.raises(ModelError, match="database server") as refused:
                store.get(digest)
            assert refused.value.retry_after_s
            assert PASSWORD not in str(refused.value)
        finally:
            postgres.start()
        assert store.get(digest) == b"x"
        assert database_mistake(engine) is None
        postgres.stop("fast")
        postgres.start()
        assert store.get(digest) == b"x"
        store.close()
        engine.dispose()


def test_a_read_of_blobs_is_one_query(postgres: Postgres) -> None:
    """And checking a pooled connection is none."""
    with postgres.new_database() as database:
        store = PostgresqlBlobs(database.url)
        bodies = {digest_of(b"%d" % n): b"%d" % n for n in range(50)}
        store.put(bodies)
        statements: list[str] = []
        event.listen(
            store._engine, "before_cursor_execute", lambda *given: statements.append(given[2])
        )
        assert store.get_all(bodies) == bodies
        assert statements == []  # psycopg itself sends the only one
        assert store.missing(bodies) == set()
        assert len(statements) == 1
        store.close()


@pytest.mark.parametrize(
    ("change", "remedy"),
    [
        (lambda one: one.url.replace(one.database, "nowhere"), "createdb -h 127.0.0.1"),
        (lambda one: one.url.replace(PASSWORD, "wrong"), "Correct the user and the password"),
        (lambda one: one.url.replace(str(one.port), "9"), "Start the PostgreSQL server at 127"),
    ],
    ids=["no database", "wrong password", "no server"],
)
def test_a_refused_connection_names_the_remedy(
    postgres: Postgres, change: object, remedy: str
) -> None:
    assert callable(change)
    url = str(change(postgres.__class__(postgres.folder, postgres.port, "polyvox_test")))
    with pytest.raises(DatabaseError, match=remedy) as refused:
        open_database(url)
    assert PASSWORD not in str(refused.value)


async def test_a_deadlock_with_another_process_fails_nobody(postgres: Postgres) -> None:
    """PostgreSQL ends one of two transactions that wait for each other; it is written again."""
    row = "UPDATE meta SET value = '{}' WHERE name = '{}'"
    with postgres.new_database() as database:
        engine, other = open_database(database.url), open_database(database.url)
        with engine.begin() as connection:
            connection.exec_driver_sql("INSERT INTO meta VALUES ('a', ''), ('b', '')")
        tries: list[int] = []
        holds_a = threading.Event()

        def write(values: Sequence[str]) -> None:
            tries.append(len(values))
            with engine.begin() as connection:
                connection.exec_driver_sql("SET LOCAL deadlock_timeout = '50ms'")
                connection.exec_driver_sql(row.format("mine", "a"))
                holds_a.set()
                connection.exec_driver_sql(row.format("mine", "b"))

        queue: WriteQueue[str] = WriteQueue(write, "queue")
        with other.begin() as connection:
            connection.exec_driver_sql("SET LOCAL deadlock_timeout = '60s'")
            connection.exec_driver_sql(row.format("theirs", "b"))
            stored = queue.store("x")
            await asyncio.to_thread(holds_a.wait, 10)
            await asyncio.to_thread(connection.exec_driver_sql, row.format("theirs", "a"))
        await asyncio.wait_for(stored, 10)
        assert len(tries) > 1
        queue.close(1)
        for each in (engine, other):
            each.dispose()
