"""The errors of requests and model calls, in one table.

A ModelError is independent of the protocol. The gateway renders it in the client's protocol, the
activity decides by its kind whether Temporal retries, and the ledger stores the kind.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

ErrorKind = Literal[
    "invalid_request",
    "unsupported",
    "context_length",
    "authentication",
    "billing",
    "permission",
    "not_found",
    "model_not_found",
    "conflict",
    "too_large",
    "unprocessable",
    "rate_limit",
    "quota",
    "cancelled",
    "provider_error",
    "provider_authentication",
    "unreachable",
    "stream_cut",
    "bad_stream",
    "overloaded",
    "timeout",
    "flow_error",
    "internal",
]


class FlowError(ValueError):
    """A flow cannot be loaded or registered. The message names the place and the remedy."""


@dataclass(frozen=True, slots=True)
class Fault:
    """The HTTP ``status`` for clients, whether a retry may help, and the meaning of an error."""

    status: int
    retryable: bool
    meaning: str


FAULTS: dict[ErrorKind, Fault] = {
    "invalid_request": Fault(400, False, "The request is malformed or a value is not allowed."),
    "unsupported": Fault(400, False, "The provider lacks a field that cannot be dropped."),
    "context_length": Fault(400, False, "The conversation does not fit the model's context."),
    "authentication": Fault(401, False, "The Polyvox key is missing or unknown."),
    "billing": Fault(402, False, "The provider requires payment."),
    "permission": Fault(403, False, "The provider does not allow this model or feature."),
    "not_found": Fault(404, False, "The route or object does not exist."),
    "model_not_found": Fault(404, False, "No virtual model or provider has this name."),
    "conflict": Fault(409, False, "The object is in a state that does not allow this."),
    "too_large": Fault(413, False, "The body exceeds the limit of the server or provider."),
    "unprocessable": Fault(422, False, "The provider understood the request and rejected it."),
    "rate_limit": Fault(429, True, "The provider is limiting the request rate."),
    "quota": Fault(429, False, "The provider's quota is used up; waiting does not help."),
    "cancelled": Fault(499, False, "The client disconnected, or the run was cancelled."),
    "provider_error": Fault(502, True, "The provider failed."),
    "provider_authentication": Fault(502, False, "The provider rejected this server's API key."),
    "unreachable": Fault(502, True, "The provider could not be reached."),
    "stream_cut": Fault(502, True, "The provider's stream ended before the answer was complete."),
    "bad_stream": Fault(502, True, "The provider's response does not follow its protocol."),
    "overloaded": Fault(503, True, "The provider or this server has no capacity right now."),
    "timeout": Fault(504, True, "No answer within the time allowed."),
    "flow_error": Fault(500, False, "The flow behind the model raised an error."),
    "internal": Fault(500, False, "A bug in this server."),
}

KIND_OF_STATUS: dict[int, ErrorKind] = {
    400: "invalid_request",
    401: "provider_authentication",
    402: "billing",
    403: "permission",
    404: "not_found",
    408: "timeout",
    409: "conflict",
    413: "too_large",
    422: "unprocessable",
    429: "rate_limit",
    503: "overloaded",
    504: "timeout",
    529: "overloaded",
}
"""The kind of a provider's error whose body is not more precise than its status."""


def kind_of_status(status: int) -> ErrorKind:
    """Return the kind of an error with this HTTP status, 400 or above."""
    return KIND_OF_STATUS.get(status, "provider_error" if status >= 500 else "invalid_request")


class ModelError(Exception):
    """A failed request or model call.

    ``status`` is the provider's HTTP status, if it answered with one; ``retry_after_s`` the wait in
    seconds it asked for; ``provider`` its name; ``param`` the invalid request field; ``code`` and
    ``body`` the provider's error code and text, for the client. ``shown`` means that the client has
    received text of the failed answer, so that another answer cannot replace it. ``cost_usd`` is
    the cost of the failed answer, None if it is not known.
    """

    def __init__(
        self,
        kind: ErrorKind,
        message: str,
        *,
        status: int | None = None,
        retry_after_s: float | None = None,
        provider: str | None = None,
        param: str | None = None,
        code: str | None = None,
        body: str | None = None,
        shown: bool | None = None,
        cost_usd: float | None = None,
    ) -> None:
        super().__init__(message)
        self.kind = kind
        self.message = message
        self.status = status
        self.retry_after_s = retry_after_s
        self.provider = provider
        self.param = param
        self.code = code
        self.body = body
        self.shown = shown
        self.cost_usd = cost_usd

    @property
    def fault(self) -> Fault:
        return FAULTS[self.kind]

    @property
    def http_status(self) -> int:
        """The status for the client: the provider's if it means the same as the kind.

        Otherwise it is that of ``fault``, so that status and kind agree: a prompt that is too long
        is a 400, whatever status the provider sent.
        """
        status = self.status
        if status is None or not 400 <= status < 600:
            return self.fault.status
        if kind_of_status(status) == self.kind:
            return status
        if self.kind == "too_large" and status >= 500:
            return status  # the answer was too large, not the request
        if self.kind == "provider_authentication" and status < 500:
            return 401  # some providers refuse a key with 400 or 403
        return self.fault.status


_ACTIONABLE: tuple[tuple[ErrorKind, ...], ...] = (
    ("context_length",),
    ("invalid_request", "unsupported", "unprocessable", "too_large", "conflict"),
    ("rate_limit",),
    (
        "provider_authentication",
        "authentication",
        "billing",
        "permission",
        "quota",
        "model_not_found",
        "not_found",
    ),
    ("overloaded", "timeout", "unreachable", "stream_cut", "bad_stream", "provider_error"),
    ("flow_error", "internal", "cancelled"),
)
_RANK = {kind: rank for rank, kinds in enumerate(_ACTIONABLE) for kind in kinds}


def most_actionable(errors: Sequence[ModelError]) -> ModelError:
    """Return the one of several failures that helps the client most; ``errors`` is not empty.

    The order: the client must shorten the conversation, must change the request, must wait (the
    longest wait), the operator must act (key, payment, model's name), the provider failed. The
    first of equal failures is returned. A failure whose text the client has seen comes before all.
    """
    return min(errors, key=lambda e: (not e.shown, _RANK[e.kind], -(e.retry_after_s or 0.0)))
