"""Describe an image by its size, format and dominant colours."""

import base64
import binascii
import io
from collections import Counter

from PIL import Image as Pillow

from polyvox.workflows.conversation import Image

PALETTE: dict[str, tuple[int, int, int]] = {
    "black": (0, 0, 0),
    "white": (255, 255, 255),
    "grey": (128, 128, 128),
    "red": (220, 20, 20),
    "green": (20, 160, 20),
    "blue": (20, 20, 220),
    "yellow": (240, 230, 20),
    "orange": (255, 140, 0),
    "purple": (128, 0, 128),
    "pink": (255, 150, 190),
    "brown": (130, 70, 20),
    "cyan": (0, 220, 220),
}
_SAMPLE = (32, 32)
_LEAST_SHARE = 0.05


def describe(image: Image) -> str:
    """Return a clause about ``image``, such as "a PNG image of 64x48 pixels, red (100 %)".

    The clause says so if the image is only a reference or cannot be decoded.
    """
    source = image.source
    data = source.data
    if data is None and source.url and source.url.startswith("data:"):
        data = source.url.partition(",")[2]
    if data is None:
        return f"an image at {(source.url or source.file_id)!r}, which the simulator cannot fetch"
    try:
        with Pillow.open(io.BytesIO(base64.b64decode(data))) as picture:
            width, height = picture.size
            kind = picture.format or "unknown"
            picture.draft("RGB", _SAMPLE)
            sample = picture.convert("RGBA").resize(_SAMPLE, Pillow.Resampling.NEAREST)
    except (OSError, ValueError, binascii.Error, Pillow.DecompressionBombError) as error:
        return f"an image that cannot be decoded ({type(error).__name__})"
    return f"a {kind} image of {width}x{height} pixels, {_colours(sample)}"


def _colours(sample: Pillow.Image) -> str:
    paper = Pillow.new("RGBA", sample.size, "white")
    pixels = Pillow.alpha_composite(paper, sample).convert("RGB").tobytes()
    shares = Counter(
        _nearest((pixels[at], pixels[at + 1], pixels[at + 2])) for at in range(0, len(pixels), 3)
    )
    total = shares.total()
    named = [
        f"{name} ({number * 100 // total} %)"
        for name, number in shares.most_common(3)
        if number / total >= _LEAST_SHARE
    ]
    return ", ".join(named)


def _nearest(colour: tuple[int, int, int]) -> str:
    return min(
        PALETTE,
        key=lambda name: sum((a - b) ** 2 for a, b in zip(colour, PALETTE[name], strict=True)),
    )
