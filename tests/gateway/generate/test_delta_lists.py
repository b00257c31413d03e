"""The OpenAI SDK's stream merges every list of an answer."""

from collections.abc import Iterator
from typing import Any

import pytest
from openai import OpenAI

from tests.programs.recording_provider import (
    Received,
    chat_answer,
    messages_answer,
    recording_provider,
)
from tests.programs.running import KEY, Live, live_program


def thoughts() -> list[Any]:
    """Return an answer of Claude with two signed thoughts, a cited text and another one."""
    start, *_, ended, stop = messages_answer()
    events = [start]
    for index, (text, signature) in enumerate((("first", "sig1"), ("second", "sig2"))):
        block = {"type": "thinking", "thinking": "", "signature": ""}
        deltas: tuple[Any, ...] = (
            {"type": "thinking_delta", "thinking": text},
            {"type": "signature_delta", "signature": signature},
        )
        events += _block(index, block, deltas)
    for index, url in ((2, "https://a"), (3, "https://b")):
        citation = {
            "type": "web_search_result_location",
            "url": url,
            "title": "t",
            "cited_text": "c",
            "encrypted_index": "e",
        }
        deltas = (
            {"type": "text_delta", "text": f"See {url}. "},
            {"type": "citations_delta", "citation": citation},
        )
        events += _block(index, {"type": "text", "text": "", "citations": []}, deltas)
    return [*events, ended, stop]


def _block(index: int, block: Any, deltas: tuple[Any, ...]) -> list[Any]:
    return [
        {"type": "content_block_start", "index": index, "content_block": block},
        *({"type": "content_block_delta", "index": index, "delta": delta} for delta in deltas),
        {"type": "content_block_stop", "index": index},
    ]


def details() -> list[Any]:
    """Return an answer of a Chat server whose lists come in several chunks without an index."""
    first, last = chat_answer("hello")
    pieces = [
        {"reasoning_details": [{"type": "reasoning.text", "text": "a"}]},
        {"annotations": [{"type": "url_citation", "url_citation": {"url": "https://a"}}]},
        {"annotations": [{"type": "url_citation", "url_citation": {"url": "https://b"}}]},
        {"reasoning_details": [{"type": "reasoning.text", "text": "b"}]},
    ]
    chunks = [{**last, "choices": [{"index": 0, "delta": piece}]} for piece in pieces]
    return [first, *chunks, last]


@pytest.fixture(scope="module")
def sdk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OpenAI]:
    def answer(received: Received) -> tuple[int, Any]:
        return 200, thoughts() if received.path.endswith("/messages") else details()

    with recording_provider(answer) as served:
        table = f'[providers.claude]\nprotocol = "messages"\nbase_url = "{served.url}"\n'
        table += f'[providers.server]\nprotocol = "chat"\nbase_url = "{served.url}"\n'
        for name, model in (("claude", "claude:m"), ("server", "server:m")):
            table += f'[models.panel-{name}]\nflow = "fusion"\n[models.panel-{name}.params]\n'
            table += f'main = "{model}"\njudge = "{model}"\npanel = ["{model}"]\nmode = "off"\n'
            table += f'[models.checked-{name}]\nflow = "verify"\nparams = {{ model = "{model}" }}\n'
        folder = tmp_path_factory.mktemp("lists")
        live: Live
        with live_program(folder, served.url, more=table) as live:
            yield OpenAI(base_url=f"{live.base_url}/v1", api_key=KEY, max_retries=0)


def merged(sdk: OpenAI, model: str) -> dict[str, Any]:
    messages: Any = [{"role": "user", "content": "hi"}]
    with sdk.chat.completions.stream(model=model, messages=messages) as stream:
        for _ in stream:
            pass
        return stream.get_final_completion().choices[0].message.model_dump()


@pytest.mark.parametrize("model", ["claude:m", "panel-claude", "checked-claude"])
def test_two_signed_thoughts_and_two_citations(sdk: OpenAI, model: str) -> None:
    """Each is an entry of its list, with its place in it."""
    message = merged(sdk, model)
    assert [(d["index"], d["length"]) for d in message["reasoning_details"]] == [(0, 5), (1, 6)]
    cited = [(a["index"], a["url_citation"]["url"]) for a in message["annotations"]]
    assert cited == [(0, "https://a"), (1, "https://b")]
    assert message["content"] == "See https://a. See https://b. "


@pytest.mark.parametrize("model", ["server:m", "panel-server", "checked-server"])
def test_lists_without_an_index(sdk: OpenAI, model: str) -> None:
    """A compatible server's entries are numbered on the way."""
    message = merged(sdk, model)
    assert [(d["index"], d["text"]) for d in message["reasoning_details"]] == [(0, "a"), (1, "b")]
    cited = [(a["index"], a["url_citation"]["url"]) for a in message["annotations"]]
    assert cited == [(0, "https://a"), (1, "https://b")]
