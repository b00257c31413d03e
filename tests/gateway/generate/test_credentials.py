"""Credentials in a request reach the provider and nobody else."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.programs.commands import told
from tests.programs.recording_provider import (
    ANSWERS,
    Received,
    RecordingProvider,
    recording_provider,
)
from tests.programs.running import PROTOCOLS, Live, live_program

CANARY = "canary-Zq8Xw2"
"""Every credential begins with it."""

MCP = {
    "type": "mcp",
    "server_label": "docs",
    "server_url": f"https://user:{CANARY}-0@mcp.example.com:8443/{CANARY}-1/mcp?k={CANARY}-2",
    "authorization": f"{CANARY}-3",
    "headers": {"X-Any": f"{CANARY}-4"},
    "require_approval": "never",
}
SHOWN_MCP = {
    **MCP,
    "server_url": "https://mcp.example.com:8443/<redacted>",
    "authorization": "<redacted>",
    "headers": {"X-Any": "<redacted>"},
}
CONNECTOR = {
    "type": "mcp",
    "server_label": "mail",
    "connector_id": "connector_gmail",
    "authorization": f"Bearer {CANARY}-5",
}
SERVERS = [
    {
        "type": "url",
        "name": "docs",
        "url": f"https://mcp.example.com/{CANARY}-6",
        "authorization_token": f"{CANARY}-7",
    }
]
SOURCES = [
    {
        "type": "azure_search",
        "parameters": {
            "endpoint": f"https://search.example.com/?sig={CANARY}-8",
            "authentication": {"type": "api_key", "key": f"{CANARY}-9"},
            "index_name": "docs",
        },
    }
]
REQUESTS: dict[str, dict[str, Any]] = {
    "chat": {
        "messages": [{"role": "user", "content": "hi"}],
        "tools": [MCP],
        "data_sources": SOURCES,
    },
    "responses": {
        "input": [
            {"type": "additional_tools", "role": "developer", "tools": [CONNECTOR]},
            {"role": "user", "content": "hi"},
        ],
        "tools": [MCP],
    },
    "messages": {
        "messages": [{"role": "user", "content": "hi"}],
        "max_tokens": 100,
        "mcp_servers": SERVERS,
        "tools": [{"type": "mcp_toolset", "mcp_server_name": "docs"}],
    },
}


@pytest.fixture(scope="module")
def provider() -> Iterator[RecordingProvider]:
    with recording_provider(_echoing) as served:
        yield served


def _echoing(received: Received) -> tuple[int, Any]:
    """Answer with what was received: in the text, and in the object of Responses."""
    kind = {"chat/completions": "chat", "responses": "responses", "messages": "messages"}
    protocol = kind[received.path.removeprefix("/v1/")]
    echo = json.dumps(received.body.get("tools")) + json.dumps(received.body)
    if "fail" in received.body["model"]:
        return 400, {"error": {"message": f"bad tool: {echo}", "type": "invalid_request_error"}}
    said = {"tools": received.body.get("tools", [])} if protocol == "responses" else {}
    return 200, ANSWERS[protocol](f"I got {echo}", **said)


@pytest.fixture(scope="module")
def program(
    tmp_path_factory: pytest.TempPathFactory, provider: RecordingProvider
) -> Iterator[Live]:
    tables = [
        f'[providers.own-{p}]\nprotocol = "{p}"\nbase_url = "{provider.url}"\n' for p in PROTOCOLS
    ]
    folder = tmp_path_factory.mktemp("credentials")
    with live_program(folder, provider.url, more="\n".join(tables)) as live:
        yield live


@pytest.mark.parametrize("model", ["m", "fail"])
@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_the_provider_gets_the_original_and_nobody_sees_it(
    program: Live, provider: RecordingProvider, protocol: str, stream: bool, model: str
) -> None:
    """Not in the answer, though the provider repeats it, nor in anything that is stored."""
    provider.received.clear()
    request = {"model": f"own-{protocol}:{model}", "stream": stream, **REQUESTS[protocol]}
    answer = program.post(protocol, request)
    sent = provider.received[0].body
    for name in ("tools", "mcp_servers", "data_sources"):
        assert sent.get(name) == REQUESTS[protocol].get(name)
    assert answer.status_code == (400 if model == "fail" else 200)
    assert CANARY not in answer.text
    run = program.ended(answer.headers["x-polyvox-run"])
    assert CANARY not in json.dumps(run)
    assert not _found(program.data)


def test_a_response_shows_what_is_not_secret(program: Live, provider: RecordingProvider) -> None:
    """In the answer, when it is read again, and in the list of its input."""
    provider.received.clear()
    answer = program.post("responses", {"model": "own-responses:m", **REQUESTS["responses"]})
    response = answer.json()
    assert response["tools"] == [SHOWN_MCP]
    found = program.ask(f"/v1/responses/{response['id']}").json()
    assert found["tools"] == [SHOWN_MCP]
    items = program.ask(f"/v1/responses/{response['id']}/input_items?order=asc").json()["data"]
    assert items[0]["tools"] == [{**CONNECTOR, "authorization": "<redacted>"}]
    assert provider.received[0].body["input"][0] == REQUESTS["responses"]["input"][0]


def test_a_continued_response_sends_the_original_again(
    program: Live, provider: RecordingProvider
) -> None:
    """The tools of an earlier turn are part of its conversation."""
    first = program.post("responses", {"model": "own-responses:m", **REQUESTS["responses"]}).json()
    provider.received.clear()
    request = {"model": "own-responses:m", "previous_response_id": first["id"], "input": "again"}
    assert program.post("responses", request).status_code == 200
    assert provider.received[0].body["input"][0] == REQUESTS["responses"]["input"][0]
    assert not _found(program.data)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_repeated_run_sends_the_original_again(
    program: Live, provider: RecordingProvider, protocol: str
) -> None:
    """From what is stored."""
    answer = program.post(protocol, {"model": f"own-{protocol}:m", **REQUESTS[protocol]})
    run_id = answer.headers["x-polyvox-run"]
    program.ended(run_id)
    provider.received.clear()
    assert CANARY not in told(
        program, "runs", "rerun", run_id, "--set", f"model=own-{protocol}:other"
    )
    sent = provider.received[0].body
    for name in ("tools", "mcp_servers", "data_sources"):
        assert sent.get(name) == REQUESTS[protocol].get(name)


def _found(data: Path) -> list[str]:
    """Return the files that contain a credential."""
    files = [file for file in data.rglob("*") if file.is_file()]
    return [str(file) for file in files if CANARY.encode() in file.read_bytes()]
