"""What a failed request to the Temporal engine means, for the client and for the operator.

The engine's answer does not say what is wrong: a full disk and a locked database both read "shard
status unknown". So where the engine is our own, its database is looked at as well.
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
"""With less than this free, SQLite cannot be relied on to commit; a WAL alone may take as much."""

_SLOW = (RPCStatusCode.DEADLINE_EXCEEDED, RPCStatusCode.CANCELLED)
"""Either is what the SDK reports when the engine does not answer within the request's limit."""

_REFUSED = (RPCStatusCode.PERMISSION_DENIED, RPCStatusCode.UNAUTHENTICATED)

log = logging.getLogger(__name__)


def engine_error(error: RPCError, database: Path | None = None) -> ModelError:
    """Return what to tell whoever waits for the engine.

    ``database`` is the SQLite file of our own engine, None for a cluster. Blocks for up to a second
    to examine it, so call this from a thread if there is one. Logs what the operator has to do.
    """
    if error.status is RPCStatusCode.RESOURCE_EXHAUSTED:
        return _busy("The Temporal engine is overloaded", error.message)
    if error.status in _REFUSED:
        return ModelError(
            "internal",
            f"The Temporal engine refuses this server ({error.message}). Its operator must check "
            "the engine's address and permissions.",
        )
    if error.status is RPCStatusCode.NOT_FOUND and "namespace" in error.message.lower():
        return ModelError(
            "internal",
            f"The Temporal engine does not have the namespace ({error.message}). Its operator must "
            "create it, or name another one in engine.namespace.",
        )
    if database is not None and (trouble := _storage_trouble(database)):
        what, remedy = trouble
        log.error("The Temporal engine fails because %s: %s. %s", what, database, remedy)
        return _busy("The Temporal engine cannot store the run", what)
    if error.status in _SLOW:
        return _busy("The Temporal engine did not answer in time", error.message)
    return _busy("The Temporal engine cannot be reached", error.message)


def restarting() -> ModelError:
    """Return what to tell whoever asks while our own engine is started again."""
    return _busy("The Temporal engine is not running", "it is being restarted")


def _busy(what: str, why: str) -> ModelError:
    return ModelError(
        "overloaded", f"{what} ({why}). Try again in a moment.", retry_after_s=RETRY_AFTER_S
    )


def _storage_trouble(database: Path) -> tuple[str, str] | None:
    """Return what keeps the engine from writing its database, and what to do about it."""
    try:
        if shutil.disk_usage(database.parent).free < FULL_BYTES:
            return "the server's disk is full", "Free some space there."
        with closing(
            sqlite3.connect(f"{database.as_uri()}?mode=rw", LOCK_WAIT_S, uri=True)
        ) as held:
            held.execute("BEGIN IMMEDIATE")
            held.execute("ROLLBACK")
    except (OSError, sqlite3.Error) as error:
        if getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_BUSY:
            return "another program has locked the engine's database", "End that program."
        return f"its database cannot be written ({error})", "Check the file and its folder."
    return None
