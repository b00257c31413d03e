"""Tools of the server, run as functions of JSON and a conversation."""

import base64
import io
import shutil
from collections.abc import Mapping
from typing import Any

import pytest
from PIL import Image as Pillow

from polyvox.activities.tools import TOOLS
from polyvox.workflows.conversation import Conversation, File, Image, Json, Message, Source
from polyvox.workflows.errors import ModelError
from polyvox.workflows.media import media_digest

sandboxed = pytest.mark.skipif(
    shutil.which("bwrap") is None, reason="bubblewrap is not installed: nothing may be run"
)


def picture() -> Image:
    written = io.BytesIO()
    drawn = Pillow.new("RGB", (100, 50), "red")
    drawn.paste(Pillow.new("RGB", (50, 50), "blue"), (50, 0))
    drawn.save(written, "PNG")
    return Image(Source("image/png", base64.b64encode(written.getvalue()).decode()))


def run(name: str, params: Mapping[str, Json], *parts: Image | File) -> Any:
    return TOOLS[name](params, Conversation((Message("user", parts),)))


def test_a_region_is_cut_out_by_fractions() -> None:
    """Whatever the picture's size."""
    shown = picture()
    cut = run("crop_image", {"digest": media_digest(shown), "box": [0.5, 0, 1, 0.5]}, shown)
    assert (cut["media_type"], cut["width"], cut["height"]) == ("image/png", 50, 25)
    pixels = Pillow.open(io.BytesIO(base64.b64decode(cut["data"])))
    assert pixels.getpixel((0, 0)) == (0, 0, 255)


@pytest.mark.parametrize("box", [None, [0, 0, 0, 0], [1, 1, 0, 0], ["a", 0, 1, 1], [0, 0, 1]])
def test_what_is_no_region_is_refused(box: Json) -> None:
    """The error shows what one looks like."""
    shown = picture()
    with pytest.raises(ModelError, match=r"A region is \[left, top, right, bottom\]"):
        run("crop_image", {"digest": media_digest(shown), "box": box}, shown)


@pytest.mark.parametrize(
    ("part", "kind"),
    [
        (Image(Source(url="https://example.com/a.png")), "unsupported"),
        (Image(Source("image/png", "bm90IGFuIGltYWdl")), "unprocessable"),
    ],
)
def test_a_picture_that_cannot_be_had_says_why(part: Image, kind: str) -> None:
    """Links are not followed, and what is no image is none."""
    with pytest.raises(ModelError) as caught:
        run("crop_image", {"digest": media_digest(part), "box": [0, 0, 1, 1]}, part)
    assert caught.value.kind == kind


def test_a_picture_of_another_conversation_is_not_found() -> None:
    """A digest opens only what the client sent."""
    with pytest.raises(ModelError, match="has no picture"):
        run("crop_image", {"digest": media_digest(picture()), "box": [0, 0, 1, 1]})


@sandboxed
def test_code_runs_without_network_home_or_environment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What it prints is all that comes out."""
    monkeypatch.setenv("SECRET", "swordfish")
    program = (
        "import os, socket\n"
        "print(sorted(os.environ), os.listdir('.'))\n"
        "try:\n    socket.create_connection(('127.0.0.1', 9), 1)\n"
        "except OSError as error:\n    print('no network', error)\n"
    )
    (done,) = run("check_code", {"files": {"a/b.py": program}, "commands": ["python a/b.py"]})
    assert done["passed"], done
    assert "SECRET" not in done["output"]
    assert "['a']" in done["output"]
    assert "no network" in done["output"]


@sandboxed
def test_a_command_that_does_not_end_is_stopped() -> None:
    """And the ones after it are not begun."""
    results = run("check_code", {"commands": ["sleep 30", "true"], "timeout_s": 0.5})
    assert [(result["passed"], result["exit"]) for result in results] == [(False, None)]
    assert "Stopped after 0.5 s." in results[0]["output"]


@sandboxed
@pytest.mark.parametrize("path", ["/etc/x", "../x", "a/../../x", ""])
def test_a_file_stays_in_its_folder(path: str) -> None:
    """Nothing is written anywhere else."""
    with pytest.raises(ModelError, match="no path inside the folder"):
        run("check_code", {"files": {path: "x"}, "commands": ["true"]})
