"""Calls and results of a history, as providers of each protocol want them."""

from typing import Any

import pytest

from polyvox.protocols.history.pairing import (
    CONTINUE,
    CONTINUED,
    MOVED,
    NO_RESULT,
    UNANSWERED,
    UNCALLED,
)
from polyvox.protocols.provider_side import Rendered
from polyvox.protocols.table import PROTOCOLS
from polyvox.workflows.conversation import Json, Protocol
from tests.samples.histories import requests
from tests.samples.provider_rules import check_request

IMAGE = "data:image/png;base64,iVBORw0KGgo="
SAID = {"chat": "messages", "responses": "input", "messages": "messages"}
over_all = pytest.mark.parametrize("over", PROTOCOLS)
from_all = pytest.mark.parametrize("client", PROTOCOLS)


def rendered(client: Protocol, over: Protocol, body: Json) -> Rendered:
    conversation = PROTOCOLS[client].parser.parse(body, {}).conversation
    request = PROTOCOLS[over].provider.render(conversation, "claude-opus-4-8")
    check_request(over, request.body, own_names=client == over)
    return request


def crossed(client: Protocol, over: Protocol, *steps: Any) -> Rendered:
    return rendered(client, over, requests([*steps, ("user", "And?")], ())[client])


def call(call_id: str | None, arguments: Json = "{}") -> tuple[Json, ...]:
    return ("call", call_id, "read", arguments)


@over_all
def test_a_notice_between_two_results_comes_after_them(over: Protocol) -> None:
    """As Codex sends it: two calls, a result with an image, a notice, the other result."""
    output = [{"type": "input_text", "text": "One."}, {"type": "input_image", "image_url": IMAGE}]
    items = [
        {"role": "user", "content": "Go on."},
        {"type": "function_call", "call_id": "a", "name": "read", "arguments": "{}"},
        {"type": "function_call", "call_id": "b", "name": "read", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "a", "output": output},
        {"role": "developer", "content": [{"type": "input_text", "text": "Be brief."}]},
        {"type": "function_call_output", "call_id": "b", "output": "Two."},
    ]
    request = rendered("responses", over, {"model": "m", "input": items})
    spoken = str(request.body[SAID[over]])
    assert spoken.index("One.") < spoken.index("Two.") < spoken.index("Be brief.")
    assert spoken.index("One.") < spoken.index("iVBORw0KGgo=")
    assert MOVED in request.losses


@from_all
@over_all
def test_a_result_without_its_call_becomes_user_text(client: Protocol, over: Protocol) -> None:
    request = crossed(client, over, ("user", "Hi."), ("result", "gone", "It rains."))
    last = request.body[SAID[over]][-1]
    assert last["role"] == "user"
    assert "It rains." in str(request.body)
    assert UNCALLED in request.losses


@from_all
@over_all
def test_a_result_that_comes_last_and_late_leaves_a_user_turn(
    client: Protocol, over: Protocol
) -> None:
    """The model must not take its own earlier text for the beginning of its answer."""
    steps = [("user", "Hi."), call("a"), ("assistant", "Wait."), ("user", "And?")]
    body = requests([*steps, ("assistant", "Still."), ("result", "a", "Fog.")], ())[client]
    request = rendered(client, over, body)
    assert CONTINUE in str(request.body[SAID[over]][-1])
    assert {MOVED, CONTINUED} <= set(request.losses)


@from_all
@over_all
def test_a_call_without_its_result_gets_one(client: Protocol, over: Protocol) -> None:
    request = crossed(client, over, call("a"), call("b"), ("result", "b", "Fog."))
    assert NO_RESULT in str(request.body)
    assert UNANSWERED in request.losses


@from_all
@over_all
def test_a_second_result_of_a_call_becomes_user_text(client: Protocol, over: Protocol) -> None:
    steps = [call("a"), ("result", "a", "Fog."), ("result", "a", "No, rain.")]
    request = crossed(client, over, *steps)
    assert str(request.body).index("Fog.") < str(request.body).index("No, rain.")
    assert UNCALLED in request.losses


@from_all
@over_all
def test_calls_and_results_without_ids_are_paired_by_their_order(
    client: Protocol, over: Protocol
) -> None:
    steps = [call(None), call(""), ("result", None, "Fog."), ("result", "", "Rain.")]
    request = crossed(client, over, *steps)
    assert request.losses == ()
    assert _pairs(over, request.body) == ["Fog.", "Rain."]


@from_all
@over_all
def test_ids_that_repeat_in_later_turns_are_unique_for_the_provider(
    client: Protocol, over: Protocol
) -> None:
    """Some servers number the calls of each answer from 0; each result stays with its call."""
    steps = [
        *(call("list_dir:0"), ("result", "list_dir:0", "Fog.")),
        *(call("list_dir:0"), ("result", "list_dir:0", "Rain.")),
        *(call("list_dir_0"), ("result", "list_dir_0", "Snow.")),
    ]
    request = crossed(client, over, *steps)
    assert request.losses == ()
    assert _pairs(over, request.body) == ["Fog.", "Rain.", "Snow."]


@from_all
@over_all
def test_ids_that_repeat_within_a_reply_are_unique_for_the_provider(
    client: Protocol, over: Protocol
) -> None:
    steps = [call("a"), call("a"), ("result", "a", "Fog."), ("result", "a", "Rain.")]
    assert _pairs(over, crossed(client, over, *steps).body) == ["Fog.", "Rain."]


@from_all
@over_all
@pytest.mark.parametrize("arguments", [None, "", {"path": "a"}])
def test_arguments_that_are_missing_are_an_empty_object(
    client: Protocol, over: Protocol, arguments: Json
) -> None:
    """Some clients send the object itself; the Messages protocol has nothing else."""
    request = crossed(client, over, call("a", arguments), ("result", "a", "Fog."))
    assert ("path" in str(request.body)) == isinstance(arguments, dict)


@from_all
def test_a_history_in_order_is_sent_as_it_came(client: Protocol) -> None:
    steps = [("user", "Hi."), call("a"), call("b"), ("result", "a", "1."), ("result", "b", "2.")]
    body = requests([*steps, ("user", "And?")], ())[client]
    if client == "messages":
        for turn in body["messages"]:
            for block in turn["content"]:
                if block["type"] == "tool_use":
                    block["input"] = {}
    request = rendered(client, client, body)
    assert request.body[SAID[client]] == body[SAID[client]]
    assert request.losses == ()


def test_results_of_stored_calls_go_to_their_provider() -> None:
    """Only the provider knows which calls a reference stands for."""
    items = [
        {"type": "item_reference", "id": "fc_1"},
        {"type": "function_call_output", "call_id": "a", "output": "Fog."},
    ]
    conversation = PROTOCOLS["responses"].parser.parse({"model": "m", "input": items}, {})
    request = PROTOCOLS["responses"].provider.render(conversation.conversation, "gpt-5")
    assert request.body["input"] == items


def test_results_of_calls_of_another_kind_go_to_their_provider() -> None:
    """Codex answers a call of the local shell with the output of a function."""
    action = {"type": "exec", "command": ["ls"], "env": {}}
    shell = {"type": "local_shell_call", "id": "ls_1", "call_id": "a", "action": action}
    items = [
        {"role": "user", "content": "Hi."},
        {**shell, "status": "completed"},
        {"type": "function_call_output", "call_id": "a", "output": "Fog."},
    ]
    conversation = PROTOCOLS["responses"].parser.parse({"model": "m", "input": items}, {})
    request = PROTOCOLS["responses"].provider.render(conversation.conversation, "gpt-5")
    assert request.body["input"] == items
    crossed_over = PROTOCOLS["chat"].provider.render(conversation.conversation, "gpt-5")
    check_request("chat", crossed_over.body)
    assert "Fog." in str(crossed_over.body)


@over_all
def test_a_free_text_call_keeps_a_result_of_its_kind(over: Protocol) -> None:
    """A Chat client has one kind of result for both kinds of call."""
    custom = {"id": "a", "type": "custom", "custom": {"name": "patch", "input": "*** x"}}
    messages = [
        {"role": "user", "content": "Hi."},
        {"role": "assistant", "content": None, "tool_calls": [custom]},
        {"role": "tool", "tool_call_id": "a", "content": "Done."},
    ]
    body = {"model": "m", "messages": messages}
    conversation = PROTOCOLS["chat"].parser.parse(body, {}).conversation
    request = PROTOCOLS[over].provider.render(conversation, "m").body
    if over == "responses":
        assert [item["type"] for item in request["input"][1:]] == [
            "custom_tool_call",
            "custom_tool_call_output",
        ]


def _pairs(over: Protocol, body: Json) -> list[str]:
    """Return the results in the order of their calls."""
    calls: list[str] = []
    results: dict[str, Json] = {}
    for element in body[SAID[over]]:
        calls += [entry["id"] for entry in element.get("tool_calls", ())]
        if element.get("role") == "tool":
            results[element["tool_call_id"]] = element["content"]
        if element.get("type") == "function_call":
            calls.append(element["call_id"])
        if element.get("type") == "function_call_output":
            results[element["call_id"]] = element["output"]
        blocks = element.get("content")
        for block in blocks if over == "messages" and isinstance(blocks, list) else ():
            if block["type"] == "tool_use":
                calls.append(block["id"])
            if block["type"] == "tool_result":
                results[block["tool_use_id"]] = block["content"]
    assert len(set(calls)) == len(calls)
    return [_text(results[call_id]) for call_id in calls]


def _text(content: Json) -> str:
    return content if isinstance(content, str) else str(content[0]["text"])
