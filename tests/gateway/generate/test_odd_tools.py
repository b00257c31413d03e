"""Tools with odd names, and calls with ids that repeat, through flows and over all protocols."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from polyvox.worker.engine.ports import free_port
from polyvox.workflows.conversation import Json
from polyvox.workflows.events import fold
from tests.crossing.passages import decode, split
from tests.programs.running import ENVIRON, Live, live_program
from tests.programs.scripted_answers import Scripted, chat_answer, messages_answer, scripted

ODD = ("fs.read", "fs/read")
SCHEMA = {"type": "object", "properties": {"path": {"type": "string"}}, "required": ["path"]}
MODELS = """
[models.odd-{protocol}]
flow = "direct"
params = {{ model = "scripted-{protocol}:m" }}
[models.odd-verified-{protocol}]
flow = "verify"
params = {{ model = "scripted-{protocol}:m" }}
[providers.scripted-{protocol}]
protocol = "{protocol}"
base_url = "{url}"
"""


def answers(body: Json) -> list[Json]:
    """Call every tool that is offered, all with one id."""
    given = {"path": "a"}
    if "max_tokens" in body:
        calls = [
            {"type": "tool_use", "id": "same", "name": tool["name"], "input": given}
            for tool in body["tools"]
        ]
        return messages_answer(*calls)
    names = [tool["function"]["name"] for tool in body["tools"]]
    functions = [{"name": name, "arguments": '{"path": "a"}'} for name in names]
    return chat_answer(calls=[{"id": "same", "type": "function", "function": f} for f in functions])


@contextmanager
def program(folder: Path, provider: Scripted) -> Iterator[Live]:
    environ = {"PATH": os.environ["PATH"], "HOME": os.environ["HOME"], **ENVIRON}
    more = "".join(MODELS.format(protocol=p, url=provider.url) for p in ("chat", "messages"))
    with live_program(folder, f"http://127.0.0.1:{free_port()}/v1", environ, more) as live:
        yield live


def request(client: str, model: str, *, stream: bool) -> Json:
    functions = [{"name": name, "parameters": SCHEMA} for name in ODD]
    body: Json = {"model": model, "stream": stream}
    question = [{"role": "user", "content": "Read."}]
    if client == "responses":
        tools: list[Json] = [{"type": "function", **function} for function in functions]
        return {**body, "input": question, "tools": tools}
    tools = [{"type": "function", "function": function} for function in functions]
    return {**body, "messages": question, "tools": tools}


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    folder = tmp_path_factory.mktemp("odd")
    with scripted(answers) as provider, program(folder, provider) as live:
        yield live


@pytest.mark.parametrize("flow", ["odd", "odd-verified"])
@pytest.mark.parametrize(
    ("client", "over"), [("chat", "messages"), ("responses", "messages"), ("responses", "chat")]
)
def test_the_client_gets_its_own_names_and_different_ids(
    live: Live, client: str, over: str, flow: str
) -> None:
    """Streamed and whole; ``verify`` finds the tools, whose arguments it checks."""
    whole = live.post(client, request(client, f"{flow}-{over}", stream=False))
    assert whole.status_code == 200, whole.text
    streamed = live.post(client, request(client, f"{flow}-{over}", stream=True))
    document = whole.json()
    if client == "chat":
        calls = document["choices"][0]["message"]["tool_calls"]
        found = [(call["id"], call["function"]["name"]) for call in calls]
    else:
        found = [(item["call_id"], item["name"]) for item in document["output"]]
    assert found == [("same", ODD[0]), ("same_2", ODD[1])]
    reply = fold(decode(client, split(streamed.content)))
    assert [(call.id, call.name) for call in reply.tool_calls] == found
