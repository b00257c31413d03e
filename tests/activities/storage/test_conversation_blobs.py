"""Conversations in the blob store."""

import asyncio
import tempfile
import threading
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given, settings

from polyvox.activities.storage.backends.sqlite_blobs import SqliteBlobs
from polyvox.activities.storage.conversation_blobs import Bodies
from polyvox.protocols.bounded_json import parse_json
from polyvox.protocols.chat.client import request as chat
from polyvox.protocols.decoding.exact_objects import dump_json
from polyvox.protocols.messages.client import request as messages
from polyvox.protocols.responses.client import request as responses
from polyvox.protocols.table import PROTOCOLS
from polyvox.workflows.boundary.serialization import dump
from polyvox.workflows.conversation import Conversation, user
from polyvox.workflows.errors import ModelError
from tests.samples.values import CONVERSATIONS

CLIENTS = Path(__file__).parents[2] / "fixtures" / "clients"
PARSERS: dict[str, Any] = {"claude_code": messages, "codex": responses}
RECORDED = [
    (PARSERS[client], request)
    for client in PARSERS
    for request in orjson.loads((CLIENTS / f"{client}.json").read_bytes())
]


def reloaded(folder: Path, conversation: Conversation) -> Conversation:
    """Return what another process would load of a stored conversation."""
    store = SqliteBlobs(folder / "blobs.db")
    digest = asyncio.run(Bodies(store).put(conversation, "key_a"))
    found = Bodies(store).get(digest)
    store.close()
    return found


def whole(conversation: Conversation) -> Any:
    """Everything of a conversation, the wire elements too, which equality leaves out."""
    return dump(
        (
            conversation.messages,
            conversation.system,
            conversation.tools,
            conversation.options,
            conversation.headers,
        )
    )


@pytest.mark.parametrize("block", ["tool_use", "server_tool_use"])
def test_numbers_in_arguments_keep_their_digits(tmp_path: Path, block: str) -> None:
    """Also after a restart, when the elements are read from the store."""
    arguments = '{"n":100000000000000000000,"deep":{"input":{"f":0.1234567890123456789}}}'
    call = b'{"type":"%b","id":"c","name":"f","input":%b}' % (block.encode(), arguments.encode())
    text = (
        b'{"model":"m","max_tokens":9,"messages":[{"role":"user","content":"Hi"},'
        b'{"role":"assistant","content":[%b]},{"role":"user","content":"Go on"}]}' % call
    )
    conversation = messages.parse(parse_json(text), {}).conversation
    found = reloaded(tmp_path, conversation)
    for name in ("messages", "chat") if block == "tool_use" else ("messages",):
        sent = dump_json(PROTOCOLS[name].provider.render(found, "m").body).decode()
        assert arguments in sent.replace('\\"', '"')


@settings(deadline=None)
@given(CONVERSATIONS)
def test_a_stored_conversation_comes_back(conversation: Conversation) -> None:
    """Equal in every element, loaded from nothing but the store."""
    with tempfile.TemporaryDirectory() as folder:
        assert reloaded(Path(folder), conversation) == conversation


@pytest.mark.parametrize(("front", "request_"), RECORDED)
def test_a_clients_request_comes_back_with_its_wire(
    tmp_path: Path, front: Any, request_: Any
) -> None:
    """What agents send is, after the store, still the element they sent."""
    conversation = front.parse(request_["body"], request_["headers"]).conversation
    back = reloaded(tmp_path, conversation)
    assert back == conversation
    assert whole(back) == whole(conversation)


def test_a_clients_own_use_of_our_marker_means_nothing(tmp_path: Path) -> None:
    """A request may hold any JSON, also what looks like one of our references."""
    body = {
        "model": "m",
        "messages": [
            {"role": "user", "content": "x" * 5000, "odd": {"$polyvox.blob": "0" * 64}},
            {"role": "user", "content": "y", "odd": {"$polyvox.blob": 7, "whole": True}},
        ],
    }
    conversation = chat.parse(body, {}).conversation
    assert whole(reloaded(tmp_path, conversation)) == whole(conversation)


async def test_the_very_object_comes_back_while_it_is_remembered(tmp_path: Path) -> None:
    """In one process nothing is parsed twice; identity is what ``refer`` recognises."""
    store = SqliteBlobs(tmp_path / "blobs.db")
    bodies = Bodies(store)
    conversation = Conversation((user("x"),))
    assert bodies.get(await bodies.put(conversation, "key_a")) is conversation
    store.close()


async def test_what_is_forgotten_is_loaded_again(tmp_path: Path) -> None:
    """The cache is bounded in bytes; the store is not."""
    store = SqliteBlobs(tmp_path / "blobs.db")
    bodies = Bodies(store, cache_bytes=1)
    talks = [Conversation((user(f"{n} " * 2000),)) for n in range(3)]
    digests = [await bodies.put(talk, "key_a") for talk in talks]
    assert [bodies.get(digest) for digest in digests] == talks
    store.close()


async def test_an_unknown_digest_is_a_key_error(tmp_path: Path) -> None:
    """The file was replaced, or belongs to another deployment."""
    store = SqliteBlobs(tmp_path / "blobs.db")
    with pytest.raises(ModelError, match="0000"):
        Bodies(store).get("0" * 64)
    store.close()


async def test_a_longer_turn_stores_its_news_alone(tmp_path: Path) -> None:
    """Two new messages after 400 cost about a kilobyte, not the list of all of them again."""
    store = SqliteBlobs(tmp_path / "blobs.db")
    bodies = Bodies(store)
    talk = Conversation(tuple(user(f"message {n}") for n in range(400)))
    await bodies.put(talk, "key_a")
    before = store.stored_bytes()
    await bodies.put(talk.then(user("news"), user("more news")), "key_a")
    assert store.stored_bytes() - before < 3000
    store.close()


async def test_a_conversation_is_read_beside_the_loop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Streams go on meanwhile: the loop itself lets the reading finish here."""
    store = SqliteBlobs(tmp_path / "blobs.db")
    conversation = Conversation((user("x"),))
    digest = await Bodies(store).put(conversation, "key_a")
    goes_on = threading.Event()
    get = store.get

    def held(address: str) -> bytes:
        assert goes_on.wait(10), "the loop stands still"
        return get(address)

    monkeypatch.setattr(store, "get", held)
    reading = asyncio.create_task(Bodies(store).fetch(digest))
    await asyncio.sleep(0)
    goes_on.set()
    assert await reading == conversation
    store.close()
