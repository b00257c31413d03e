"""Server-sent events, however the network cuts them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from polyvox.protocols.sse import Frame, FrameSplitter

LINES = st.sampled_from(
    [
        b"data: one",
        b"data:two",
        b"data",
        b"data: ",
        b"event: ping",
        b"event:",
        b": a comment",
        b"id: 7",
        b"retry: 10",
        b"unknown",
        "data: a\u2028b\u2029c\x0b\x0cd".encode(),
        b"",
        b"",
    ]
)
ENDS = st.sampled_from([b"\n", b"\r\n", b"\r"])
BODIES = st.builds(
    lambda bom, lines, end: bom + b"".join(line + end for line in lines),
    st.sampled_from([b"", b"\xef\xbb\xbf"]),
    st.lists(LINES, max_size=12),
    ENDS,
)


def split(chunks: list[bytes]) -> list[Frame]:
    splitter = FrameSplitter()
    frames = [frame for chunk in chunks for frame in splitter.feed(chunk)]
    return frames + splitter.finish()


@given(BODIES, st.data())
def test_it_does_not_matter_where_the_network_cuts(body: bytes, data: st.DataObject) -> None:
    """Any split of any body gives the same events, an empty read among them."""
    cuts = data.draw(st.lists(st.integers(0, len(body)), max_size=8).map(sorted))
    ends = [*cuts, len(body)]
    chunks = [body[start:end] for start, end in zip([0, *cuts], ends, strict=True)]
    assert split(chunks) == split([body])


@given(st.lists(LINES, max_size=12), ENDS)
def test_all_line_ends_mean_the_same(lines: list[bytes], end: bytes) -> None:
    """LF, CRLF and CR, each used throughout."""
    body = b"".join(line + end for line in lines)
    assert split([body]) == split([b"".join(line + b"\n" for line in lines)])


@pytest.mark.parametrize(
    ("body", "frames"),
    [
        (b"data: x\n\n", [(None, b"x")]),
        (b"data:x\n\n", [(None, b"x")]),
        (b"data:  x\n\n", [(None, b" x")]),
        (b"event: e\ndata: x\n\n", [("e", b"x")]),
        (b"data: x\nevent: e\n\n", [("e", b"x")]),
        (b"data: x\ndata: y\n\n", [(None, b"x\ny")]),
        (b": keep-alive\n\ndata: x\n\n", [(None, b"x")]),
        (b"event: e\n\ndata: x\n\n", [(None, b"x")]),
        ("data: a\u2028b\n\n".encode(), [(None, "a\u2028b".encode())]),
        (b"\xef\xbb\xbfdata: x\n\n", [(None, b"x")]),
        (b"\r\n\r\ndata: x\r\n\r\n", [(None, b"x")]),
        (b"data: x\r\rdata: y\r\r", [(None, b"x"), (None, b"y")]),
        (b"data: x\n", [(None, b"x")]),
        (b"data: x\n\ndata: half", [(None, b"x")]),
        (b"", []),
    ],
)
def test_events_are_read_as_the_standard_says(body: bytes, frames: list[Frame]) -> None:
    """Lines end in LF, CRLF or CR and nothing else; comments and unknown fields are skipped."""
    assert split([body]) == frames


def test_an_event_comes_with_the_read_that_completes_it() -> None:
    """Nothing waits for the next event."""
    splitter = FrameSplitter()
    assert splitter.feed(b"data: x\n") == []
    assert splitter.feed(b"\ndata: y") == [(None, b"x")]
    assert splitter.feed(b"\r\n\r\n") == [(None, b"y")]
