"""Codex with a wrong key, over HTTP and over a WebSocket: it stops at once and says why."""

import httpx
import orjson
import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from tests.gateway.generate.test_failures import request
from tests.programs.running import KEY, PATHS, Live

CODEX = "codex_exec/0.169.0 (Debian 12.0.0; x86_64) dumb (codex_exec; 0.169.0)"


def posted(live: Live, model: str, key: str, agent: str = CODEX) -> httpx.Response:
    return httpx.post(
        live.base_url + PATHS["responses"],
        json=request("responses", model, stream=True),
        headers={"authorization": f"Bearer {key}", "user-agent": agent},
        timeout=60,
        trust_env=False,
    )


def test_a_wrong_key_ends_codex_at_once(live: Live) -> None:
    """The only status after which it does not try again, with a message that says what to do."""
    answer = posted(live, "sim-responses:main", "of-somebody-else")
    assert answer.status_code == 400
    error = answer.json()["error"]
    assert (error["type"], error["code"]) == ("invalid_request_error", "invalid_api_key")
    assert "polyvox keys create" in error["message"]


def test_another_client_with_a_wrong_key_gets_the_usual_status(live: Live) -> None:
    """The SDK makes an AuthenticationError of it."""
    answer = posted(live, "sim-responses:main", "of-somebody-else", "OpenAI/Python 3.54.0")
    assert answer.status_code == 401
    assert answer.json()["error"]["type"] == "authentication_error"


def test_a_wrong_key_of_the_server_ends_codex_at_once(live: Live) -> None:
    """The provider's 401 would be repeated six times, and run the flow each time."""
    answer = posted(live, "refused-responses:main", KEY)
    assert answer.status_code == 400
    assert "rejects the server's key" in answer.json()["error"]["message"]


def test_a_wrong_key_sends_codex_from_the_websocket_to_http(live: Live) -> None:
    """At a 426 it falls back at once; after other statuses it tries seven times."""
    url = live.base_url.replace("http", "ws", 1) + PATHS["responses"]
    headers = {"authorization": "Bearer of-somebody-else"}
    with (
        pytest.raises(InvalidStatus) as refused,
        connect(url, additional_headers=headers, user_agent_header=CODEX),
    ):
        pass
    assert refused.value.response.status_code == 426
    assert orjson.loads(refused.value.response.body)["error"]["code"] == "invalid_api_key"
