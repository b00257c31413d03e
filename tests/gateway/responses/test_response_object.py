"""The Response object repeats the provider's word where the provider answers alone."""

from collections.abc import Iterator
from typing import Any

import orjson
import pytest

from tests.programs.recording_provider import (
    Received,
    RecordingProvider,
    recording_provider,
    responses_answer,
)
from tests.programs.running import Live, live_program, until

SCHEMA = {"type": "object", "properties": {}}
ASKED: dict[str, Any] = {
    "input": "hi",
    "temperature": 0.5,
    "reasoning": {"summary": "auto"},
    "text": {"verbosity": "low"},
    "service_tier": "auto",
    "tool_choice": "auto",
    "tools": [
        {"type": "web_search"},
        {"type": "function", "name": "f", "parameters": SCHEMA},
        {
            "type": "mcp",
            "server_label": "d",
            "server_url": "https://d/x",
            "authorization": "secret-token",
        },
    ],
}
SAID: dict[str, Any] = {
    "temperature": 1.0,
    "top_p": 0.98,
    "reasoning": {"effort": "medium", "summary": "detailed"},
    "text": {"format": {"type": "text"}, "verbosity": "medium"},
    "service_tier": "default",
    "max_output_tokens": 500,
    "parallel_tool_calls": False,
    "truncation": "auto",
    "new": {"a": 1},
    "tools": [
        {"type": "web_search", "search_context_size": "medium", "user_location": None},
        {"type": "function", "name": "f", "parameters": SCHEMA, "strict": True},
        {
            "type": "mcp",
            "server_label": "d",
            "server_url": "https://d/x",
            "authorization": "secret-token",
            "require_approval": "always",
        },
    ],
}
SHOWN_TOOLS = [
    SAID["tools"][0],
    {**SAID["tools"][1], "description": None},
    {**SAID["tools"][2], "server_url": "https://d/<redacted>", "authorization": "<redacted>"},
]


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    def answer(_: Received) -> tuple[int, Any]:
        return 200, responses_answer(**SAID)

    served: RecordingProvider
    with recording_provider(answer) as served:
        table = f'[providers.own]\nprotocol = "responses"\nbase_url = "{served.url}"\n'
        table += '[models.checked]\nflow = "fusion"\n[models.checked.params]\nmain = "own:m"\n'
        table += 'judge = "own:m"\npanel = ["own:m"]\nmode = "off"\n'
        with live_program(tmp_path_factory.mktemp("own"), served.url, more=table) as live:
            yield live


def objects(program: Live, model: str, **request: Any) -> list[dict[str, Any]]:
    """Return every response object of an answer, in order, and then as it is stored."""
    answer = program.post("responses", {"model": model, **ASKED, **request})
    assert answer.status_code == 200
    if request.get("stream"):
        lines = [line.removeprefix("data: ") for line in answer.text.split("\n")]
        events = [orjson.loads(line) for line in lines if line.startswith("{")]
        found = [event["response"] for event in events if "response" in event]
        assert len(found) == 3
    else:
        found = [answer.json()]
    return [*found, program.ask(f"/v1/responses/{found[-1]['id']}").json()]


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
def test_every_object_repeats_the_providers_word(program: Live, stream: bool) -> None:
    """From the first event on, and when it is read again."""
    for found in objects(program, "own:m", stream=stream):
        said = {name: value for name, value in SAID.items() if name != "tools"}
        assert {name: found.get(name) for name in said} == said
        assert found["tools"] == SHOWN_TOOLS
        assert found["model"] == "own:m"
        assert found["id"].startswith("resp_run_")
        assert found["store"] is True


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
def test_a_flow_repeats_the_clients_request(program: Live, stream: bool) -> None:
    """It may have asked with other tools and settings."""
    for found in objects(program, "checked", stream=stream):
        assert found["temperature"] == 0.5
        assert found["tool_choice"] == "auto"
        assert found["max_output_tokens"] is None
        assert found["tools"][0] == {"type": "web_search"}


def test_a_background_response_has_the_providers_word_at_its_end(program: Live) -> None:
    """It begins before the provider is asked."""
    begun = program.post("responses", {"model": "own:m", **ASKED, "background": True}).json()
    program.ended(begun["id"].removeprefix("resp_"))

    def look() -> Any:
        found = program.ask(f"/v1/responses/{begun['id']}").json()
        return found if found["status"] == "completed" else None

    found = until(look, "it has not been completed")
    assert found["tools"] == SHOWN_TOOLS
    assert found["reasoning"] == SAID["reasoning"]
