"""Parts that a machine may lack; tests of them are skipped there and say why."""

import asyncio
import base64
import io
from importlib.util import find_spec

import pytest
from PIL import Image as Pillow
from PIL import ImageDraw, ImageFont

from polyvox.activities.tools.bubblewrap import check_code
from polyvox.workflows.conversation import Conversation
from polyvox.workflows.errors import ModelError


def _no_sandbox() -> str:
    try:
        asyncio.run(check_code({"commands": ["true"]}, Conversation(())))
    except ModelError as error:
        return error.message
    return ""


sandboxed = pytest.mark.skipif(bool(_no_sandbox()), reason=_no_sandbox())

reads_pdf = pytest.mark.skipif(
    find_spec("pypdfium2") is None, reason="pypdfium2 is not installed: pip install 'polyvox[pdf]'"
)

reads_text = pytest.mark.skipif(
    find_spec("rapidocr_onnxruntime") is None,
    reason="rapidocr-onnxruntime (380 MB) is not installed: pip install 'polyvox[ocr]'",
)


def written(text: str) -> Pillow.Image:
    """Return a picture of ``text``."""
    picture = Pillow.new("RGB", (900, 140), "white")
    ImageDraw.Draw(picture).text((20, 40), text, fill="black", font=ImageFont.load_default(48))
    return picture


def pdf(*pages: Pillow.Image) -> str:
    """Return a PDF that has a picture on each page, in base64."""
    made = io.BytesIO()
    pages[0].save(made, "PDF", save_all=True, append_images=pages[1:])
    return base64.b64encode(made.getvalue()).decode()


def png(picture: Pillow.Image) -> str:
    """Return ``picture`` as a PNG in base64."""
    made = io.BytesIO()
    picture.save(made, "PNG")
    return base64.b64encode(made.getvalue()).decode()
