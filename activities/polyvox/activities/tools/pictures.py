"""Tools for the pictures and documents of a conversation: crop, read text, render pages.

The parameter ``digest`` identifies a picture (see ``polyvox.workflows.media``), ``page`` the page
of a PDF, counted from 1. Regions are fractions of width and height, ``[left, top, right, bottom]``,
0 to 1. ``picture_work`` does the work in a separate process with limited memory and time.
"""

import asyncio
import json
import math
import sys
from collections.abc import Mapping
from pathlib import Path

from polyvox.activities.tools import picture_work
from polyvox.activities.tools.children import complaint, receive, send, started
from polyvox.workflows.conversation import Conversation, Json
from polyvox.workflows.errors import ModelError
from polyvox.workflows.media import find_media

_MEMORY = 4 << 30
"""Address space in bytes; OCR reserves half of it."""

_SECONDS = 45.0
"""Less than a step's timeout, so that the client gets the reason and there is no retry."""

_MOST_ANSWER = 256 << 20
_ENVIRON = {"LANG": "C.UTF-8", "OMP_NUM_THREADS": "2", "OPENBLAS_NUM_THREADS": "1"}
"""Every thread reserves memory, which counts towards the limit."""


async def crop_image(params: Mapping[str, Json], conversation: Conversation) -> Json:
    """Return the region ``box`` as ``{"media_type", "data", "width", "height"}``: a base64 PNG."""
    wanted = {"page": params.get("page")}
    return await _worked("crop_image", params, conversation, wanted, params.get("box"))


async def pdf_pages(params: Mapping[str, Json], conversation: Conversation) -> Json:
    """Return up to ``most`` pages of a PDF as PNGs, and their number: ``{"pages", "count"}``."""
    wanted = {"most": params["most"]} if "most" in params else {}
    return await _worked("pdf_pages", params, conversation, wanted)


async def read_text(params: Mapping[str, Json], conversation: Conversation) -> Json:
    """Return the text that OCR finds in a picture or page: ``{"text"}``, line by line."""
    return await _worked("read_text", params, conversation, {"page": params.get("page")})


_NO_BOX = object()


async def _worked(
    tool: str,
    params: Mapping[str, Json],
    conversation: Conversation,
    wanted: Mapping[str, Json],
    box: object = _NO_BOX,
) -> Json:
    """Return the result of ``tool``. Raises ModelError for invalid input."""
    # In a thread, because it computes the digests of all media in the conversation.
    data = await asyncio.to_thread(_data, str(params.get("digest")), conversation)
    asked = {"tool": tool, **wanted, "memory": _MEMORY, "cpu_s": math.ceil(2 * _SECONDS)}
    if box is not _NO_BOX:
        asked["box"] = _box(box)
    program = [sys.executable, "-I", str(Path(picture_work.__file__))]
    async with started(program, _ENVIRON) as child:
        try:
            async with asyncio.timeout(_SECONDS):
                await send(child, json.dumps(asked).encode() + b"\n" + data)
                assert child.stdin is not None
                child.stdin.close()
                answer = await receive(child, _MOST_ANSWER)
                status = await child.wait()
        except TimeoutError:
            raise ModelError(
                "unprocessable",
                f"The picture or document took more than {_SECONDS:g} s. Send a simpler one.",
            ) from None
        if status == 0:
            document = json.loads(answer)
            if "result" in document:
                return document["result"]
            raise ModelError(document["kind"], document["message"])
        errors = await complaint(child)
        if "Error" in errors and status > 0:
            raise RuntimeError(errors)  # a defect in picture_work
        raise ModelError(
            "unprocessable",
            "The picture or document crashed the program that reads it, or needs more than "
            f"{_MEMORY >> 20:,} MiB of memory. Send a smaller or simpler one.",
        )


def _data(digest: str, conversation: Conversation) -> bytes:
    """Return the picture in base64."""
    part = find_media(conversation, digest)
    if part is None:
        raise ModelError("not_found", f"The conversation has no picture {digest[:12]!r}.")
    if part.source.data is None:
        raise ModelError("unsupported", "The picture is a URL, and tools do not fetch URLs.")
    return part.source.data.encode(errors="replace")


def _box(box: Json) -> tuple[float, float, float, float]:
    """Return a region. Raises ModelError("invalid_request") if it is invalid."""
    try:
        left, top, right, bottom = (min(max(float(edge), 0.0), 1.0) for edge in box)
    except (TypeError, ValueError):
        left = top = right = bottom = 0.0
    if not (left < right and top < bottom):
        raise ModelError(
            "invalid_request",
            f"A region is [left, top, right, bottom] in fractions from 0 to 1, not {box!r}.",
        )
    return left, top, right, bottom
