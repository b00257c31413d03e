"""Converts a ModelError to a Temporal ApplicationError, and a failure chain to a ModelError.

The error's kind is the failure's type, which the Web UI shows; its other members are the failure's
only detail.
"""

from datetime import timedelta
from typing import Any, cast, get_args

from temporalio import exceptions
from temporalio.exceptions import ApplicationError

from polyvox.workflows.errors import ErrorKind, ModelError, most_actionable

_KINDS = frozenset(get_args(ErrorKind))
_MEMBERS = ("status", "retry_after_s", "provider", "param", "code", "body", "shown", "cost_usd")

LONGEST_RETRY_WAIT_S = 4.0
"""If a provider asks for a longer wait, the call is not retried and the client gets the error.

Two such waits must fit into the time before a silent stream is started (``server.keep_alive_s``).
Until then the client gets the provider's status and retries by itself; clients may not retry after
an error inside a stream.
"""


def failure(
    error: ModelError, *, retryable: bool, reported: ModelError | None = None
) -> ApplicationError:
    """Return the Temporal failure for ``error``; Temporal retries it only if ``retryable``.

    If this is the last attempt, its caller gets ``reported`` instead, an earlier attempt's failure.
    """
    wait = error.retry_after_s
    patient = wait is None or wait <= LONGEST_RETRY_WAIT_S
    told = reported or error
    return ApplicationError(
        told.message,
        _details(told),
        type=told.kind,
        non_retryable=not (retryable and error.fault.retryable and patient),
        next_retry_delay=timedelta(seconds=wait) if wait and patient else None,
    )


def as_json(error: ModelError) -> dict[str, Any]:
    """Return ``error`` as JSON, for the next attempt; ``from_json`` reads it."""
    return {"kind": error.kind, "message": error.message, **_details(error)}


def from_json(stored: dict[str, Any]) -> ModelError:
    """Return the error that ``as_json`` wrote."""
    return ModelError(**stored)


def _details(error: ModelError) -> dict[str, Any]:
    members = {name: getattr(error, name) for name in _MEMBERS}
    return {name: value for name, value in members.items() if value is not None}


def model_error(failed: BaseException) -> ModelError:
    """Return the ModelError at the root of a Temporal failure chain."""
    cause: BaseException | None = failed
    while cause is not None:
        if isinstance(cause, ModelError):
            return cause
        if isinstance(cause, ApplicationError):
            return _from_application(cause)
        if isinstance(cause, exceptions.TimeoutError):
            return _from_timeout(cause)
        if isinstance(cause, exceptions.CancelledError):
            return ModelError("cancelled", "The run was cancelled.")
        cause = getattr(cause, "cause", None) or cause.__cause__
    return ModelError("internal", f"The run failed: {failed}")


def _from_timeout(error: exceptions.TimeoutError) -> ModelError:
    """Return the timeout of an attempt, or an earlier attempt's failure that helps more."""
    late = ModelError("timeout", f"No answer within the time allowed ({error}).")
    earlier = error.cause
    if not isinstance(earlier, ApplicationError) or earlier.type not in _KINDS:
        return late
    return most_actionable([late, _from_application(earlier)])


def _from_application(error: ApplicationError) -> ModelError:
    if error.type not in _KINDS:
        return ModelError("internal", f"{error.type}: {error.message}")
    members: dict[str, Any] = error.details[0] if error.details else {}
    return ModelError(cast(ErrorKind, error.type), error.message, **members)
