"""Whatever a client sends is answered or refused by name; nothing of it is our defect."""

from collections.abc import Callable
from functools import partial
from typing import TypeVar

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from polyvox.workflows.conversation import PROTOCOLS, Protocol, Text
from polyvox.workflows.documents import dump, load
from polyvox.workflows.errors import FAULTS, ModelError
from polyvox.workflows.json_text import parse_json
from polyvox.workflows.reply import Reply, Usage
from tests.fuzz.mutations import ENOUGH, request_texts
from tests.golden.passage import CREATED, DIALECTS, FRONTS, RUN_ID, encoded

_T = TypeVar("_T")

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
    front = FRONTS[protocol]
    ask = outcome(lambda: front.parse(document, {}))
    if isinstance(ask, ModelError):
        orjson.dumps(front.render_error(ask, RUN_ID)[1])
        return
    conversation = ask.conversation
    assert load(orjson.loads(orjson.dumps(dump(conversation.messages)))) == conversation.messages
    for dialect in DIALECTS.values():
        rendered = outcome(partial(dialect.render, conversation, "m"))
        if not isinstance(rendered, ModelError):
            orjson.dumps(rendered.body)
    encoded(ask, (), REPLY)
    orjson.dumps(front.render(ask, REPLY, run_id=RUN_ID, created=CREATED))


def outcome(attempt: Callable[[], _T]) -> _T | ModelError:
    """What came of ``attempt``; an error must be one that tells the client its mistake."""
    try:
        return attempt()
    except ModelError as error:
        refused = error
    assert 400 <= FAULTS[refused.kind].status < 500
    return refused
