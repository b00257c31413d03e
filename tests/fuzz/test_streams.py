"""Whatever a provider sends becomes a Reply or a ModelError; nothing of it is our defect."""

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from polyvox.protocols.sse import Frame, FrameSplitter
from polyvox.protocols.table import PROTOCOLS
from polyvox.workflows.boundary.serialization import dump, load
from polyvox.workflows.conversation import Conversation, Json, Protocol, user
from polyvox.workflows.errors import ModelError
from polyvox.workflows.events import (
    Event,
    Finished,
    PartDelta,
    PartEnded,
    PartStarted,
    Started,
    UsageReported,
    fold,
)
from polyvox.workflows.reply import Reply
from tests.fuzz.mutations import ENOUGH, STREAMS, streams
from tests.fuzz.test_requests import ODD_SORTS, places, replaced
from tests.golden.passage import CREATED, RUN_ID, provided

ASKED: dict[Protocol, Json] = {
    "chat": {"messages": [{"role": "user", "content": "Hi"}]},
    "responses": {"input": "Hi"},
    "messages": {"messages": [{"role": "user", "content": "Hi"}], "max_tokens": 9},
}


@pytest.mark.parametrize("protocol", PROTOCOLS)
@ENOUGH
@given(data=st.data())
def test_a_stream_becomes_a_reply_or_an_error(protocol: Protocol, data: st.DataObject) -> None:
    """Its events keep their grammar, and every front can tell them and the Reply."""
    events = decoded(protocol, data.draw(streams(protocol)))
    check_grammar(events)
    if not any(isinstance(event, Finished) for event in events):
        return
    reply = fold(events)
    check_storable(reply)
    for name, spoken in PROTOCOLS.items():
        ask = spoken.parser.parse({"model": "m", "stream": True, **ASKED[name]}, {})
        encoder = spoken.answers.encoder(ask, run_id=RUN_ID, created=CREATED)
        for event in events:
            encoder.feed(event)
        encoder.finish(reply)
        orjson.dumps(spoken.answers.render(ask, reply, run_id=RUN_ID, created=CREATED))
    for other in PROTOCOLS.values():
        conversation = Conversation((user("Hi"), reply.message, user("Go on")))
        orjson.dumps(other.provider.render(conversation, "m").body)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_no_place_of_a_real_stream_may_hold_what_it_likes(protocol: Protocol) -> None:
    """Every place that the events of recorded streams have holds every sort of value once."""
    seen = set[tuple[Any, ...]]()
    for frames in map(provided, STREAMS[protocol]):
        for index, (name, data) in enumerate(frames):
            document = json_object(data)
            for path in places(document):
                sort = tuple(0 if isinstance(step, int) else step for step in path)
                if (document.get("type"), *sort) in seen:
                    continue
                seen.add((document.get("type"), *sort))
                for odd in ODD_SORTS:
                    event = (name, orjson.dumps(replaced(document, path, odd)))
                    events = decoded(protocol, [*frames[:index], event, *frames[index + 1 :]])
                    check_grammar(events)
                    if any(isinstance(event, Finished) for event in events):
                        check_storable(fold(events))
    assert len(seen) > 30


def json_object(data: bytes) -> dict[str, Json]:
    """The object that ``data`` is, empty for anything else, such as the end mark."""
    try:
        document = orjson.loads(data)
    except orjson.JSONDecodeError:
        return {}
    return document if isinstance(document, dict) else {}


def decoded(protocol: Protocol, frames: list[Frame]) -> list[Event]:
    """The events up to the first error, which must be a ModelError."""
    decoder, events = PROTOCOLS[protocol].provider.decoder(), list[Event]()
    try:
        for name, data in frames:
            events += decoder.feed(name, data)
        events += decoder.finish()
    except ModelError:
        pass
    return events


def check_storable(reply: Reply) -> None:
    """The reply is the same after Temporal or the ledger has stored it."""
    assert load(orjson.loads(orjson.dumps(dump(reply)))) == reply


def check_grammar(events: list[Event]) -> None:
    """``Started (PartStarted PartDelta* PartEnded)* UsageReported* Finished``, perhaps cut."""
    is_open = False
    for number, event in enumerate(events):
        match event:
            case Started():
                assert number == 0
            case PartStarted():
                assert number > 0
                assert not is_open
                is_open = True
            case PartDelta():
                assert is_open
            case PartEnded():
                assert is_open
                is_open = False
            case UsageReported():
                assert number > 0
            case Finished():
                assert not is_open
                assert number == len(events) - 1


@ENOUGH
@given(
    st.lists(
        st.binary(max_size=9)
        | st.sampled_from([b"data: {}\n\n", b"\r", b"\n", b"\r\n", b"event: a\n", b":\n", b"data"])
    )
)
def test_frames_do_not_depend_on_where_the_body_is_cut(pieces: list[bytes]) -> None:
    """Not for any bytes at all."""
    whole, cut = FrameSplitter(), FrameSplitter()
    frames = whole.feed(b"".join(pieces)) + whole.finish()
    assert [f for piece in pieces for f in cut.feed(piece)] + cut.finish() == frames


def test_an_event_without_an_end_is_refused() -> None:
    """What a provider may make us keep is bounded, and so is the work of looking through it."""
    splitter = FrameSplitter()
    for _ in range(1_024):
        splitter.feed(b"x" * 65_536)
    with pytest.raises(ModelError) as refused:
        splitter.feed(b"x")
    assert refused.value.kind == "too_large"
