"""The status and the document of an error for a Responses client."""

from typing import Final

from polyvox.protocols.openai.client_errors import error_object, error_status
from polyvox.workflows.conversation import Json
from polyvox.workflows.errors import ErrorKind, ModelError

_NOT_RETRIED: Final[tuple[ErrorKind, ...]] = ("model_not_found", "flow_error")
"""Kinds with status 400 here, unlike in Chat: Codex repeats a request after any other status, up to
thirty times, and runs the flow each time. It does not show the message of a 500."""


def render_error(error: ModelError, run_id: str | None) -> tuple[int, dict[str, Json]]:
    """Return status and error document; see ``ResponseEncoder.render_error``."""
    status = 400 if error.kind in _NOT_RETRIED else error_status(error)
    return status, {"error": error_object(error, run_id, status)}
