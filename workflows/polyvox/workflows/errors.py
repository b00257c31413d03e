"""What can go wrong with a request, in one table.

A ModelError says what happened, whose fault it is and what may be done about it, without a word
of any wire protocol: the gateway renders it in the client's own dialect, the activity decides by
it whether Temporal retries, the ledger stores its kind.
"""

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
    """A flow that cannot be loaded or registered; says where and what to do."""


@dataclass(frozen=True, slots=True)
class Fault:
    """``status`` is the HTTP status a client sees; ``retryable`` whether another try may help."""

    status: int
    retryable: bool
    meaning: str


FAULTS: dict[ErrorKind, Fault] = {
    "invalid_request": Fault(400, False, "The request is malformed or a value is not allowed."),
    "unsupported": Fault(400, False, "Dropping this field for the provider would change meaning."),
    "context_length": Fault(400, False, "The conversation does not fit the model's context."),
    "authentication": Fault(401, False, "The Polyvox key is missing or unknown."),
    "billing": Fault(402, False, "The provider refuses for want of payment."),
    "permission": Fault(403, False, "The provider does not allow this model or feature."),
    "not_found": Fault(404, False, "No such route or object."),
    "model_not_found": Fault(404, False, "No virtual model or provider of that name."),
    "conflict": Fault(409, False, "The object is in a state that does not allow this."),
    "too_large": Fault(413, False, "The body is larger than the server or the provider takes."),
    "unprocessable": Fault(422, False, "The provider understood the request and refuses it."),
    "rate_limit": Fault(429, True, "The provider asks to slow down."),
    "quota": Fault(429, False, "The provider's quota is used up; waiting does not help."),
    "cancelled": Fault(499, False, "The client left, or the run was cancelled."),
    "provider_error": Fault(502, True, "The provider failed."),
    "provider_authentication": Fault(502, False, "The provider refuses the server's own key."),
    "unreachable": Fault(502, True, "The provider could not be reached."),
    "stream_cut": Fault(502, True, "The provider's stream broke off before the answer's end."),
    "bad_stream": Fault(502, True, "The provider sent something that is not its protocol."),
    "overloaded": Fault(503, True, "The provider or this server has no capacity right now."),
    "timeout": Fault(504, True, "No answer within the time allowed."),
    "flow_error": Fault(500, False, "The flow behind the model raised an error."),
    "internal": Fault(500, False, "A defect of this server."),
}


class ModelError(Exception):
    """A failed request or call.

    ``status`` is the provider's own HTTP status where there was one; ``retry_after_s`` the wait it
    asked for; ``provider`` its name; ``param`` the request field at fault; ``code`` and ``body``
    the provider's own error code and text, kept for the client. ``shown`` tells that the client
    has read words of the failed answer, so that another one can no longer take its place;
    ``cost_usd`` what the failed answer cost, None where that is not known.
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
        """The status for the client: the provider's own if it answered with one, else ours."""
        if self.status is not None and 400 <= self.status < 600:
            return self.status
        return self.fault.status
