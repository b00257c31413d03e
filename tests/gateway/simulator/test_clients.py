"""What recorded requests of real coding agents get from the simulator.

The recordings carry the word ROUNDS where the user's prompt stands; each test puts its own there.
"""

from pathlib import Path
from typing import Any

import jsonschema
import orjson
import pytest

from polyvox.gateway.simulator import plan
from polyvox.gateway.simulator.acting import rules
from polyvox.protocols.client_side import RequestParser
from polyvox.protocols.messages.client import request as messages
from polyvox.protocols.responses.client import request as responses
from polyvox.workflows.conversation import Conversation
from polyvox.workflows.reply import Reply

CLIENTS = Path(__file__).parents[2] / "fixtures" / "clients"
PARSERS: dict[str, RequestParser] = {"claude_code": messages, "codex": responses}
PICTURE = "a PNG image of 48x32 pixels"


def _recorded(client: str, name: str) -> dict[str, Any]:
    requests = orjson.loads((CLIENTS / f"{client}.json").read_bytes())
    found: dict[str, Any] = next(request for request in requests if name in request["name"])
    return found


def _conversation(client: str, name: str, prompt: str) -> Conversation:
    request = _recorded(client, name)
    body = orjson.loads(orjson.dumps(request["body"]).replace(b"ROUNDS", prompt.encode()))
    return PARSERS[client].parse(body, request["headers"]).conversation


def _answer(conversation: Conversation) -> Reply:
    reply = rules.answer(conversation, plan.parse("main"))
    schemas = {tool.name: tool.parameters for tool in conversation.tools}
    for call in reply.tool_calls:
        if call.kind == "function":
            jsonschema.validate(orjson.loads(call.arguments), schemas[call.name])
    return reply


@pytest.mark.parametrize("client", PARSERS)
def test_a_prompt_with_an_image_is_answered_about_both(client: str) -> None:
    """Neither reminders nor image captions are taken for the prompt."""
    reply = _answer(_conversation(client, "first turn", "What does this image show?"))
    assert "“What does this image show?”" in reply.text
    assert "(turn 1, " in reply.text
    assert PICTURE in reply.text


@pytest.mark.parametrize(
    ("client", "prompt", "name", "arguments"),
    [
        (
            "claude_code",
            "Use the Write tool to create hello.txt containing exactly: hi there",
            "Write",
            {"file_path": "hello.txt"},
        ),
        ("claude_code", "Run the command `ls`", "Bash", {"command": "ls"}),
        ("codex", "Run the command `ls`", "exec_command", {"cmd": "ls"}),
        (
            "codex",
            "Use the Write tool to create hello.txt containing exactly: hi there",
            "exec_command",
            {},
        ),
    ],
)
def test_an_agent_s_own_tool_does_what_the_prompt_says(
    client: str, prompt: str, name: str, arguments: dict[str, str]
) -> None:
    (call,) = _answer(_conversation(client, "first turn", prompt)).tool_calls
    assert call.name == name
    assert orjson.loads(call.arguments).items() >= arguments.items()


@pytest.mark.parametrize(
    ("client", "name"),
    [
        ("claude_code", "thinking, parallel calls"),
        ("claude_code", "a model name it knows"),
        ("codex", "reasoning, parallel calls"),
        ("codex", "custom tools"),
    ],
)
def test_results_of_a_turn_are_quoted_and_end_it(client: str, name: str) -> None:
    """Texts and pictures that tools gave back, over several rounds, are all in the answer."""
    conversation = _conversation(client, name, "Run the command `echo one`")
    reply = _answer(conversation)
    assert not reply.tool_calls
    assert "one" in reply.text
    assert PICTURE in reply.text
    assert "system-reminder" not in reply.text
