"""Conversations kept by the server and named by requests, through the official library."""

import asyncio
from collections.abc import Iterator
from typing import Any

import httpx
import openai
import pytest

from tests.programs.clients import Client
from tests.programs.running import KEY, PROTOCOLS, Live

over_all = pytest.mark.parametrize("protocol", PROTOCOLS)
either_way = pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])

ADA = {"type": "message", "role": "user", "content": "My name is Ada."}


@pytest.fixture
def sdk(live: Live) -> Iterator[Any]:
    client = Client("responses", live.base_url)
    yield client.sdk
    client.close()


def word(number: int) -> dict[str, str]:
    return {"role": "user", "content": f"word {number}"}


def texts(sdk: Any, conversation_id: str) -> list[str]:
    listed = sdk.conversations.items.list(conversation_id, order="asc")
    return [item.content[0].text for item in listed]


def test_a_conversation_is_made_changed_and_deleted(sdk: Any) -> None:
    """Its metadata are the client's own; what is deleted is not found any more."""
    made = sdk.conversations.create(items=[ADA], metadata={"team": "red"})
    assert made.object == "conversation"
    assert sdk.conversations.retrieve(made.id) == made
    changed = sdk.conversations.update(made.id, metadata={"team": "blue"})
    assert changed.metadata == {"team": "blue"}
    assert sdk.conversations.retrieve(made.id) == changed
    gone = sdk.conversations.delete(made.id)
    assert (gone.id, gone.deleted) == (made.id, True)
    with pytest.raises(openai.NotFoundError):
        sdk.conversations.retrieve(made.id)


def test_items_are_added_listed_and_deleted(sdk: Any) -> None:
    """Each has an id under which it is found."""
    made = sdk.conversations.create()
    added = sdk.conversations.items.create(made.id, items=[word(n) for n in range(3)])
    assert [item.content[0].text for item in added.data] == ["word 0", "word 1", "word 2"]
    assert texts(sdk, made.id) == ["word 0", "word 1", "word 2"]
    newest = sdk.conversations.items.list(made.id, limit=1)
    assert newest.data == [added.data[2]]
    assert newest.has_more is True
    assert (
        sdk.conversations.items.retrieve(added.data[1].id, conversation_id=made.id)
        == (added.data[1])
    )
    sdk.conversations.items.delete(added.data[1].id, conversation_id=made.id)
    assert texts(sdk, made.id) == ["word 0", "word 2"]
    with pytest.raises(openai.NotFoundError):
        sdk.conversations.items.delete(added.data[1].id, conversation_id=made.id)


def test_items_added_at_the_same_time_are_all_kept(live: Live, sdk: Any) -> None:
    """New metadata that come in between change nothing about that."""
    made = sdk.conversations.create(items=[ADA])
    address = f"{live.base_url}/v1/conversations/{made.id}"

    async def change_all() -> list[int]:
        headers = {"x-api-key": KEY}
        async with httpx.AsyncClient(headers=headers, trust_env=False, timeout=60) as client:
            answers = await asyncio.gather(
                *(client.post(f"{address}/items", json={"items": [word(n)]}) for n in range(12)),
                *(client.post(address, json={"metadata": {"n": str(n)}}) for n in range(4)),
            )
        return [answer.status_code for answer in answers]

    assert asyncio.run(change_all()) == [200] * 16
    found = texts(sdk, made.id)
    assert found[0] == "My name is Ada."
    assert sorted(found[1:]) == sorted(f"word {n}" for n in range(12))


def test_an_append_does_not_bring_a_deleted_conversation_back(live: Live, sdk: Any) -> None:
    """Whether an append of the same time came before it or too late."""
    made = sdk.conversations.create(items=[ADA])
    address = f"{live.base_url}/v1/conversations/{made.id}"

    async def append_and_delete() -> list[int]:
        headers = {"x-api-key": KEY}
        async with httpx.AsyncClient(headers=headers, trust_env=False, timeout=60) as client:
            answers = await asyncio.gather(
                *(client.post(f"{address}/items", json={"items": [word(n)]}) for n in range(6)),
                client.delete(address),
                *(client.post(f"{address}/items", json={"items": [word(n)]}) for n in range(6)),
            )
        return [answer.status_code for answer in answers]

    assert set(asyncio.run(append_and_delete())) <= {200, 404}
    with pytest.raises(openai.NotFoundError):
        sdk.conversations.retrieve(made.id)


@over_all
@either_way
def test_answers_are_added_to_the_conversation(sdk: Any, protocol: str, stream: bool) -> None:
    """The next request with its id finds them at once, whatever the provider speaks."""
    made = sdk.conversations.create(items=[ADA])
    for turn, text in ((1, "hello there"), (2, "hello again")):
        request = {"model": f"plain-{protocol}", "input": text, "conversation": made.id}
        if stream:
            *_, last = sdk.responses.create(**request, stream=True)
            response = last.response
        else:
            response = sdk.responses.create(**request)
        assert response.conversation.id == made.id
        assert f"turn {turn}" in response.output_text.lower()
        assert texts(sdk, made.id)[-2:] == [text, response.output_text]
    assert len(texts(sdk, made.id)) == 5


def test_a_background_answer_is_added_too(sdk: Any) -> None:
    """When it has ended."""
    made = sdk.conversations.create()
    stream = sdk.responses.create(
        model="plain-chat", input="hi", conversation={"id": made.id}, background=True, stream=True
    )
    *_, last = stream
    assert texts(sdk, made.id) == ["hi", last.response.output_text]


def test_an_unknown_conversation_is_a_404(live: Live, sdk: Any) -> None:
    """So is another key's."""
    made = sdk.conversations.create()
    live.run(live.program.runtime.ledger.add_key("strangers-key", "stranger"))
    stranger = Client("responses", live.base_url, "strangers-key")
    for who, name in ((sdk, "conv_unknown"), (stranger.sdk, made.id)):
        with pytest.raises(openai.NotFoundError, match="not found"):
            who.conversations.retrieve(name)
        with pytest.raises(openai.NotFoundError, match="not found") as refused:
            who.responses.create(model="plain-chat", input="hi", conversation=name)
        assert refused.value.param == "conversation"
    stranger.close()
