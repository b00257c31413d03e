"""Names that a provider refuses are replaced, and come back as the client chose them."""

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from polyvox.protocols.history.answered_calls import AnsweredCalls
from polyvox.protocols.table import PROTOCOLS
from polyvox.protocols.tool_names import offered_name
from polyvox.workflows.conversation import Json, Protocol, ToolCall
from polyvox.workflows.events import fold, unfold
from polyvox.workflows.reply import Reply
from tests.crossing.passages import CREATED, RUN_ID, decode, split
from tests.samples.histories import requests

ACCEPTED = re.compile(r"[a-zA-Z0-9_-]{1,64}")
ODD = ["fs.read", "fs/read", "fs:read", "fs read", "fs_read", "größe", "m" * 90]
CROSSINGS = [
    (client, over) for client in ("chat", "responses") for over in PROTOCOLS if client != over
]


@given(st.text(max_size=80), st.text(max_size=80))
def test_different_names_are_offered_differently(one: str, other: str) -> None:
    assert ACCEPTED.fullmatch(offered_name(one))
    assert (offered_name(one) == offered_name(other)) == (one == other)


@given(st.text(max_size=80))
def test_no_replacement_is_the_name_of_another_tool(name: str) -> None:
    """A client may even name a tool like the replacement of another."""
    replacement = offered_name(name)
    assert replacement == name or offered_name(replacement) != replacement


def test_a_name_that_all_accept_stays() -> None:
    assert [offered_name(n) for n in ("read", "mcp__fs__read", "a-b_20250124")] == [
        "read",
        "mcp__fs__read",
        "a-b_20250124",
    ]


@pytest.mark.parametrize(("client", "over"), CROSSINGS)
@pytest.mark.parametrize("live", [True, False], ids=["streamed", "whole"])
def test_odd_names_cross_and_come_back(client: Protocol, over: Protocol, live: bool) -> None:
    """In the tools, the choice, the history and the calls of the answer."""
    steps = [("call", "a", ODD[0], "{}"), ("result", "a", "Fog."), ("user", "And?")]
    names = [*ODD, offered_name(ODD[0])]
    body = {**requests(steps, names)[client], "tool_choice": _choice(client, ODD[0])}
    ask = PROTOCOLS[client].parser.parse(body, {})
    request = PROTOCOLS[over].provider.render(ask.conversation, "claude-opus-4-8").body
    offered = [(tool.get("function") or tool)["name"] for tool in request["tools"]]
    assert len(set(offered)) == len(names)
    assert all(ACCEPTED.fullmatch(name) for name in offered)
    assert _named(request["tool_choice"]) == offered[0]
    said = str(request["input" if over == "responses" else "messages"])
    assert f"'name': '{offered[0]}'" in said

    calls = tuple(ToolCall(f"c{i}", name, "{}") for i, name in enumerate(offered))
    known = AnsweredCalls(ask.conversation.tools)
    reply = fold(known.feed(unfold(Reply(calls, "tool_calls"))))
    assert [call.name for call in reply.tool_calls] == names, "flows see the client's names"
    answers = PROTOCOLS[client].answers
    if live:
        encoder = answers.encoder(ask, run_id=RUN_ID, created=CREATED)
        stream = b"".join([encoder.feed(event) for event in unfold(reply)])
        again = fold(decode(client, split(stream + encoder.finish(reply))))
        assert [call.name for call in again.tool_calls] == names
    else:
        document: Any = answers.render(ask, reply, run_id=RUN_ID, created=CREATED)
        assert all(f"'name': {name!r}" in str(document) for name in names)


def test_allowed_tools_have_the_offered_names() -> None:
    tools = [{"type": "function", "name": name} for name in ODD[:2]]
    choice = {"type": "allowed_tools", "mode": "required", "tools": tools}
    body = {**requests([], ODD)["responses"], "tool_choice": choice}
    conversation = PROTOCOLS["responses"].parser.parse(body, {}).conversation
    for over in ("chat", "messages"):
        sent = PROTOCOLS[over].provider.render(conversation, "claude-opus-4-8").body["tools"]
        names = [(tool.get("function") or tool)["name"] for tool in sent]
        assert names == [offered_name(name) for name in ODD[:2]]


def _choice(client: Protocol, name: str) -> Json:
    if client == "responses":
        return {"type": "function", "name": name}
    return {"type": "function", "function": {"name": name}}


def _named(choice: Json) -> Json:
    return (choice.get("function") or choice)["name"]
