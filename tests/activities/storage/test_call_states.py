"""The states of calls, stored for the key and the provider they belong to."""

from collections.abc import AsyncIterator

import pytest

from polyvox.activities.storage.backends.opened_blobs import open_blobs
from polyvox.activities.storage.backends.urls import StoreUrls
from polyvox.activities.storage.call_states import CallStateStore, Place
from polyvox.activities.storage.database import open_database
from polyvox.protocols.chat.protocol import CHAT
from polyvox.workflows.conversation import Conversation, ToolCall, Wire, assistant

STATES = CHAT.call_states
HERE = Place("key_a", "gemini")
SIGNED = {"id": "call:1", "type": "function", "function": {"name": "f", "arguments": "{}"}, "x": 1}
REPLY = (ToolCall("call:1", "f", "{}", wire=Wire("chat", {"tool_calls": [SIGNED]})),)
ECHO = Conversation((assistant(ToolCall("call_1", "f", "{}")),))
"""The call as a Messages client sends it back, whose ids have another alphabet."""


@pytest.fixture
async def store(urls: StoreUrls) -> AsyncIterator[CallStateStore]:
    engine = open_database(urls.database)
    blobs = open_blobs(urls)
    yield CallStateStore(engine, blobs)
    blobs.close()
    engine.dispose()


async def restored(store: CallStateStore, place: Place) -> object:
    assert STATES is not None
    conversation = await store.restored(ECHO, STATES, place)
    return conversation.messages[0].parts[0].on_wire("chat")


async def test_a_state_is_found_by_its_key_and_provider(store: CallStateStore) -> None:
    """Also if the call was looked up before it was made."""
    assert STATES is not None
    assert await restored(store, HERE) is None
    await store.remember(REPLY, STATES, HERE)
    assert await restored(store, HERE) == {"tool_calls": [SIGNED]}
    assert await restored(store, Place("key_b", "gemini")) is None
    assert await restored(store, Place("key_a", "other")) is None


async def test_many_calls_are_looked_up_in_several_queries(store: CallStateStore) -> None:
    assert STATES is not None
    await store.remember(REPLY, STATES, HERE)
    calls = [ToolCall(f"c{n}", "f", "{}") for n in range(1_200)]
    asked = Conversation((assistant(*calls), *ECHO.messages))
    found = await store.restored(asked, STATES, HERE)
    assert found.messages[1].parts[0].on_wire("chat") == {"tool_calls": [SIGNED]}
