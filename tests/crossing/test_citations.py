"""What an answer cites, to clients of the other protocols."""

from typing import Any

import orjson
import pytest

from polyvox.protocols.coverage.answer_losses import answer_losses
from polyvox.protocols.neutral import citations_of
from polyvox.protocols.table import PROTOCOLS
from polyvox.workflows.conversation import Json, Protocol, Text, Wire
from polyvox.workflows.events import fold, unfold
from polyvox.workflows.reply import Reply
from tests.crossing.passages import CREATED, RUN_ID, asked, decode, encode
from tests.crossing.validators import check_stream

PAGE = {
    "type": "web_search_result_location",
    "url": "https://example.com/sea",
    "title": "The sea",
    "cited_text": "It is wide.",
    "encrypted_index": "x",
}
PAPER = {
    "type": "page_location",
    "document_index": 0,
    "document_title": "Report",
    "cited_text": "a",
    "start_page_number": 1,
    "end_page_number": 2,
}


def block(text: str, *citations: Json) -> Text:
    said = {"type": "text", "text": text, "citations": list(citations) or None}
    return Text(text, wire=Wire("messages", said))


ANSWER = Reply((block("Look: "), block("it is wide", PAGE), block(" and deep.", PAPER)))


def test_a_text_cut_at_its_citations_is_one_message_with_annotations() -> None:
    """Agents show each message item on its own, and a sentence is no three messages."""
    frames = encode(asked("responses"), unfold(ANSWER), ANSWER)
    check_stream("responses", frames)
    events = [orjson.loads(data) for _, data in frames[:-1]]
    (item,) = events[-1]["response"]["output"]
    assert [part["text"] for part in item["content"]] == ["Look: ", "it is wide", " and deep."]
    page, paper = (part["annotations"] for part in item["content"][1:])
    assert page == [
        {
            "type": "url_citation",
            "url": "https://example.com/sea",
            "title": "The sea",
            "start_index": 0,
            "end_index": 10,
        }
    ]
    assert (paper[0]["type"], paper[0]["filename"]) == ("file_citation", "Report")
    added = [e for e in events if e["type"] == "response.output_text.annotation.added"]
    assert [e["annotation"] for e in added] == [*page, *paper]
    assert answer_losses(ANSWER, "responses") == ()


def test_chat_annotates_the_whole_text_of_the_message() -> None:
    """Offsets count from the message's first character; only pages can be cited."""
    wide = {
        "type": "url_citation",
        "url_citation": {
            "url": "https://example.com/sea",
            "title": "The sea",
            "start_index": 6,
            "end_index": 16,
        },
    }
    document = PROTOCOLS["chat"].answers.render(
        asked("chat"), ANSWER, run_id=RUN_ID, created=CREATED
    )
    assert document["choices"][0]["message"]["annotations"] == [wide]
    for shown in (unfold(ANSWER), []):
        frames = encode(asked("chat"), shown, ANSWER)
        check_stream("chat", frames)
        chunks = [orjson.loads(data) for _, data in frames[:-1]]
        deltas: list[Any] = [c["choices"][0]["delta"] for c in chunks if c["choices"]]
        assert [a for delta in deltas for a in delta.get("annotations", ())] == [
            {**wide, "index": 0}
        ]
    assert answer_losses(ANSWER, "chat") == ("answer.annotations: the text stays",)


def test_messages_clients_get_the_text_alone() -> None:
    """Its citations of the web hold what only its own provider can write."""
    annotation = {
        "type": "url_citation",
        "url": "u",
        "title": "t",
        "start_index": 0,
        "end_index": 1,
    }
    part = {"type": "output_text", "text": "a", "annotations": [annotation]}
    item = {"type": "message", "role": "assistant", "id": "msg_1"}
    wire = {"type": "output_text", "item": item, "part": part, "last": True}
    reply = Reply((Text("a", wire=Wire("responses", wire)),))
    frames = encode(asked("messages"), unfold(reply), reply)
    check_stream("messages", frames)
    assert fold(decode("messages", frames)).text == "a"
    assert answer_losses(reply, "messages") == ("answer.annotations: the text stays",)


@pytest.mark.parametrize("odd", [True, 7, "x", {"type": "url_citation"}, [None, 1, "x", {}]])
@pytest.mark.parametrize(
    ("protocol", "member"),
    [("messages", "citations"), ("responses", "annotations"), ("chat", "annotations")],
)
def test_what_is_no_list_of_citations_cites_nothing(
    protocol: Protocol, member: str, odd: Json
) -> None:
    """A provider that writes something else there loses it, and not the answer."""
    assert citations_of(Text("Look", wire=Wire(protocol, {member: odd}))) == []
