"""Requests of all clients to a server that takes only the plain form, through the whole program."""

import os
from collections.abc import Iterator
from typing import Any

import orjson
import pytest

from polyvox.worker.engine.ports import free_port
from polyvox.workflows.events import fold
from polyvox.workflows.reply import Reply
from tests.crossing.passages import as_stream, decode, split
from tests.programs.running import ENVIRON, Live, live_program
from tests.programs.strict_server import StrictServer, strict_server

GRAMMAR = {"type": "grammar", "syntax": "lark", "definition": "start: /.+/s"}

FLOWS = """
[providers.strict]
protocol = "chat"
base_url = "{url}"

[providers.strict-thinker]
protocol = "chat"
base_url = "{url}"
[providers.strict-thinker.dialect]
refuses = ["stream_options"]

[models.strict-fusion]
flow = "fusion"
[models.strict-fusion.params]
main = "strict:main"
panel = ["strict:optimist", "strict:skeptic"]
judge = "strict:judge"
mode = "required"

[models.strict-router]
flow = "router"
params = {{ default = "strict:main" }}

[models.strict-verify]
flow = "verify"
[models.strict-verify.params]
model = "strict:main"
verifier = "strict:checker"
"""


@pytest.fixture(scope="module")
def strict() -> Iterator[StrictServer]:
    with strict_server() as server:
        yield server


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory, strict: StrictServer) -> Iterator[Live]:
    environ = {"PATH": os.environ["PATH"], "HOME": os.environ["HOME"], **ENVIRON}
    folder = tmp_path_factory.mktemp("strict")
    dead = f"http://127.0.0.1:{free_port()}/v1"
    more = FLOWS.format(url=strict.url)
    with live_program(folder, dead, environ, more) as running:
        strict.simulator_url = running.simulator.url
        yield running


@pytest.fixture(autouse=True)
def nothing_was_refused(strict: StrictServer) -> Iterator[None]:
    """After each test the strict server must have accepted every request."""
    strict.bodies.clear()
    strict.faults.clear()
    yield
    assert strict.faults == []


def ask(live: Live, protocol: str, document: dict[str, Any]) -> Reply:
    answer = live.post(protocol, document)
    assert answer.status_code == 200, answer.text
    whole = not document.get("stream")
    return fold(
        decode(protocol, as_stream(protocol, answer.json()) if whole else split(answer.content))
    )


ADVICE = "Should we cache or recompute? Answer briefly."

CHAT: dict[str, Any] = {
    "messages": [
        {"role": "system", "content": "You help."},
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": ADVICE},
    ],
}
RESPONSES: dict[str, Any] = {
    "instructions": "You help.",
    "input": [
        {"role": "developer", "content": "Be brief."},
        {"role": "user", "content": "Hello."},
        {"role": "assistant", "content": "Hello!"},
        {"role": "developer", "content": "The sandbox is on."},
        {"role": "user", "content": ADVICE},
    ],
    "prompt_cache_key": "session",
    "store": False,
    "max_output_tokens": 1000,
    "parallel_tool_calls": True,
    "reasoning": {"effort": "high", "summary": "auto"},
    "text": {"verbosity": "low"},
    "include": ["reasoning.encrypted_content"],
}
MESSAGES: dict[str, Any] = {
    "max_tokens": 1000,
    "system": [{"type": "text", "text": "You help."}, {"type": "text", "text": "Be brief."}],
    "messages": [
        {"role": "user", "content": [{"type": "text", "text": "Hello."}]},
        {"role": "user", "content": [{"type": "text", "text": "The sandbox is on."}]},
        {"role": "assistant", "content": "Hello!"},
        {
            "role": "user",
            "content": [{"type": "text", "text": ADVICE}, {"type": "text", "text": "?"}],
        },
    ],
    "metadata": {"user_id": "u"},
    "thinking": {"type": "enabled", "budget_tokens": 2000},
    "temperature": 1,
}
REQUESTS = {"chat": CHAT, "responses": RESPONSES, "messages": {**MESSAGES, "max_tokens": 4000}}

MODELS = ("strict:main", "strict-fusion", "strict-router", "strict-verify")


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("protocol", REQUESTS)
def test_every_client_gets_an_answer_through_every_flow(
    live: Live, protocol: str, model: str, stream: bool
) -> None:
    reply = ask(live, protocol, {**REQUESTS[protocol], "model": model, "stream": stream})
    assert reply.text


def _patch_tool(protocol: str) -> dict[str, Any]:
    said = {"name": "apply_patch", "description": "Edit files."}
    if protocol == "responses":
        return {"type": "custom", **said, "format": GRAMMAR}
    form = {"type": "grammar", "grammar": {k: v for k, v in GRAMMAR.items() if k != "type"}}
    return {"type": "custom", "custom": {**said, "format": form}}


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("model", ["strict:main", "strict-router", "strict-fusion"])
@pytest.mark.parametrize("protocol", ["chat", "responses"])
def test_a_free_text_tool_is_called_and_answered_in_two_turns(
    live: Live, strict: StrictServer, protocol: str, model: str, stream: bool
) -> None:
    """It is a function upstream; the client sees its own tool and its own kind of call."""
    question = {"role": "user", "content": "Fix the bug with apply_patch."}
    choice = {"type": "custom", "name": "apply_patch"}
    place = "input" if protocol == "responses" else "messages"
    document = {
        "model": model,
        place: [question],
        "tools": [_patch_tool(protocol)],
        "tool_choice": choice
        if protocol == "responses"
        else {
            "type": "custom",
            "custom": {"name": "apply_patch"},
        },
        "stream": stream,
    }
    reply = ask(live, protocol, document)
    (call,) = reply.tool_calls
    assert (call.kind, call.name) == ("custom", "apply_patch")
    assert call.arguments
    assert not call.arguments.startswith('{"input"')
    function = next(body["tools"][0]["function"] for body in strict.bodies if "tools" in body)
    assert GRAMMAR["definition"] in function["description"]

    back: list[dict[str, Any]]
    if protocol == "responses":
        back = [
            {
                "type": "custom_tool_call",
                "call_id": call.id,
                "name": call.name,
                "input": call.arguments,
            },
            {"type": "custom_tool_call_output", "call_id": call.id, "output": "Patched."},
        ]
    else:
        called = {"name": call.name, "input": call.arguments}
        back = [
            {
                "role": "assistant",
                "content": None,
                "tool_calls": [{"id": call.id, "type": "custom", "custom": called}],
            },
            {"role": "tool", "tool_call_id": call.id, "content": "Patched."},
        ]
    strict.bodies.clear()
    then = ask(live, protocol, {**document, place: [question, *back], "tool_choice": "auto"})
    assert then.text or then.tool_calls
    calls = [c for m in strict.bodies[0]["messages"] for c in m.get("tool_calls") or ()]
    (sent,) = (c["function"] for c in calls if c["function"]["name"] == "apply_patch")
    assert orjson.loads(sent["arguments"]) == {"input": call.arguments}


def test_what_was_left_out_is_named(live: Live) -> None:
    answer = live.post("responses", {**RESPONSES, "model": "strict:main"})
    named = answer.headers["x-polyvox-losses"]
    for field in ("prompt_cache_key", "verbosity", "reasoning_effort", "role"):
        assert field in named


def test_an_operators_refusal_is_obeyed(live: Live, strict: StrictServer) -> None:
    ask(live, "chat", {**CHAT, "model": "strict-thinker:main"})
    assert "stream_options" not in strict.bodies[0]


SEARCHES: dict[str, tuple[dict[str, Any], dict[str, Any], dict[str, Any]]] = {
    "chat": (
        {"type": "web_search", "web_search": {"name": "web_search"}},
        {"type": "function", "function": {"name": "look"}},
        {"type": "web_search", "web_search": {"name": "web_search"}},
    ),
    "responses": (
        {"type": "web_search"},
        {"type": "function", "name": "look", "parameters": {"type": "object"}},
        {"type": "web_search"},
    ),
    "messages": (
        {"type": "web_search_20250305", "name": "web_search"},
        {"name": "look", "input_schema": {"type": "object"}},
        {"type": "tool", "name": "web_search"},
    ),
}
"""A tool that only the client's own provider runs, another tool, and the choice of the first."""


@pytest.mark.parametrize(
    ("protocol", "upstream"),
    [
        ("responses", "strict"),
        ("messages", "strict"),
        ("chat", "sim-responses"),
        ("messages", "sim-responses"),
        ("chat", "sim-messages"),
        ("responses", "sim-messages"),
    ],
)
def test_a_choice_of_a_tool_that_was_left_out_is_the_models(
    live: Live, protocol: str, upstream: str
) -> None:
    search, function, choice = SEARCHES[protocol]
    document = {**REQUESTS[protocol], "tools": [search, function], "tool_choice": choice}
    document.pop("thinking", None)
    answer = live.post(protocol, {**document, "model": f"{upstream}:main"})
    assert answer.status_code == 200, answer.text
    assert "tool_choice" in answer.headers["x-polyvox-losses"]
