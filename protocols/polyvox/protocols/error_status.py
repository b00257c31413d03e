"""The error kind for each HTTP status, for provider errors whose body is not more precise."""

from typing import Final

from polyvox.workflows.errors import ErrorKind

KIND_OF_STATUS: Final[dict[int, ErrorKind]] = {
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


def kind_of_status(status: int) -> ErrorKind:
    """Return the kind of an error with this HTTP status, 400 or above."""
    return KIND_OF_STATUS.get(status, "provider_error" if status >= 500 else "invalid_request")
