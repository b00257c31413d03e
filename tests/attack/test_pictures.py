"""Pictures and documents that are small to send and huge to decode."""

import asyncio
import base64
import io
import struct
import zlib
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import pytest
from PIL import Image as Pillow

from polyvox.activities.tools import pictures
from polyvox.activities.tools.run_tool import TOOLS
from polyvox.workflows.conversation import Conversation, File, Image, Json, Message, Source
from polyvox.workflows.errors import ModelError
from polyvox.workflows.media import media_digest
from tests.programs.optional_parts import png, reads_pdf

WHOLE = [0, 0, 1, 1]


def run(tool: str, content: str, media_type: str = "image/png", **params: Json) -> Any:
    part = (Image if media_type.startswith("image/") else File)(Source(media_type, content))
    wanted: Mapping[str, Json] = {"digest": media_digest(part), **params}
    work: Any = TOOLS[tool](wanted, Conversation((Message("user", (part,)),)))
    return asyncio.run(work)


def refused(tool: str, content: str, media_type: str = "image/png", **params: Json) -> str:
    with pytest.raises(ModelError) as error:
        run(tool, content, media_type, **params)
    assert error.value.kind == "unprocessable"
    return error.value.message


def claimed(width: int, height: int) -> str:
    """Return a PNG of a few bytes that claims to have this size."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        check = struct.pack(">I", zlib.crc32(kind + data))
        return struct.pack(">I", len(data)) + kind + data + check

    head = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    rows = zlib.compress(bytes(1 << 20), 9)
    body = chunk(b"IHDR", head) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")
    return base64.b64encode(b"\x89PNG\r\n\x1a\n" + body).decode()


@pytest.mark.parametrize("size", [(30_000, 30_000), (2**31 - 1, 2**31 - 1), (65_000_000, 1)])
def test_a_picture_of_too_many_pixels_is_not_decoded(size: tuple[int, int]) -> None:
    """The message says how many are allowed."""
    told = refused("crop_image", claimed(*size), box=WHOLE)
    assert "more than 64,000,000 are not decoded" in told or "cannot be decoded" in told


def test_what_is_returned_is_no_larger_than_a_model_looks_at() -> None:
    """A large picture is scaled down; a region of it keeps its pixels."""
    large = png(Pillow.new("L", (7000, 7000)))
    whole = run("crop_image", large, box=WHOLE)
    assert 7_000_000 < whole["width"] * whole["height"] <= 8_000_000
    region = run("crop_image", large, box=[0, 0, 0.1, 0.1])
    assert (region["width"], region["height"]) == (700, 700)


def test_of_many_frames_only_the_first_is_decoded() -> None:
    """An animation of a thousand frames is one picture."""
    made = io.BytesIO()
    frames = [Pillow.new("P", (500, 500), n % 256) for n in range(1000)]
    frames[0].save(made, "GIF", save_all=True, append_images=frames[1:])
    shown = run("crop_image", base64.b64encode(made.getvalue()).decode(), "image/gif", box=WHOLE)
    assert (shown["width"], shown["height"]) == (500, 500)


def test_a_picture_that_needs_too_much_memory_ends_nothing_but_its_own_process(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The decoder's process is stopped, and the message says why."""
    monkeypatch.setattr(pictures, "_MEMORY", 300 << 20)
    assert "too much memory" in refused(
        "crop_image", png(Pillow.new("RGB", (7900, 7900))), box=WHOLE
    )


def document(content: bytes, box: str = "0 0 600 800", pages: int = 1) -> str:
    """A PDF whose pages all show ``content``."""
    kids = " ".join(f"{at + 4} 0 R" for at in range(pages))
    objects = [
        b"<</Type/Catalog/Pages 2 0 R>>",
        f"<</Type/Pages/Count {pages}/Kids[{kids}]>>".encode(),
        b"<</Length %d/Filter/FlateDecode>>stream\n" % len(content) + content + b"\nendstream",
        *[f"<</Type/Page/Parent 2 0 R/MediaBox[{box}]/Contents 3 0 R>>".encode()] * pages,
    ]
    body = b"%PDF-1.4\n" + b"".join(
        b"%d 0 obj\n%s\nendobj\n" % (at, one) for at, one in enumerate(objects, start=1)
    )
    return base64.b64encode(body + b"trailer<</Root 1 0 R>>").decode()


@reads_pdf
@pytest.mark.parametrize("box", ["0 0 1e9 1e9", "0 0 1 14400", "0 0 0.0001 0.0001", "0 0 0 0"])
def test_a_page_of_any_size_is_rendered_small_or_refused(box: str) -> None:
    """The number of its pixels does not depend on its claimed size."""
    paper = document(zlib.compress(b"0 0 1 rg 0 0 1 1 re f"), box)
    pages: list[Any] = []
    with suppress(ModelError):
        pages = run("pdf_pages", paper, "application/pdf")["pages"]
    assert all(page["width"] * page["height"] <= 1400 * 1400 for page in pages)


@reads_pdf
def test_of_many_pages_only_the_first_are_rendered() -> None:
    """The limit applies however many are requested."""
    paper = document(zlib.compress(b""), "0 0 60 80", pages=5000)
    found = run("pdf_pages", paper, "application/pdf", most=10**9)
    assert (len(found["pages"]), found["count"]) == (20, 5000)


@reads_pdf
def test_a_page_that_takes_for_ever_is_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    """A few kilobytes of drawing decompress to a hundred megabytes."""
    monkeypatch.setattr(pictures, "_SECONDS", 2.0)
    drawing = zlib.compress(b"0 0 600 800 re 10 10 m 500 700 l 0 0 m 9 9 l B* " * 2_000_000, 9)
    told = refused("pdf_pages", document(drawing), "application/pdf")
    assert "took more than 2 s" in told or "Send a" in told
