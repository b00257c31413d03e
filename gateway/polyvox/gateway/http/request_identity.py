"""What identifies a request that clients and SDKs send again.

A retry repeats the body byte by byte (measured with Claude Code, Codex, OpenCode, Cline, Continue,
aider and the official SDKs, November 2026). The SDKs of OpenAI and Anthropic count their retries in
``x-stainless-retry-count``; agents mark nothing. None sends an ``Idempotency-Key`` by itself.

The digest covers the path and the headers that change the answer too: those that a provider gets
and those that a flow may read. Other headers, such as a trace's, differ between two attempts.
"""

import hashlib

from fastapi import Request

from polyvox.worker.runs.retries import SentRequest
from polyvox.workflows.errors import ModelError
from polyvox.workflows.session import seen_headers

_FOR_PROVIDERS = (
    "anthropic-beta",
    "anthropic-version",
    "openai-beta",
    "x-openai-internal-codex-responses-lite",
)

_LONGEST_KEY = 255


def begin_digest(request: Request) -> "hashlib._Hash":
    """Return a digest of the request without its body."""
    headers = request.headers
    named = seen_headers(headers)
    named |= {name: headers[name] for name in _FOR_PROVIDERS if name in headers}
    lines = [request.url.path, *(f"{name}: {named[name]}" for name in sorted(named)), ""]
    return hashlib.sha256("\n".join(lines).encode())


def sent_request(request: Request, key_id: str, hashing: "hashlib._Hash") -> SentRequest:
    """Return what identifies the request; ``hashing`` includes its body.

    Raises ModelError("invalid_request") for an idempotency key that cannot be stored.
    """
    count = request.headers.get("x-stainless-retry-count", "")
    return SentRequest(
        key_id,
        hashing.hexdigest(),
        _idempotency_key(request),
        is_retry=count.isdecimal() and count.strip("0") != "",
    )


def _idempotency_key(request: Request) -> str | None:
    key = request.headers.get("idempotency-key", "").strip()
    if len(key) > _LONGEST_KEY or not key.isprintable():
        raise ModelError(
            "invalid_request",
            f"An Idempotency-Key must have at most {_LONGEST_KEY} printable characters. A random "
            "UUID for each request is best.",
        )
    return key or None
