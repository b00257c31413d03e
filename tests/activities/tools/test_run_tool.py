"""Tools of the server, run as functions of JSON and a conversation."""

import asyncio
import base64
import inspect
import io
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from PIL import Image as Pillow

from polyvox.activities.tools.run_tool import TOOLS
from polyvox.workflows.conversation import Conversation, File, Image, Json, Message, Source
from polyvox.workflows.errors import ModelError
from polyvox.workflows.media import media_digest
from tests.programs.optional_parts import pdf, png, reads_pdf, reads_text, sandboxed, written


def picture() -> Image:
    written = io.BytesIO()
    drawn = Pillow.new("RGB", (100, 50), "red")
    drawn.paste(Pillow.new("RGB", (50, 50), "blue"), (50, 0))
    drawn.save(written, "PNG")
    return Image(Source("image/png", base64.b64encode(written.getvalue()).decode()))


def run(name: str, params: Mapping[str, Json], *parts: Image | File) -> Any:
    tool = TOOLS[name](params, Conversation((Message("user", parts),)))
    return asyncio.run(tool) if inspect.iscoroutine(tool) else tool


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


def document(*colours: str) -> File:
    """Return a PDF with a page of each colour."""
    pages = [Pillow.new("RGB", (60, 40), colour) for colour in colours]
    return File(Source("application/pdf", pdf(*pages)))


def colour(shown: Mapping[str, Json]) -> tuple[int, ...]:
    """Return the colour in the middle of a picture, as far as a page's compression keeps it."""
    pixels = Pillow.open(io.BytesIO(base64.b64decode(shown["data"])))
    middle = pixels.getpixel((pixels.width // 2, pixels.height // 2))
    assert isinstance(middle, tuple)
    return tuple(round(part / 255) for part in middle)


@reads_pdf
def test_the_pages_of_a_pdf_are_pictures() -> None:
    """The first ones, and how many there are."""
    paper = document("red", "lime", "blue")
    found = run("pdf_pages", {"digest": media_digest(paper), "most": 2}, paper)
    assert [colour(page) for page in found["pages"]] == [(1, 0, 0), (0, 1, 0)]
    assert found["count"] == 3
    assert found["pages"][0]["width"] == 1400


@reads_pdf
def test_a_region_of_a_page_is_cut_out() -> None:
    """Pages count from 1, and one that is not there is named."""
    paper = document("red", "lime", "blue")
    digest = media_digest(paper)
    cut = run("crop_image", {"digest": digest, "page": 3, "box": [0, 0, 0.5, 1]}, paper)
    assert (colour(cut), cut["width"]) == ((0, 0, 1), 700)
    with pytest.raises(ModelError, match=r"There is no page 4; it has 3\."):
        run("crop_image", {"digest": digest, "page": 4, "box": [0, 0, 1, 1]}, paper)


@reads_pdf
def test_what_is_no_pdf_says_so() -> None:
    """A mislabelled file is the client's mistake and no defect."""
    paper = File(Source("application/pdf", "bm90IGEgUERG"))
    with pytest.raises(ModelError, match="The PDF cannot be read") as caught:
        run("pdf_pages", {"digest": media_digest(paper)}, paper)
    assert caught.value.kind == "unprocessable"


@reads_pdf
def test_several_documents_may_be_looked_at_at_once() -> None:
    """Tools run in threads, and the library under them knows only one."""
    papers = [document(*(["red", "blue"] * 4)) for _ in range(8)]

    def pages(paper: File) -> list[tuple[int, ...]]:
        found = run("pdf_pages", {"digest": media_digest(paper)}, paper)
        return [colour(page) for page in found["pages"]]

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(pages, papers)) == [[(1, 0, 0), (0, 0, 1)] * 4] * 8


@reads_text
def test_the_text_in_a_picture_is_read() -> None:
    """One line each; a picture without any has none."""
    shown = Image(Source("image/png", png(written("Invoice 4711"))))
    assert run("read_text", {"digest": media_digest(shown)}, shown)["text"] == "Invoice 4711"
    blank = picture()
    assert run("read_text", {"digest": media_digest(blank)}, blank) == {"text": ""}


@reads_text
@reads_pdf
def test_the_text_on_a_page_is_read() -> None:
    """A scanned document is a picture on a page."""
    paper = File(Source("application/pdf", pdf(written("first"), written("Total 99"))))
    found = run("read_text", {"digest": media_digest(paper), "page": 2}, paper)
    assert found["text"] == "Total 99"


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
    with pytest.raises(ModelError, match="not a path inside the folder"):
        run("check_code", {"files": {path: "x"}, "commands": ["true"]})
