"""The edge where a ModelError becomes an HTTP answer; the document is its protocol's own."""

import orjson
from starlette.types import Send

from polyvox.workflows.conversation import Json
from polyvox.workflows.errors import ModelError

Headers = list[tuple[bytes, bytes]]

_WAIT_S: dict[int, float] = {429: 1, 503: 2, 529: 2}
"""A client that is told nothing gives up at once on a 429 (Codex), so it is always told."""


def retry_headers(error: ModelError, status: int) -> Headers:
    """Return ``retry-after`` (whole seconds, rounded up) where a later try may help.

    A flow's own error says ``x-should-retry: false``, which the OpenAI and Anthropic SDKs follow:
    by themselves they try every 500 again, and would run the flow that often.
    """
    if error.kind == "flow_error":
        return [(b"x-should-retry", b"false")]
    wait_s = error.retry_after_s if error.retry_after_s is not None else _WAIT_S.get(status)
    if wait_s is None:
        return []
    return [(b"retry-after", str(max(1, -int(-wait_s // 1))).encode())]


async def send_json(send: Send, status: int, document: Json, headers: Headers) -> None:
    """Send ``document`` as a whole ASGI response."""
    body = orjson.dumps(document)
    await send(
        {
            "type": "http.response.start",
            "status": status,
            "headers": [
                (b"content-type", b"application/json"),
                (b"content-length", str(len(body)).encode()),
                *headers,
            ],
        }
    )
    await send({"type": "http.response.body", "body": body})
