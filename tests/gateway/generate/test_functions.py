"""The predecessor of tools in Chat, over providers of all three protocols."""

from typing import Any

import orjson
import pytest

from tests.programs.clients import CITY, Client
from tests.programs.running import PROTOCOLS, Live

over_all = pytest.mark.parametrize("protocol", PROTOCOLS)

WEATHER = {"name": "weather", "description": "Tell the weather.", "parameters": CITY}
QUESTION = [{"role": "user", "content": "What is the weather in Paris?"}]


def body(protocol: str, **fields: Any) -> dict[str, Any]:
    said = {"model": f"sim-{protocol}:main", "messages": QUESTION, "functions": [WEATHER]}
    return {**said, "function_call": {"name": "weather"}, **fields}


@over_all
def test_a_function_is_called_and_answered(live: Live, protocol: str) -> None:
    """The call comes without an id, and its result finds it by the function's name."""
    choice = live.post("chat", body(protocol)).json()["choices"][0]
    message = choice["message"]
    assert choice["finish_reason"] == "function_call"
    assert "tool_calls" not in message
    assert message["function_call"]["name"] == "weather"
    assert set(orjson.loads(message["function_call"]["arguments"])) == {"city"}
    result = {"role": "function", "name": "weather", "content": "The sun shines."}
    told = [*QUESTION, message, result, message, {**result, "content": "It rains."}]
    then = live.post("chat", body(protocol, messages=told, function_call="none")).json()
    assert then["choices"][0]["finish_reason"] == "stop"
    assert "It rains." in then["choices"][0]["message"]["content"]


@over_all
def test_a_streamed_call_is_the_same(live: Live, protocol: str) -> None:
    """Its name first, then its arguments in pieces."""
    client = Client("chat", live.base_url)
    chunks = list(client.sdk.chat.completions.create(**body(protocol), stream=True))
    client.close()
    said = [chunk.choices[0] for chunk in chunks]
    pieces = [choice.delta.function_call for choice in said if choice.delta.function_call]
    assert pieces[0].name == "weather"
    assert orjson.loads("".join(piece.arguments or "" for piece in pieces)).keys() == {"city"}
    assert not any(choice.delta.tool_calls for choice in said)
    assert said[-1].finish_reason == "function_call"


@pytest.mark.parametrize("functions", [5, ["x"], [{"name": 5}], [{}]])
def test_ill_typed_functions_are_refused(live: Live, functions: Any) -> None:
    answer = live.post("chat", body("chat", functions=functions))
    assert answer.status_code == 400
    assert answer.json()["error"]["type"] == "invalid_request_error"
