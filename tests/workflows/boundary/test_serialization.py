"""Our values as JSON documents and back."""

import orjson
import pytest
from hypothesis import given

from polyvox.workflows.boundary.calls import (
    ConversationRef,
    HiddenTurn,
    ModelCall,
    ProgressPart,
    RunInput,
    Span,
)
from polyvox.workflows.boundary.serialization import dump, load
from polyvox.workflows.conversation import Conversation, Text, Wire, user
from polyvox.workflows.reply import Reply, Usage
from tests.samples.values import CONVERSATIONS


@given(CONVERSATIONS)
def test_elements_survive_json(conversation: Conversation) -> None:
    """Every element comes back equal from the bytes its document is stored as."""
    elements = (
        conversation.messages,
        conversation.tools,
        conversation.options,
        conversation.system,
    )
    assert load(orjson.loads(orjson.dumps(dump(elements)))) == elements


@pytest.mark.parametrize(
    "value",
    [
        Reply((Text("x"),), "length", Usage(0, None, 3), "m", "STOP", Wire("chat", {"id": "1"})),
        ModelCall("run", "main", "p:m", ConversationRef("digest"), emit=True, hidden=("tool",)),
        RunInput("m", "fusion@1", "d", ConversationRef(messages=(Span(0, 2), user("x")))),
        RunInput("m", "f@1", "d", ConversationRef(), {"type": "Text", "text": "a parameter"}),
        None,
        {"any": ["json", 1]},
    ],
)
def test_what_crosses_temporal_survives_json(value: object) -> None:
    """Values of every class, and plain JSON, are what they were."""
    assert load(orjson.loads(orjson.dumps(dump(value)))) == value


def test_documents_with_a_classs_former_name_are_read() -> None:
    """They lie in histories and blobs of earlier versions."""
    turn = HiddenTurn("base", "key", (user("x"),), (Text("y"),))
    for value, former in ((turn, "Hidden"), (ProgressPart("run", Text("x")), "Shown")):
        document = dump(value)
        assert load({**document, "type": former}) == value


def test_the_wire_element_travels_unread() -> None:
    """Somebody else's JSON may look like one of our documents; it is never taken for one."""
    text = Text("x", wire=Wire("messages", {"type": "Text", "text": "y", "wire": {"type": "Wire"}}))
    back = load(orjson.loads(orjson.dumps(dump(text))))
    assert back.wire == text.wire


def test_defaults_are_left_out() -> None:
    """A field added later has its default in old documents."""
    assert dump(user("x")) == {
        "type": "Message",
        "role": "user",
        "parts": [{"type": "Text", "text": "x"}],
    }
