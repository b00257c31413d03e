"""The body of a request: read within limits, unpacked, and read as a JSON object."""

import io
import zlib

import orjson
import zstandard
from fastapi import Request

from polyvox.workflows.conversation import Json
from polyvox.workflows.errors import ModelError
from polyvox.workflows.json_text import parse_json

_WINDOWS = {"gzip": 16 + zlib.MAX_WBITS, "x-gzip": 16 + zlib.MAX_WBITS, "deflate": zlib.MAX_WBITS}


async def read_document(request: Request) -> dict[str, Json]:
    """Read the body as a JSON object.

    Raises ModelError("too_large") as soon as the limit is passed, packed or unpacked, and
    ModelError("invalid_request") for what is no JSON object.
    """
    limit = request.app.state.runtime.settings.server.max_body_mib * 1024 * 1024
    if int(request.headers.get("content-length", "0") or 0) > limit:
        raise _too_large(limit)
    chunks: list[bytes] = []
    size = 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > limit:
            raise _too_large(limit)
        chunks.append(chunk)
    body = _unpacked(b"".join(chunks), request.headers.get("content-encoding", ""), limit)
    try:
        document = parse_json(body)
    except orjson.JSONDecodeError as error:
        raise ModelError("invalid_request", f"The body is not valid JSON: {error}.") from None
    if not isinstance(document, dict):
        raise ModelError(
            "invalid_request", f"The body must be a JSON object, not {type(document).__name__}."
        )
    return document


def _unpacked(body: bytes, encoding: str, limit: int) -> bytes:
    encoding = encoding.strip().lower()
    if encoding in ("", "identity"):
        return body
    try:
        if encoding == "zstd":
            with zstandard.ZstdDecompressor().stream_reader(io.BytesIO(body)) as reader:
                plain = reader.read(limit + 1)
        elif encoding in _WINDOWS:
            plain = zlib.decompressobj(_WINDOWS[encoding]).decompress(body, limit + 1)
        else:
            raise ModelError(
                "invalid_request",
                f"The body's content-encoding {encoding!r} is not known. Send gzip, deflate, zstd "
                "or the plain JSON.",
                status=415,
            )
    except (zlib.error, zstandard.ZstdError) as error:
        raise ModelError("invalid_request", f"The body is no {encoding}: {error}.") from None
    if len(plain) > limit:
        raise _too_large(limit)
    return plain


def _too_large(limit: int) -> ModelError:
    return ModelError(
        "too_large",
        f"The request body is larger than {limit // (1024 * 1024)} MiB. Send less, or raise "
        "server.max_body_mib in polyvox.toml.",
    )
