"""Tools that look into the pictures and documents of a conversation: crop, read, render pages.

Each names its picture by ``digest`` (see ``polyvox.workflows.media``), of a PDF also by ``page``,
counted from 1. Regions are fractions of width and height, ``[left, top, right, bottom]``, 0 to 1.
"""

import base64
import binascii
import io
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from threading import Lock
from typing import Any

from PIL import Image as Pillow

from polyvox.workflows.conversation import Conversation, Json
from polyvox.workflows.errors import ModelError
from polyvox.workflows.media import find_media

_MOST_PAGES = 20
_PAGE_PIXELS = 1400
"""The longer side of a rendered page."""

_LEAST_PIXELS = 8

# Tools run in threads. PDFium may be used by one at a time, and so may a reader, which keeps the
# picture it is reading in itself.
_PDFIUM = Lock()
_READER = Lock()


def crop_image(params: Mapping[str, Json], conversation: Conversation) -> Json:
    """Return the region ``box`` as ``{"media_type", "data", "width", "height"}``: a base64 PNG."""
    picture = _picture(params, conversation)
    left, top, right, bottom = _box(params.get("box"))
    width, height = picture.size
    region = (
        round(left * width),
        round(top * height),
        max(round(right * width), round(left * width) + _LEAST_PIXELS),
        max(round(bottom * height), round(top * height) + _LEAST_PIXELS),
    )
    return _png(picture.crop(region))


def pdf_pages(params: Mapping[str, Json], conversation: Conversation) -> Json:
    """Return up to ``most`` pages of a PDF as PNGs, and how many it has: ``{"pages", "count"}``."""
    with _pdf(_bytes(params, conversation)) as document:
        count = len(document)
        most = min(int(params.get("most", _MOST_PAGES)), _MOST_PAGES, count)
        pages = [_page(document, at) for at in range(most)]
    return {"pages": [_png(page) for page in pages], "count": count}


def read_text(params: Mapping[str, Json], conversation: Conversation) -> Json:
    """Return the text OCR finds in a picture or page: ``{"text"}``, one line each."""
    shown = _png_bytes(_picture(params, conversation))
    with _READER:
        found, _ = _reader()(shown)
    return {"text": "\n".join(line[1] for line in found or ())}


@cache
def _reader() -> Any:
    """Return what finds text in pictures; it has models to load and is kept."""
    try:
        # Optional, and slow to import.
        from rapidocr_onnxruntime import RapidOCR  # noqa: PLC0415
    except ImportError as missing:
        raise ModelError(
            "unsupported",
            f"Reading text needs an optional part ({missing}): pip install 'polyvox[ocr]' and "
            "start again.",
        ) from None
    return RapidOCR()


def _picture(params: Mapping[str, Json], conversation: Conversation) -> Pillow.Image:
    content = _bytes(params, conversation)
    if params.get("page"):
        page = int(params["page"])
        with _pdf(content) as document:
            count = len(document)
            if not 1 <= page <= count:
                raise ModelError("unprocessable", f"There is no page {page}; it has {count}.")
            return _page(document, page - 1)
    try:
        picture = Pillow.open(io.BytesIO(content))
        picture.load()
    except (OSError, ValueError, Pillow.DecompressionBombError) as error:
        raise ModelError("unprocessable", f"The image cannot be decoded: {error}.") from None
    return picture.convert("RGB")


def _bytes(params: Mapping[str, Json], conversation: Conversation) -> bytes:
    digest = str(params.get("digest"))
    part = find_media(conversation, digest)
    if part is None:
        raise ModelError("not_found", f"The conversation has no picture {digest[:12]!r}.")
    if part.source.data is None:
        raise ModelError(
            "unsupported", "The picture is only linked to, and links are not followed here."
        )
    try:
        return base64.b64decode(part.source.data)
    except (ValueError, binascii.Error) as error:
        raise ModelError("unprocessable", f"The picture is not base64: {error}.") from None


@contextmanager
def _pdf(content: bytes) -> Iterator[Any]:
    try:
        from pypdfium2 import PdfDocument, PdfiumError  # noqa: PLC0415  # optional
    except ImportError:
        raise ModelError(
            "unsupported",
            "Pages of a PDF need an optional part: pip install 'polyvox[pdf]' and start again.",
        ) from None
    with _PDFIUM:
        try:
            document = PdfDocument(content)
        except PdfiumError as error:
            raise ModelError("unprocessable", f"The PDF cannot be read: {error}.") from None
        try:
            yield document
        finally:
            document.close()


def _page(document: Any, at: int) -> Pillow.Image:
    page = document[at]
    scale = _PAGE_PIXELS / max(*page.get_size(), 1)
    bitmap = page.render(scale=scale)
    # A copy: the picture shares its memory with what PDFium is about to take back.
    rendered: Pillow.Image = bitmap.to_pil().convert("RGB").copy()
    bitmap.close()
    page.close()
    return rendered


def _box(box: Json) -> tuple[float, float, float, float]:
    """Return a region. Raises ModelError("invalid_request") for what is none."""
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


def _png_bytes(picture: Pillow.Image) -> bytes:
    written = io.BytesIO()
    picture.save(written, "PNG")
    return written.getvalue()


def _png(picture: Pillow.Image) -> dict[str, Json]:
    return {
        "media_type": "image/png",
        "data": base64.b64encode(_png_bytes(picture)).decode(),
        "width": picture.width,
        "height": picture.height,
    }
