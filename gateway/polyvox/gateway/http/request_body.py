"""The body of a request: read within limits, decompressed, and parsed as a JSON object.

A body may be large, slow, compressed to a fraction of its size, or consist of millions of values;
each has its own limit, checked before the next step. Slow steps run in a thread, because every
stream of every client waits for the event loop.
"""

import asyncio
import hashlib
import io
import math
import zlib
from http import HTTPStatus

import orjson
import zstandard
from fastapi import Request
from starlette.requests import ClientDisconnect

from polyvox.gateway.http.admission import LARGE_BYTES, Share, share_of
from polyvox.gateway.http.request_identity import begin_digest, sent_request
from polyvox.protocols.bounded_json import MOST_VALUES, TooManyValues, parse_json
from polyvox.worker.runs.retries import SentRequest
from polyvox.worker.settings.file import ServerSettings
from polyvox.workflows.conversation import Json
from polyvox.workflows.errors import ModelError

MOST_MESSAGES = 20_000
"""Messages or items of one request; each costs storage, rendering and parsing of its own."""

_LEAST_BYTES_PER_S = 1024
"""A body that arrives more slowly than this is refused once ``read_timeout_s`` is over."""

_PIECE = 1024 * 1024

_WINDOWS = {"gzip": 16 + zlib.MAX_WBITS, "x-gzip": 16 + zlib.MAX_WBITS, "deflate": zlib.MAX_WBITS}


async def read_identified(request: Request, key_id: str) -> tuple[dict[str, Json], SentRequest]:
    """Read the body as ``read_document`` does, and identify the request if it is sent again."""
    hashing = begin_digest(request)
    document = await _document(request, hashing)
    return document, sent_request(request, key_id, hashing)


async def read_document(request: Request) -> dict[str, Json]:
    """Read the body as a JSON object.

    Raises ModelError("too_large") as soon as a limit is exceeded, compressed or not,
    ModelError("timeout") for a body that does not arrive, ModelError("cancelled") if the client
    disconnects, and ModelError("invalid_request") for anything but a JSON object.
    """
    return await _document(request, None)


async def _document(request: Request, hashing: "hashlib._Hash | None") -> dict[str, Json]:
    settings: ServerSettings = request.app.state.runtime.settings.server
    share = share_of(request)
    limit = settings.max_body_mib * 1024 * 1024
    chunks = await _received(request, share, limit, settings.read_timeout_s)
    encoding = request.headers.get("content-encoding", "").strip().lower()
    is_packed = encoding not in ("", "identity")

    def read() -> tuple[dict[str, Json], int]:
        body = b"".join(chunks)
        chunks.clear()
        plain = _unpacked(body, encoding, limit) if is_packed else body
        if hashing is not None:
            hashing.update(plain)
        return parse_document(plain), len(plain)

    document, size = await share.work(read, large=is_packed)
    if is_packed and size > LARGE_BYTES:
        share.hold(size)
    return document


def parse_document(
    text: bytes | str, what: str = "body", param: str | None = None
) -> dict[str, Json]:
    """Parse ``text`` as a JSON object.

    Raises ModelError; ``what`` names the text in its message, and ``param`` is its param if the
    text is another JSON value.
    """
    try:
        document = parse_json(text)
    except TooManyValues:
        raise ModelError(
            "too_large",
            f"The {what} has more than {MOST_VALUES} JSON values. Send fewer, for example by "
            "shortening the conversation.",
        ) from None
    except orjson.JSONDecodeError as error:
        raise ModelError("invalid_request", f"The {what} is not valid JSON: {error}.") from None
    if not isinstance(document, dict):
        raise ModelError(
            "invalid_request",
            f"The {what} must be a JSON object, not {type(document).__name__}.",
            param=param,
        )
    for name in ("messages", "input"):
        elements = document.get(name)
        if isinstance(elements, list) and len(elements) > MOST_MESSAGES:
            raise ModelError(
                "too_large",
                f"{name!r} has {len(elements)} elements; at most {MOST_MESSAGES} are allowed. "
                "Shorten the conversation.",
                param=name,
            )
    return document


async def _received(request: Request, share: Share, limit: int, read_s: float) -> list[bytes]:
    """Return the body in pieces, as it arrived."""
    length = request.headers.get("content-length", "")
    if length.isdecimal() and int(length) > limit:
        raise _too_large(limit)
    loop = asyncio.get_running_loop()
    started = loop.time()
    chunks: list[bytes] = []
    size = 0
    try:
        async with asyncio.timeout(read_s) as patience:
            async for chunk in request.stream():
                size += len(chunk)
                if size > limit:
                    raise _too_large(limit)
                if size > LARGE_BYTES:
                    share.hold(len(chunk) if share.is_large else size)
                chunks.append(chunk)
                allowed = started + read_s + size / _LEAST_BYTES_PER_S
                patience.reschedule(min(allowed, loop.time() + read_s))
    except TimeoutError:
        raise ModelError(
            "timeout",
            f"The request's body stopped arriving for {math.ceil(read_s)} s or arrived too slowly. "
            "Send it again; server.read_timeout_s in polyvox.toml sets the limit.",
            status=HTTPStatus.REQUEST_TIMEOUT,
        ) from None
    except ClientDisconnect:
        raise ModelError(
            "cancelled", "The client disconnected while sending its request."
        ) from None
    return chunks


def _unpacked(body: bytes, encoding: str, limit: int) -> bytes:
    try:
        if encoding == "zstd":
            plain = _unpacked_zstd(body, limit)
        elif encoding in _WINDOWS:
            plain = zlib.decompressobj(_WINDOWS[encoding]).decompress(body, limit + 1)
        else:
            raise ModelError(
                "invalid_request",
                f"The body's content-encoding {encoding!r} is not supported. Send gzip, deflate, "
                "zstd or uncompressed JSON.",
                status=HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
            )
    except (zlib.error, zstandard.ZstdError) as error:
        raise ModelError("invalid_request", f"The body is not valid {encoding}: {error}.") from None
    if len(plain) > limit:
        raise _too_large(limit)
    return plain


def _unpacked_zstd(body: bytes, limit: int) -> bytes:
    pieces: list[bytes] = []
    size = 0
    with zstandard.ZstdDecompressor().stream_reader(io.BytesIO(body)) as reader:
        while size <= limit and (piece := reader.read(_PIECE)):
            pieces.append(piece)
            size += len(piece)
    return b"".join(pieces)


def _too_large(limit: int) -> ModelError:
    return ModelError(
        "too_large",
        f"The request body is larger than {limit // (1024 * 1024)} MiB. Send less, or raise "
        "server.max_body_mib in polyvox.toml.",
    )
