"""Members that Polyvox does not know come to a Chat client where they came, once."""

from typing import Any

import orjson
import pytest
from openai.lib.streaming.chat import ChatCompletionStreamState
from openai.types.chat import ChatCompletionChunk

from polyvox.protocols.chat.client import response as chat_response
from polyvox.protocols.chat.client.stream import Encoder
from polyvox.protocols.table import PROTOCOLS
from polyvox.workflows.conversation import Json, Part, Reasoning, Text, Wire
from polyvox.workflows.events import Event, fold, unfold
from polyvox.workflows.reply import Reply

ASK = PROTOCOLS["chat"].parser.parse(
    {"model": "m", "messages": [{"role": "user", "content": "hi"}], "stream": True}, {}
)
SEVERE = {"hate": {"filtered": False, "severity": "safe"}}
CODE = {"protected_material_code": {"filtered": False}}


def chunk(delta: Json, **members: Json) -> dict[str, Json]:
    choice = {"index": 0, "delta": delta, "finish_reason": members.pop("finish_reason", None)}
    choice |= members.pop("choice", {})
    return {"id": "c", "object": "chat.completion.chunk", "choices": [choice], **members}


def decoded(chunks: list[dict[str, Json]]) -> list[Event]:
    decoder = PROTOCOLS["chat"].provider.decoder()
    events = [event for one in chunks for event in decoder.feed(None, orjson.dumps(one))]
    return events + decoder.finish()


def streamed(events: list[Event], reply: Reply | None = None) -> list[dict[str, Any]]:
    encoder = Encoder(ASK, run_id="r", created=1)
    sent = b"".join(encoder.feed(event) for event in events)
    sent += encoder.finish(reply or fold(events))
    frames = [frame.removeprefix(b"data: ") for frame in sent.split(b"\n\n") if frame]
    assert frames.pop() == b"[DONE]"
    return [orjson.loads(frame) for frame in frames]


def merged(chunks: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the message as the OpenAI SDK merges it."""
    state = ChatCompletionStreamState()
    for one in chunks:
        state.handle_chunk(ChatCompletionChunk.model_validate(one))
    return state.get_final_completion().choices[0].message.model_dump()


AZURE = [
    {
        "id": "c",
        "choices": [],
        "prompt_filter_results": [{"prompt_index": 0, "content_filter_results": SEVERE}],
    },
    chunk({"role": "assistant", "content": ""}, choice={"content_filter_results": {}}),
    chunk({"content": "one"}, choice={"content_filter_results": SEVERE}),
    chunk({"content": " two"}),
    chunk({"content": " three"}, choice={"content_filter_results": CODE}, trace="t"),
    chunk({"content": " four"}),
    chunk({}, finish_reason="stop", choice={"content_filter_results": {}}),
]


def test_members_of_a_choice_are_where_they_came() -> None:
    """Azure reports on each piece of text."""
    sent = streamed(decoded(AZURE))
    found = [
        (one["choices"][0]["delta"].get("content"), one["choices"][0].get("content_filter_results"))
        for one in sent
    ]
    assert found == [
        ("", {}),
        ("one", SEVERE),
        (" two", None),
        (" three", CODE),
        (" four", None),
        (None, {}),
    ]


def test_members_of_a_chunk_are_written_once() -> None:
    """And where they came."""
    sent = streamed(decoded(AZURE))
    assert ["prompt_filter_results" in one for one in sent] == [True, *[False] * 5]
    traced = [one["choices"][0]["delta"].get("content") for one in sent if "trace" in one]
    assert traced == [" three"]


def test_a_whole_answer_has_every_member() -> None:
    """Objects that came in pieces are one."""
    reply = fold(decoded(AZURE))
    document = chat_response.render(ASK, reply, run_id="r", created=1)
    assert document["choices"][0]["content_filter_results"] == {**SEVERE, **CODE}
    assert document["prompt_filter_results"] == AZURE[0]["prompt_filter_results"]
    assert document["trace"] == "t"
    assert not [name for name in document if name.startswith("$")]


@pytest.mark.parametrize("first", ["", "one"], ids=["empty", "with text"])
def test_what_a_provider_repeats_is_repeated(first: str) -> None:
    """A fingerprint is on every chunk."""
    said = {"system_fingerprint": "fp", "provider": "p"}
    sent = streamed(
        decoded(
            [
                chunk({"role": "assistant", "content": first}, **said),
                chunk({"content": " two"}, **said),
                chunk({"content": " three"}, **said),
                chunk({}, finish_reason="stop", **said),
            ]
        )
    )
    assert {one["system_fingerprint"] for one in sent} == {"fp"}
    assert [
        one.get("provider") for one in sent if one["choices"][0]["delta"].get("content") != first
    ]


def test_an_answer_in_one_chunk_has_its_members_once() -> None:
    """They end it."""
    sent = streamed(
        decoded([chunk({"content": "one"}, finish_reason="stop", x=1, choice={"y": 2})])
    )
    assert sum("x" in one for one in sent) == 1
    assert sum("y" in one["choices"][0] for one in sent) == 1


def test_a_member_between_two_pieces_is_not_lost() -> None:
    """A chunk without a delta has nothing else to be written."""
    sent = streamed(
        decoded(
            [
                chunk({"role": "assistant"}),
                chunk({}, x=1, choice={"y": 2}),
                chunk({"content": "one"}),
                chunk({"content": "two"}),
                chunk({}, finish_reason="stop"),
            ]
        )
    )
    assert [one.get("x") for one in sent].count(1) == 1
    assert [one["choices"][0].get("y") for one in sent].count(2) == 1


def test_an_answer_that_was_not_streamed_has_its_members_once() -> None:
    """A flow may answer with a reply that the client has not seen."""
    reply = fold(decoded(AZURE))
    for sent in (streamed([], reply), streamed(unfold(Reply((Text("note"),))), reply)):
        for name in ("prompt_filter_results", "trace"):
            assert sum(name in one for one in sent) == 1
        filtered = [one["choices"][0].get("content_filter_results") for one in sent]
        assert [found for found in filtered if found] == [{**SEVERE, **CODE}]


SIGNED: tuple[Part, ...] = (
    Reasoning("first", "sig1", "messages"),
    Reasoning("second", "sig2", "messages"),
    Text("done"),
)


def test_signed_thoughts_are_entries_of_one_list() -> None:
    """The SDK merges lists by the index of their entries."""
    sent = streamed(unfold(Reply(SIGNED)))
    details = merged(sent)["reasoning_details"]
    assert [detail["index"] for detail in details] == [0, 1]
    assert [detail["length"] for detail in details] == [5, 6]
    assert merged(sent)["content"] == "done"


def test_the_entries_of_several_calls_count_on() -> None:
    """A flow streams a thought of one model and the answer of another."""
    first = unfold(Reply(SIGNED[:1]))
    sent = streamed([*first, *unfold(Reply(SIGNED[1:]))], Reply(SIGNED))
    assert [detail["index"] for detail in merged(sent)["reasoning_details"]] == [0, 1]


def cited(text: str, url: str) -> Text:
    citation = {
        "type": "web_search_result_location",
        "url": url,
        "title": "t",
        "cited_text": text,
        "encrypted_index": "e",
    }
    block = {"type": "text", "text": text, "citations": [citation]}
    return Text(text, wire=Wire("messages", block))


def test_citations_of_several_texts_are_entries_of_one_list() -> None:
    """Messages cites block by block."""
    parts = (cited("one", "https://a"), cited("two", "https://b"))
    found = merged(streamed(unfold(Reply(parts))))["annotations"]
    assert [(entry["index"], entry["url_citation"]["url"]) for entry in found] == [
        (0, "https://a"),
        (1, "https://b"),
    ]


@pytest.mark.parametrize("member", ["annotations", "images", "reasoning_details", "unknown"])
def test_lists_of_a_chat_provider_count_through_the_answer(member: str) -> None:
    """Whether the provider numbers its entries or not."""
    for index in (None, 0, 3):
        numbered = {} if index is None else {"index": index}
        entries = [{"type": "t", "value": value, **numbered} for value in "abc"]
        chunks = [
            chunk({"role": "assistant", "content": "x"}),
            *(chunk({member: [entry]}) for entry in entries),
            chunk({}, finish_reason="stop"),
        ]
        whole = merged(streamed(decoded(chunks)))[member]
        if index is None:
            assert [(e["index"], e["value"]) for e in whole] == [(0, "a"), (1, "b"), (2, "c")]
        else:
            assert [(e["index"], e["value"]) for e in whole] == [(0, "abc")]


def test_nested_lists_are_numbered_too() -> None:
    """The SDK merges them alike."""
    chunks = [
        chunk({"role": "assistant", "content": "x"}),
        chunk({"grounding": {"sources": [{"url": "a"}], "queries": ["q"]}}),
        chunk({"grounding": {"sources": [{"url": "b"}], "queries": ["r"]}}),
        chunk({}, finish_reason="stop"),
    ]
    found = merged(streamed(decoded(chunks)))["grounding"]
    assert [source["url"] for source in found["sources"]] == ["a", "b"]
    assert found["queries"] == ["q", "r"]
