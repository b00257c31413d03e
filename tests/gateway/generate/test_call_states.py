"""State that a provider puts beside a call comes back to it, whatever its client can carry."""

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from polyvox.worker.engine.ports import free_port
from polyvox.workflows.conversation import Json
from tests.programs.running import ENVIRON, PROTOCOLS, Live, live_program
from tests.programs.scripted_answers import Scripted, chat_answer, scripted

SIGNATURE = {"google": {"thought_signature": "opaque=="}}
DETAILS = [{"type": "reasoning.encrypted", "data": "sealed", "id": "call:1"}]
ARGUMENTS = '{"city": "Oslo"}'
CITY = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
QUESTION = {"role": "user", "content": "What is the weather in Oslo?"}
MODELS = """
[models.signed]
flow = "direct"
params = {{ model = "signing:m" }}
[models.checked]
flow = "verify"
params = {{ model = "signing:m" }}
[models.paneled]
flow = "fusion"
[models.paneled.params]
main = "signing:m"
panel = ["signing:m"]
judge = "signing:m"
mode = "off"
[providers.signing]
protocol = "chat"
base_url = "{url}"
"""


def answers(body: Json) -> list[Json]:
    """Two calls at first, of which the first is signed, as Gemini does; then a text."""
    if any(message["role"] == "tool" for message in body["messages"]):
        return chat_answer(text="It rains.")
    function = {"name": "weather", "arguments": ARGUMENTS}
    calls = [
        {"id": f"call:{n}", "type": "function", "function": function, **more}
        for n, more in ((1, {"extra_content": SIGNATURE}), (2, {}))
    ]
    return chat_answer(calls=calls, reasoning="Hm.", reasoning_details=DETAILS)


@contextmanager
def program(folder: Path, provider: Scripted) -> Iterator[Live]:
    environ = {"PATH": os.environ["PATH"], "HOME": os.environ["HOME"], **ENVIRON}
    dead = f"http://127.0.0.1:{free_port()}/v1"
    with live_program(folder, dead, environ, MODELS.format(url=provider.url)) as live:
        yield live


def first_request(protocol: str, model: str) -> dict[str, Any]:
    function = {"name": "weather", "description": "Tell it.", "parameters": CITY}
    match protocol:
        case "chat":
            tools: list[Json] = [{"type": "function", "function": function}]
            return {"model": model, "messages": [QUESTION], "tools": tools}
        case "responses":
            return {
                "model": model,
                "input": [QUESTION],
                "tools": [{"type": "function", **function}],
            }
        case _:
            tool = {"name": "weather", "input_schema": CITY}
            return {"model": model, "max_tokens": 99, "messages": [QUESTION], "tools": [tool]}


def second_request(protocol: str, first: dict[str, Any], answer: Json) -> dict[str, Any]:
    """Return what a client sends that keeps only the members its protocol defines."""
    said: list[Json]
    match protocol:
        case "chat":
            message = answer["choices"][0]["message"]
            members = ("id", "type", "function")
            calls = [{name: call[name] for name in members} for call in message["tool_calls"]]
            results = [
                {"role": "tool", "tool_call_id": call["id"], "content": "Rain."} for call in calls
            ]
            said = [{"role": "assistant", "content": None, "tool_calls": calls}, *results]
            return {**first, "messages": [*first["messages"], *said]}
        case "responses":
            items = [item for item in answer["output"] if item["type"] == "function_call"]
            results = [
                {"type": "function_call_output", "call_id": item["call_id"], "output": "Rain."}
                for item in items
            ]
            return {**first, "input": [*first["input"], *items, *results]}
        case _:
            blocks = [block for block in answer["content"] if block["type"] == "tool_use"]
            results = [
                {"type": "tool_result", "tool_use_id": block["id"], "content": "Rain."}
                for block in blocks
            ]
            said = [{"role": "assistant", "content": blocks}, {"role": "user", "content": results}]
            return {**first, "messages": [*first["messages"], *said]}


def test_a_signature_comes_back_to_its_provider(tmp_path: Path) -> None:
    """For clients of all protocols and through flows, also after a restart."""
    asked = [(p, "signed") for p in PROTOCOLS]
    asked += [("messages", "checked"), ("responses", "paneled")]
    with ExitStack() as stack:
        provider = stack.enter_context(scripted(answers))
        then = []
        with program(tmp_path, provider) as live:
            for protocol, model in asked:
                first = first_request(protocol, model)
                answer = live.post(protocol, first)
                assert answer.status_code == 200, answer.text
                if protocol == "messages":
                    ids = [block.get("id") for block in answer.json()["content"]]
                    assert ids[-2:] == ["call_1", "call_2"]
                then.append((protocol, second_request(protocol, first, answer.json())))
        with program(tmp_path, provider) as live:
            for protocol, second in [*then, *((p, {**s, "stream": True}) for p, s in then)]:
                answer = live.post(protocol, second)
                assert answer.status_code == 200, answer.text
                assert "It rains." in answer.text
                sent = provider.bodies[-1]["messages"][1]
                signatures = [call.get("extra_content") for call in sent["tool_calls"]]
                assert signatures == [SIGNATURE, None], protocol
                assert sent["reasoning_details"] == DETAILS
                assert [call["id"] for call in sent["tool_calls"]] == ["call:1", "call:2"]
                results = [m["tool_call_id"] for m in provider.bodies[-1]["messages"][2:]]
                assert results == [call["id"] for call in sent["tool_calls"]]


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_state_belongs_to_a_key(protocol: str, tmp_path: Path) -> None:
    """Another client that knows the call's id does not get the state sent for it."""
    with scripted(answers) as provider, program(tmp_path, provider) as live:
        first = first_request(protocol, "signed")
        second = second_request(protocol, first, live.post(protocol, first).json())
        other = {"x-api-key": ENVIRON["POLYVOX_ADMIN_KEY"]}
        assert live.post(protocol, second, headers=other).status_code == 200
        assert "opaque==" not in str(provider.bodies[-1])
