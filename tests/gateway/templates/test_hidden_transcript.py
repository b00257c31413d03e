"""Ten turns of an agent over a model with a mounted tool: what its provider gets of them."""

import os
from collections.abc import Callable, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from polyvox.protocols.table import PROTOCOLS
from polyvox.worker.engine.ports import free_port
from polyvox.workflows.conversation import Conversation, Text, ToolCall, ToolResult
from tests.programs.clients import Client, Question, Results, Said, Turn
from tests.programs.running import ENVIRON, Live, live_program
from tests.programs.template_stories import MODELS, received

EXPERT = 'Call ask_expert with {"question": "Is it %d * 3?"}'
TURNS = (
    "Hello!",
    EXPERT % 1,
    "Call get_weather for Paris",
    f"{EXPERT % 2} and call get_weather for Rome.",
    "What did I ask before?",
    f"{EXPERT % 3} once more.",
    "Call get_weather for Oslo and Bergen",
    f"{EXPERT % 4} and call get_weather for Bern.",
    EXPERT % 5,
    "Thank you.",
)
RESTART_AFTER = 5

Answering = Callable[[str, str], str]
"""What the client's side says to a call: by its id and the tool's name."""


def play(
    client: Client,
    model: str,
    tools: tuple[str, ...],
    turns: list[Turn],
    answer: Answering,
    said: tuple[str, ...],
) -> None:
    """Go on with the session ``turns``, saying one text after the other, until all is answered."""
    for text in said:
        turns.append(Said(text))
        while True:
            question = Question(model, tuple(turns), tools=tools)
            answered = client.ask(question, stream=len(turns) % 2 == 0)
            turns.append(answered)
            if not answered.calls:
                break
            turns.append(Results({c.id: answer(c.id, c.name) for c in answered.calls}))


def conversation_in(protocol: str, body: Any) -> Conversation:
    headers: Mapping[str, str] = {}
    return PROTOCOLS[protocol].parser.parse(body, headers).conversation


def spelled(conversation: Conversation) -> list[str]:
    """Return every part in order, with its message's role; what says nothing is left out."""
    return [
        f"{message.role}: {part!r}"
        for message in conversation.messages
        for part in message.parts
        if not (isinstance(part, Text) and not part.text)
    ]


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_the_provider_gets_what_an_uninterrupted_direct_session_would_hold(
    protocol: str, tmp_path: Path
) -> None:
    """The client never sees the expert's tool, and the server is started anew in between."""
    environ = {"PATH": os.environ["PATH"], "HOME": os.environ["HOME"], **ENVIRON}
    dead = f"http://127.0.0.1:{free_port()}/v1"
    turns: list[Turn] = []

    def weather(call_id: str, name: str) -> str:
        assert name == "get_weather"
        return f"Rain for {call_id}"

    def session(live: Live, said: tuple[str, ...]) -> None:
        client = Client(protocol, live.base_url)
        play(client, f"consult-{protocol}", ("get_weather",), turns, weather, said)
        client.close()

    with live_program(tmp_path, dead, environ, MODELS) as live:
        session(live, TURNS[:RESTART_AFTER])
    with live_program(tmp_path, dead, environ, MODELS) as live:
        session(live, TURNS[RESTART_AFTER:])
        sent = [conversation_in(protocol, body) for body in received(live, "main-idworker")]
        parts = [part for message in sent[-1].messages for part in message.parts]
        hidden = {p.id for p in parts if isinstance(p, ToolCall) and p.name == "ask_expert"}
        told = {p.call_id: p for p in parts if isinstance(p, ToolResult)}
        assert len(hidden) == 5

        def answer(call_id: str, name: str) -> str:
            if name == "get_weather":
                return weather(call_id, name)
            return "".join(p.text for p in told[call_id].parts if isinstance(p, Text))

        client = Client(protocol, live.base_url)
        both = ("get_weather", "ask_expert")
        play(client, f"sim-{protocol}:main-iddirect", both, [], answer, TURNS)
        client.close()
        direct = [conversation_in(protocol, body) for body in received(live, "main-iddirect")]
    assert spelled(sent[-1]) == spelled(direct[-1])
    # And so it was at every step: each request begins with all that the one before it held.
    for before, after in pairwise(sent):
        assert spelled(after)[: len(spelled(before))] == spelled(before)
