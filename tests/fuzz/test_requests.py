"""Whatever a client sends is answered or refused by name; nothing of it is our defect."""

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any, TypeVar

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from polyvox.protocols.bounded_json import parse_json
from polyvox.protocols.coverage.row import Place
from polyvox.protocols.table import PROTOCOLS
from polyvox.workflows.boundary.serialization import dump, load
from polyvox.workflows.conversation import Json, Protocol, Text
from polyvox.workflows.errors import FAULTS, ModelError
from polyvox.workflows.reply import Reply, Usage
from tests.crossing.elements import ELEMENTS
from tests.crossing.examples import REQUESTS, TOOLS, request
from tests.fuzz.mutations import ENOUGH, request_texts
from tests.fuzz.mutations import REQUESTS as RECORDED
from tests.golden.passage import CREATED, RUN_ID, encoded

_T = TypeVar("_T")
_Path = tuple[Any, ...]

ODD_SORTS: list[Json] = [
    *(None, True, 7, "odd"),
    *([], [7], {}, {"odd": 7}, [{"type": 7}], {"type": []}),
]

ROWS: dict[Protocol, dict[Place, Iterable[str]]] = {
    p: {"request": REQUESTS[p], "tool": TOOLS[p], "element": ELEMENTS[p]} for p in PROTOCOLS
}

ALLOWED_TOOLS: dict[Protocol, list[Json]] = {
    "chat": [
        {
            "model": "m",
            "messages": [{"role": "user", "content": "Hi"}],
            "tool_choice": {
                "type": "allowed_tools",
                "allowed_tools": {
                    "mode": "auto",
                    "tools": [{"type": "function", "function": {"name": "f"}}],
                },
            },
        }
    ],
    "responses": [
        {
            "model": "m",
            "input": "Hi",
            "tool_choice": {
                "type": "allowed_tools",
                "mode": "auto",
                "tools": [{"type": "function", "name": "f"}],
            },
        }
    ],
    "messages": [],
}

REPLY = Reply((Text("Hello"),), usage=Usage(1, 0, 0, 1), model="m")


@pytest.mark.parametrize("protocol", PROTOCOLS)
@ENOUGH
@given(data=st.data())
def test_a_request_is_answered_or_refused(protocol: Protocol, data: st.DataObject) -> None:
    """Parsed, stored, rendered for every provider and answered, or a ModelError of the client's."""
    text = data.draw(request_texts(protocol))
    try:
        document = parse_json(text)
    except orjson.JSONDecodeError:
        return
    spoken = PROTOCOLS[protocol]
    ask = outcome(lambda: spoken.parser.parse(document, {}))
    if isinstance(ask, ModelError):
        orjson.dumps(spoken.answers.render_error(ask, RUN_ID)[1])
        return
    conversation = ask.conversation
    assert load(orjson.loads(orjson.dumps(dump(conversation.messages)))) == conversation.messages
    for other in PROTOCOLS.values():
        rendered = outcome(partial(other.provider.render, conversation, "m"))
        if not isinstance(rendered, ModelError):
            orjson.dumps(rendered.body)
    encoded(ask, (), REPLY)
    orjson.dumps(spoken.answers.render(ask, REPLY, run_id=RUN_ID, created=CREATED))


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_no_field_of_any_row_may_hold_what_it_likes(protocol: Protocol) -> None:
    """Every place of every example in the table holds every sort of value once."""
    for place, field in ((p, f) for p, fields in ROWS[protocol].items() for f in fields):
        document = request(protocol, place, field)
        for path in places(document):
            _accepts_or_refuses_every_sort(protocol, document, path)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_no_place_of_a_real_request_may_hold_what_it_likes(protocol: Protocol) -> None:
    """Every place that a recorded request has, or one that names allowed tools."""
    seen = set[tuple[Any, ...]]()
    for document in (*ALLOWED_TOOLS[protocol], *(e.request for e in RECORDED[protocol])):
        for path in places(document):
            sort = tuple(0 if isinstance(name, int) else name for name in path)
            # A JSON Schema may hold anything.
            if sort in seen or not {"parameters", "input_schema"}.isdisjoint(path):
                continue
            seen.add(sort)
            _accepts_or_refuses_every_sort(protocol, document, path)
    assert len(seen) > 80


def _accepts_or_refuses_every_sort(protocol: Protocol, document: Json, path: _Path) -> None:
    for odd in ODD_SORTS:
        ask = outcome(partial(PROTOCOLS[protocol].parser.parse, replaced(document, path, odd), {}))
        if isinstance(ask, ModelError):
            continue
        for other in PROTOCOLS.values():
            outcome(partial(other.provider.render, ask.conversation, "m"))
        PROTOCOLS[protocol].answers.render(ask, REPLY, run_id=RUN_ID, created=CREATED)


def places(value: Json, path: _Path = ()) -> Iterator[_Path]:
    """The paths of everything within ``value``."""
    inner = value.items() if isinstance(value, dict) else enumerate(value)
    for name, member in inner:
        yield (*path, name)
        if isinstance(member, dict | list):
            yield from places(member, (*path, name))


def replaced(document: Json, path: _Path, value: Json) -> Json:
    """A copy of ``document`` with ``value`` at ``path``."""
    name, *rest = path
    copy: Json = dict(document) if isinstance(document, dict) else list(document)
    copy[name] = replaced(copy[name], tuple(rest), value) if rest else value
    return copy


def outcome(attempt: Callable[[], _T]) -> _T | ModelError:
    """What came of ``attempt``; an error must be one that tells the client its mistake."""
    try:
        return attempt()
    except ModelError as error:
        refused = error
    assert 400 <= FAULTS[refused.kind].status < 500
    return refused
