"""Every endpoint of the three protocols, row by row, as a client that has only HTTP sees it.

One test a row, named after it. What an endpoint does beyond its shape is tested where the reference
below says.
"""

from typing import Any

import httpx
import orjson
import pytest

from tests.programs.running import KEY, LIMIT_S, Live, until

RESPONSE = {"model": "plain-chat", "input": "hello there"}
CHAT = {"model": "plain-chat", "messages": [{"role": "user", "content": "hello there"}]}
MESSAGE = {**CHAT, "max_tokens": 100}

VERSIONS = ("2023-06-01", "2026-10-21")


def ask(live: Live, method: str, path: str, body: Any = None, **headers: str) -> httpx.Response:
    return httpx.request(
        method,
        live.base_url + path,
        json=body,
        headers=headers or {"authorization": f"Bearer {KEY}"},
        timeout=LIMIT_S,
        trust_env=False,
    )


def made(live: Live, **request: Any) -> dict[str, Any]:
    answer = ask(live, "POST", "/v1/responses", {**RESPONSE, **request})
    assert answer.status_code == 200, answer.text
    document: dict[str, Any] = answer.json()
    return document


def error_of(answer: httpx.Response) -> dict[str, Any]:
    error: dict[str, Any] = answer.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    return error


def events(answer: httpx.Response) -> list[dict[str, Any]]:
    assert answer.headers["content-type"].startswith("text/event-stream")
    lines = [
        line.removeprefix("data: ") for line in answer.text.splitlines() if line[:5] == "data:"
    ]
    return [orjson.loads(line) for line in lines if line != "[DONE]"]


def streamed(live: Live) -> str:
    """Make a background response with a stream; return its id once it has ended."""
    begun = events(
        ask(live, "POST", "/v1/responses", {**RESPONSE, "background": True, "stream": True})
    )
    response_id = str(begun[0]["response"]["id"])
    path = f"/v1/responses/{response_id}"
    until(lambda: ask(live, "GET", path).json()["status"] == "completed", f"{path} goes on")
    return response_id


def test_post_responses(live: Live) -> None:
    """``test_combinations`` tells what it answers, ``test_responses_state`` what is kept."""
    said = made(live)
    assert (said["object"], said["status"], said["store"]) == ("response", "completed", True)
    answer = ask(live, "POST", "/v1/responses", {**RESPONSE, "stream": True})
    kinds = [event["type"] for event in events(answer)]
    assert (kinds[0], kinds[-1]) == ("response.created", "response.completed")
    assert answer.text.endswith("data: [DONE]\n\n")


def test_get_response(live: Live) -> None:
    """Also with every query parameter there is; ``test_included`` and ``test_background`` go on."""
    said = made(live)
    path = f"/v1/responses/{said['id']}"
    assert ask(live, "GET", path).json() == said
    query = "?include[]=reasoning.encrypted_content&include_obfuscation=false&stream=false"
    assert ask(live, "GET", path + query).json() == said
    path = f"/v1/responses/{streamed(live)}?stream=true&include_obfuscation=true"
    whole = events(ask(live, "GET", path))
    assert [event["sequence_number"] for event in whole] == list(range(len(whole)))
    assert events(ask(live, "GET", f"{path}&starting_after=2")) == whole[3:]
    assert error_of(ask(live, "GET", f"{path}&starting_after=x"))["param"] == "starting_after"


def test_delete_response(live: Live) -> None:
    response_id = made(live)["id"]
    path = f"/v1/responses/{response_id}"
    gone = {"id": response_id, "object": "response", "deleted": True}
    assert ask(live, "DELETE", path).json() == gone
    assert ask(live, "GET", path).status_code == 404


def test_cancel_response(live: Live) -> None:
    """Only one in the background, and none that has ended changes by it."""
    refused = ask(live, "POST", f"/v1/responses/{made(live)['id']}/cancel")
    assert refused.status_code == 400
    assert "background=true" in error_of(refused)["message"]
    response_id = streamed(live)
    ended = ask(live, "POST", f"/v1/responses/{response_id}/cancel")
    assert (ended.status_code, ended.json()["status"]) == (200, "completed")


def test_get_input_items(live: Live) -> None:
    """In pages: 20 or ``limit``, newest first or ``order``, behind ``after``."""
    spoken = [{"role": "user", "content": f"word {number}"} for number in range(25)]
    path = f"/v1/responses/{made(live, input=spoken)['id']}/input_items"
    first = ask(live, "GET", path).json()
    assert set(first) == {"object", "data", "first_id", "last_id", "has_more"}
    assert (first["object"], len(first["data"]), first["has_more"]) == ("list", 20, True)
    assert first["data"][0]["content"][0]["text"] == "word 24"
    rest = ask(live, "GET", f"{path}?after={first['last_id']}").json()
    assert (len(rest["data"]), rest["has_more"]) == (5, False)
    oldest = ask(live, "GET", f"{path}?order=asc&limit=2&include[]=message.input_image.image_url")
    assert [item["content"][0]["text"] for item in oldest.json()["data"]] == ["word 0", "word 1"]
    for query, param in (("limit=0", "limit"), ("limit=101", "limit"), ("order=up", "order")):
        refused = ask(live, "GET", f"{path}?{query}")
        assert (refused.status_code, error_of(refused)["param"]) == (400, param)


def test_post_input_tokens(live: Live) -> None:
    counted = ask(live, "POST", "/v1/responses/input_tokens", RESPONSE).json()
    assert set(counted) == {"object", "input_tokens"}
    assert counted["object"] == "response.input_tokens"
    assert counted["input_tokens"] > 0


def test_post_compact(live: Live) -> None:
    """``test_responses_state`` goes on from what it gives."""
    compacted = ask(live, "POST", "/v1/responses/compact", RESPONSE).json()
    assert set(compacted) == {"id", "object", "created_at", "output", "usage"}
    assert compacted["object"] == "response.compaction"
    assert [item["type"] for item in compacted["output"]] == ["message", "compaction"]
    assert ask(live, "POST", "/v1/responses/compact", {"input": "x"}).status_code == 400


def test_websocket_responses(live: Live) -> None:
    """Without an upgrade it is 426, at which agents go on over HTTP; see ``test_websocket``."""
    plain = ask(live, "GET", "/v1/responses")
    assert (plain.status_code, plain.headers["upgrade"]) == (426, "websocket")


def test_post_chat_completions(live: Live) -> None:
    said = ask(live, "POST", "/v1/chat/completions", CHAT).json()
    assert (said["object"], said["choices"][0]["finish_reason"]) == ("chat.completion", "stop")
    answer = ask(live, "POST", "/v1/chat/completions", {**CHAT, "stream": True})
    assert {chunk["object"] for chunk in events(answer)} == {"chat.completion.chunk"}
    assert answer.text.endswith("data: [DONE]\n\n")


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", ""),
        ("GET", "/chatcmpl-1"),
        ("POST", "/chatcmpl-1"),
        ("DELETE", "/chatcmpl-1"),
        ("GET", "/chatcmpl-1/messages"),
    ],
)
def test_stored_chat_completions(live: Live, method: str, path: str) -> None:
    """They are not kept here, and the error says what is."""
    body = {**CHAT, "store": True}
    assert ask(live, "POST", "/v1/chat/completions", body).status_code == 200
    refused = ask(live, method, f"/v1/chat/completions{path}")
    assert refused.status_code == 404
    assert "/v1/responses" in error_of(refused)["message"]


@pytest.mark.parametrize("path", ["/v1/messages", "/v1/messages?beta=true"])
@pytest.mark.parametrize("version", VERSIONS)
def test_post_messages(live: Live, path: str, version: str) -> None:
    """Whatever the query says, in both versions of the API."""
    headers = {"x-api-key": KEY, "anthropic-version": version}
    said = ask(live, "POST", path, MESSAGE, **headers).json()
    assert (said["type"], said["role"], said["stop_reason"]) == ("message", "assistant", "end_turn")
    answer = ask(live, "POST", path, {**MESSAGE, "stream": True}, **headers)
    kinds = [event["type"] for event in events(answer)]
    assert (kinds[0], kinds[-1]) == ("message_start", "message_stop")


@pytest.mark.parametrize("version", VERSIONS)
def test_post_count_tokens(live: Live, version: str) -> None:
    """The same body, without an output limit; with a query or without."""
    for path in ("/v1/messages/count_tokens", "/v1/messages/count_tokens?beta=true"):
        counted = ask(
            live, "POST", path, CHAT, **{"x-api-key": KEY, "anthropic-version": version}
        ).json()
        assert set(counted) == {"input_tokens"}
        assert counted["input_tokens"] > 0


def test_get_models(live: Live) -> None:
    """The header ``anthropic-version`` tells whose shape; see ``test_models``."""
    ours = ask(live, "GET", "/v1/models").json()
    assert ours["object"] == "list"
    assert "has_more" not in ours
    for version in VERSIONS:
        headers = {"authorization": f"Bearer {KEY}", "anthropic-version": version}
        theirs = ask(live, "GET", "/v1/models?limit=1000", **headers).json()
        assert set(theirs) == {"data", "has_more", "first_id", "last_id"}
        assert [m["id"] for m in theirs["data"]] == [m["id"] for m in ours["data"]]


def test_get_model(live: Live) -> None:
    """An unknown one is a 404 in the shape that was asked for."""
    assert ask(live, "GET", "/v1/models/plain-chat").json()["object"] == "model"
    unknown = ask(live, "GET", "/v1/models/none")
    assert (unknown.status_code, error_of(unknown)["code"]) == (404, "model_not_found")
    headers = {"x-api-key": KEY, "anthropic-version": VERSIONS[0]}
    assert ask(live, "GET", "/v1/models/plain-chat", **headers).json()["type"] == "model"
    unknown = ask(live, "GET", "/v1/models/none", **headers)
    assert (unknown.status_code, unknown.json()["error"]["type"]) == (404, "not_found_error")


@pytest.mark.parametrize("path", ["/", "/api/hello"])
def test_head(live: Live, path: str) -> None:
    """Claude Code looks whether there is anybody, before it has a key to show."""
    assert httpx.head(live.base_url + path, trust_env=False).status_code == 200


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/responses", RESPONSE),
        ("/v1/responses/input_tokens", RESPONSE),
        ("/v1/chat/completions", CHAT),
        ("/v1/messages", MESSAGE),
        ("/v1/messages/count_tokens", CHAT),
        ("/v1/models", None),
        ("/v1/models/plain-chat", None),
    ],
)
def test_either_header_opens_every_route(live: Live, path: str, body: Any) -> None:
    """A key does not tell the protocol: newer Anthropic libraries send a bearer token too."""
    method = "GET" if body is None else "POST"
    for headers in ({"authorization": f"Bearer {KEY}"}, {"x-api-key": KEY}):
        assert ask(live, method, path, body, **headers).status_code == 200
    refused = ask(live, method, path, body, authorization="Bearer wrong")
    assert refused.status_code == 401
    assert refused.headers["request-id"] == refused.headers["x-request-id"]
    if "messages" in path:
        assert refused.json()["request_id"] == refused.headers["request-id"]
