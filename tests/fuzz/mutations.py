"""Strategies that spoil real documents and streams: what a broken or hostile peer may send."""

from copy import deepcopy
from typing import Any

import orjson
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from polyvox.protocols.sse import Frame
from polyvox.workflows.conversation import PROTOCOLS, Json, Protocol
from tests.golden.passage import answers, provided, requests
from tests.samples.recordings import Exchange

ENOUGH = settings(
    deadline=None,
    # As many as the suite has time for, or as the profile of a long run says.
    max_examples=max(300, settings().max_examples),
    suppress_health_check=[HealthCheck.too_slow],
)

LARGEST = 20_000
"""Characters of the recorded requests that are spoiled; longer ones say the same more often."""


def _nested(levels: int) -> Json:
    value: Json = "deep"
    for level in range(levels):
        value = [value] if level % 2 else {"type": value}
    return value


ODD: list[Json] = [
    None,
    True,
    0,
    -1,
    1.5,
    2**63,
    2**64 - 1,
    1e308,
    "",
    " ",
    "\x00",
    "\u2028\ufeff",
    "🙂" * 3,
    "data:image/png;base64",
    "data:;base64,%%%",
    "polyvox.1.e30=",
    [],
    {},
    [[]],
    [None],
    [""],
    {"": None},
    {"type": None},
    {"type": []},
    {"type": {}},
    {"type": "text"},
    {"type": "function"},
    {"role": "user"},
    {"type": "message", "role": "assistant", "content": [{}]},
    _nested(60),
    _nested(200),
]


def paths(value: Json, at: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The places in a document, the document itself left out."""
    found: list[tuple[Any, ...]] = []
    if isinstance(value, dict | list):
        for name in value if isinstance(value, dict) else range(len(value)):
            found.append((*at, name))
            found += paths(value[name], (*at, name))
    return found


def _container(document: Json, path: tuple[Any, ...]) -> Json:
    for name in path[:-1]:
        document = document[name]
    return document


def spoil(draw: st.DrawFn, document: Json) -> Json:
    """Change ``document`` in one place, in place, and return it."""
    places = paths(document)
    if not places:
        return deepcopy(draw(st.sampled_from(ODD)))
    path = draw(st.sampled_from(places))
    container, name = _container(document, path), path[-1]
    match draw(st.sampled_from(("odd", "odd", "odd", "drop", "swap", "repeat", "rename", "wrap"))):
        case "odd":
            container[name] = deepcopy(draw(st.sampled_from(ODD)))
        case "drop":
            del container[name]
        case "swap":
            other = draw(st.sampled_from(places))
            container[name] = deepcopy(_value(document, other))
        case "repeat" if isinstance(container, list):
            container.extend(deepcopy([container[name]] * draw(st.integers(1, 3))))
        case "rename" if isinstance(container, dict):
            container[draw(st.text(st.characters(exclude_categories=["Cs"])))] = container.pop(name)
        case "wrap":
            container[name] = (
                [container[name]] if draw(st.booleans()) else {"type": container[name]}
            )
    return document


def _value(document: Json, path: tuple[Any, ...]) -> Json:
    for name in path:
        document = document[name]
    return document


def small(exchanges: list[Exchange]) -> dict[Protocol, list[Exchange]]:
    return {
        protocol: [
            e
            for e in exchanges
            if e.protocol == protocol and len(orjson.dumps(e.request)) < LARGEST
        ]
        for protocol in PROTOCOLS
    }


REQUESTS = small(requests())
STREAMS = {
    protocol: [e for e in answers() if e.protocol == protocol and e.stream is not None]
    for protocol in PROTOCOLS
}
PIECES = (
    b"",
    b"{",
    b'{"a":1,"a":2',
    b'"\\ud83d"',
    b"\x00",
    b"\xff\xfe",
    b"[" * 600,
    b"1e999",
    b",",
)


@st.composite
def request_texts(draw: st.DrawFn, protocol: Protocol) -> bytes:
    """A recorded request with up to four places changed, or its very text."""
    exchange = draw(st.sampled_from(REQUESTS[protocol]))
    document = orjson.loads(orjson.dumps(exchange.request))
    for _ in range(draw(st.integers(0, 4))):
        document = spoil(draw, document)
    try:
        text = orjson.dumps(document)
    except TypeError:
        # Nested too deep to be written; somebody else's writer can.
        text = b'{"model":"m","input":%b,"messages":%b}' % ((b"[" * 600 + b"]" * 600,) * 2)
    if draw(st.integers(0, 9)) == 0:
        at = draw(st.integers(0, len(text)))
        end = at + draw(st.integers(0, 3))
        text = text[:at] + draw(st.sampled_from(PIECES)) + text[end:]
    return text


@st.composite
def streams(draw: st.DrawFn, protocol: Protocol) -> list[Frame]:
    """A recorded stream with up to five events changed, dropped, repeated or moved."""
    exchange = draw(st.sampled_from(STREAMS[protocol]))
    frames = provided(exchange)
    # The head, where most is said, and the end.
    frames = frames[: draw(st.integers(4, 30))] + frames[-draw(st.integers(1, 8)) :]
    for _ in range(draw(st.integers(0, 5))):
        at = draw(st.integers(0, max(0, len(frames) - 1)))
        if not frames:
            break
        name, data = frames[at]
        match draw(
            st.sampled_from(("spoil", "spoil", "spoil", "drop", "again", "move", "cut", "text"))
        ):
            case "spoil":
                frames[at] = (name, _spoiled(draw, data))
            case "drop":
                del frames[at]
            case "again":
                frames.insert(draw(st.integers(0, len(frames))), frames[at])
            case "move":
                frames.insert(draw(st.integers(0, len(frames) - 1)), frames.pop(at))
            case "cut":
                del frames[at:]
            case "text":
                begins = draw(st.integers(0, len(data)))
                frames[at] = (name, data[:begins] + draw(st.sampled_from(PIECES)))
    return frames


def _spoiled(draw: st.DrawFn, data: bytes) -> bytes:
    try:
        return orjson.dumps(spoil(draw, orjson.loads(data)))
    except (orjson.JSONDecodeError, TypeError):
        return b'{"type":"x","choices":' + b"[" * 600 + b"]" * 600 + b"}"
