"""The program that does the work of the picture tools: decode, crop, render, read.

Decoders of pictures and documents are large C libraries that process untrusted bytes, so they run
in a separate process with limited memory and time, which may crash. It reads a line of JSON
(``tool``, the tool's parameters, ``memory`` and ``cpu_s``), then the picture in base64. It writes
one JSON object: ``result``, or ``kind`` and ``message`` of a ModelError. It does not import
Polyvox.
"""

import base64
import ctypes
import io
import json
import resource
import signal
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

_MOST_PAGES = 20
_PAGE_PIXELS = 1400
"""The longer side of a rendered page."""

_LEAST_PIXELS = 8
_MOST_PIXELS = 64_000_000
"""The limit for decoding; the largest phone cameras produce 50 million pixels."""

_MOST_SHOWN = 8_000_000
"""Larger pictures are scaled down; models do not use more pixels."""

_PR_SET_PDEATHSIG = 1


class Unusable(Exception):
    """The reason why there is no result; ``kind`` is that of a ModelError."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind
        self.message = message


def main() -> None:
    """Process the request on standard input."""
    asked = json.loads(sys.stdin.buffer.readline())
    _limit(asked["memory"], asked["cpu_s"])
    try:
        answer = {"result": _TOOLS[asked["tool"]](asked, _decoded(sys.stdin.buffer.read()))}
    except Unusable as error:
        answer = {"kind": error.kind, "message": error.message}
    except Exception as error:
        # ONNX reports a lack of memory only in the message.
        if not isinstance(error, MemoryError) and "bad_alloc" not in str(error):
            raise
        answer = {
            "kind": "unprocessable",
            "message": "The picture or document needs too much memory. Send a smaller one.",
        }
    sys.stdout.write(json.dumps(answer))


def crop_image(params: Mapping[str, Any], content: bytes) -> Any:
    picture = _picture(params, content)
    left, top, right, bottom = params["box"]
    width, height = picture.size
    region = (
        round(left * width),
        round(top * height),
        max(round(right * width), round(left * width) + _LEAST_PIXELS),
        max(round(bottom * height), round(top * height) + _LEAST_PIXELS),
    )
    return _png(_scaled_down(picture.crop(region)))


def pdf_pages(params: Mapping[str, Any], content: bytes) -> Any:
    with _pdf(content) as document:
        count = len(document)
        most = min(int(params.get("most", _MOST_PAGES)), _MOST_PAGES, count)
        pages = [_page(document, at) for at in range(most)]
    return {"pages": [_png(page) for page in pages], "count": count}


def read_text(params: Mapping[str, Any], content: bytes) -> Any:
    try:
        # Optional, and slow to import.
        from rapidocr_onnxruntime import RapidOCR  # noqa: PLC0415
    except ImportError as missing:
        raise Unusable(
            "unsupported",
            f"Reading text needs an optional package ({missing}): run pip install 'polyvox[ocr]' "
            "and restart.",
        ) from None
    found, _ = RapidOCR()(_png_bytes(_scaled_down(_picture(params, content))))
    return {"text": "\n".join(line[1] for line in found or ())}


def _scaled_down(picture: Any) -> Any:
    pixels = picture.width * picture.height
    if pixels <= _MOST_SHOWN:
        return picture
    scale = (_MOST_SHOWN / pixels) ** 0.5
    return picture.resize((int(picture.width * scale) or 1, int(picture.height * scale) or 1))


_TOOLS = {"crop_image": crop_image, "pdf_pages": pdf_pages, "read_text": read_text}


def _limit(memory: int, cpu_s: int) -> None:
    """Limit memory and time. Raises OSError or ValueError if that is not possible."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CPU, (cpu_s, cpu_s))
    if sys.platform == "linux":  # elsewhere neither limit can be set
        resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


def _decoded(content: bytes) -> bytes:
    try:
        return base64.b64decode(content)
    except ValueError as error:
        raise Unusable("unprocessable", f"The picture is not base64: {error}.") from None


def _picture(params: Mapping[str, Any], content: bytes) -> Any:
    if params.get("page"):
        page = int(params["page"])
        with _pdf(content) as document:
            count = len(document)
            if not 1 <= page <= count:
                raise Unusable("unprocessable", f"There is no page {page}; it has {count}.")
            return _page(document, page - 1)
    from PIL import Image as Pillow  # noqa: PLC0415  # not needed for pages

    Pillow.MAX_IMAGE_PIXELS = None  # replaced by the check below; Pillow only warns
    try:
        picture = Pillow.open(io.BytesIO(content))
        if picture.width * picture.height > _MOST_PIXELS:
            raise Unusable(
                "unprocessable",
                f"The image has {picture.width} by {picture.height} pixels, and more than "
                f"{_MOST_PIXELS:,} are not decoded. Send a smaller one.",
            )
        picture.load()
        return picture.convert("RGB")
    except (OSError, ValueError, SyntaxError, EOFError, OverflowError) as error:
        raise Unusable("unprocessable", f"The image cannot be decoded: {error}.") from None


@contextmanager
def _pdf(content: bytes) -> Iterator[Any]:
    try:
        from pypdfium2 import PdfDocument, PdfiumError  # noqa: PLC0415  # optional
    except ImportError:
        raise Unusable(
            "unsupported",
            "PDF pages need an optional package: run pip install 'polyvox[pdf]' and restart.",
        ) from None
    try:
        document = PdfDocument(content)
        try:
            yield document
        finally:
            document.close()
    except PdfiumError as error:
        raise Unusable("unprocessable", f"The PDF cannot be read: {error}.") from None


def _page(document: Any, at: int) -> Any:
    page = document[at]
    scale = _PAGE_PIXELS / max(*page.get_size(), 1)
    bitmap = page.render(scale=scale)
    # A copy, because the picture shares its memory with the bitmap that is closed below.
    rendered = bitmap.to_pil().convert("RGB").copy()
    bitmap.close()
    page.close()
    return rendered


def _png_bytes(picture: Any) -> bytes:
    written = io.BytesIO()
    picture.save(written, "PNG")
    return written.getvalue()


def _png(picture: Any) -> dict[str, Any]:
    return {
        "media_type": "image/png",
        "data": base64.b64encode(_png_bytes(picture)).decode(),
        "width": picture.width,
        "height": picture.height,
    }


if __name__ == "__main__":
    main()
