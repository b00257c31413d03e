"""Converts failed requests to the Temporal engine to errors for the client and the operator.

The engine's error does not name the cause: a full disk and a locked database both result in "shard
status unknown". For the built-in engine its database is therefore examined too.
"""

import logging
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

from temporalio.service import RPCError, RPCStatusCode

from polyvox.workflows.errors import ModelError

RETRY_AFTER_S = 2.0
LOCK_WAIT_S = 1.0

FULL_BYTES = 4 * 1024 * 1024
"""With less free space than this SQLite may fail to commit; a WAL alone can become this large."""

_SLOW = (RPCStatusCode.DEADLINE_EXCEEDED, RPCStatusCode.CANCELLED)
"""The SDK reports either if the engine does not answer within the request's time limit."""

_REFUSED = (RPCStatusCode.PERMISSION_DENIED, RPCStatusCode.UNAUTHENTICATED)

log = logging.getLogger(__name__)


def engine_error(error: RPCError, database: Path | None = None) -> ModelError:
    """Return the ModelError for a client whose request to the engine failed with ``error``.

    ``database`` is the SQLite file of the built-in engine, None for a cluster. If it is given, call
    this in a thread, because examining it blocks for up to a second. Logs the operator's remedy.
    """
    if error.status is RPCStatusCode.RESOURCE_EXHAUSTED:
        return _busy("The Temporal engine is overloaded", error.message)
    if error.status in _REFUSED:
        return ModelError(
            "internal",
            f"The Temporal engine rejected this server ({error.message}). The server's operator "
            "must check the engine's address and permissions.",
        )
    if error.status is RPCStatusCode.NOT_FOUND and "namespace" in error.message.lower():
        return ModelError(
            "internal",
            f"The Temporal engine does not have the namespace ({error.message}). The server's "
            "operator must create it, or set another one in engine.namespace.",
        )
    if database is not None and (trouble := storage_trouble(database)):
        what, remedy = trouble
        log.error("The Temporal engine does not work because %s: %s. %s", what, database, remedy)
        return _busy("The Temporal engine cannot store the run", what)
    if error.status in _SLOW:
        return _busy("The Temporal engine did not answer in time", error.message)
    return _busy("The Temporal engine cannot be reached", error.message)


def restarting() -> ModelError:
    """Return the ModelError for requests while the built-in engine is being restarted."""
    return _busy("The Temporal engine is not running", "it is being restarted")


def unresponsive() -> ModelError:
    """Return the ModelError for requests while the engine does not answer health checks."""
    return _busy("The Temporal engine does not answer", "it is frozen or overloaded")


def _busy(what: str, why: str) -> ModelError:
    return ModelError(
        "overloaded", f"{what} ({why}). Try again in a moment.", retry_after_s=RETRY_AFTER_S
    )


def storage_trouble(database: Path) -> tuple[str, str] | None:
    """Return why the engine cannot write its database, and the remedy; None if it can."""
    try:
        if shutil.disk_usage(database.parent).free < FULL_BYTES:
            return "the server's disk is full", "Free some disk space."
        with closing(
            sqlite3.connect(f"{database.as_uri()}?mode=rw", LOCK_WAIT_S, uri=True)
        ) as held:
            held.execute("BEGIN IMMEDIATE")
            held.execute("ROLLBACK")
    except (OSError, sqlite3.Error) as error:
        if getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_BUSY:
            return "another program has locked the engine's database", "Stop that program."
        return f"its database cannot be written ({error})", "Check the file and its folder."
    return None
