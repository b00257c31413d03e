"""Requests that never become a call: the refusal is the client's own protocol's."""

from typing import Any

import httpx
import pytest

from tests.gateway.generate.test_failures import request
from tests.programs.running import KEY, MAX_BODY_MIB, PATHS, PROTOCOLS, Live

protocols = pytest.mark.parametrize("protocol", PROTOCOLS)
streams = pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])


def send(live: Live, protocol: str, **options: Any) -> httpx.Response:
    headers = {"x-api-key": KEY, "content-type": "application/json", **options.pop("headers", {})}
    return httpx.post(
        live.base_url + PATHS[protocol], headers=headers, timeout=30, trust_env=False, **options
    )


def refusal(protocol: str, answer: httpx.Response) -> dict[str, Any]:
    """Return the error object, after a look at its frame."""
    document = answer.json()
    assert answer.headers["content-type"].startswith("application/json")
    error: dict[str, Any] = document["error"]
    if protocol == "messages":
        assert document["type"] == "error"
    else:
        assert set(error) == {"message", "type", "param", "code"}
    assert error["type"]
    return error


@streams
@protocols
def test_an_unknown_model_is_told_what_there_is(live: Live, protocol: str, stream: bool) -> None:
    """404 (in Responses 400, as OpenAI has it), with the names that would have been known."""
    answer = live.post(protocol, request(protocol, "no-such-model", stream=stream))
    assert answer.status_code == (400 if protocol == "responses" else 404)
    message = refusal(protocol, answer)["message"]
    assert "'no-such-model'" in message
    assert "panel-auto" in message
    assert "sim-chat" in message


@pytest.mark.parametrize("headers", [{}, {"x-api-key": "of-somebody-else"}])
@streams
@protocols
def test_without_a_good_key_nothing_is_read(
    live: Live, protocol: str, stream: bool, headers: dict[str, str]
) -> None:
    """401 in the protocol's own shape, and how to send a key."""
    answer = httpx.post(
        live.base_url + PATHS[protocol],
        headers=headers,
        json=request(protocol, "sim-chat:main", stream=stream),
        trust_env=False,
    )
    assert answer.status_code == 401
    assert "Authorization: Bearer" in refusal(protocol, answer)["message"]


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b'{"model": "sim-chat:main", "messages": [', "not valid JSON"),
        (b"\xff\xfe{}", "not valid JSON"),
        (b'{"model": "m", "metadata": ' + b"[" * 200 + b"]" * 200 + b"}", "nested deeper than 128"),
        (b"", "not valid JSON"),
        (b"[]", "JSON object, not list"),
        (b'"hello"', "JSON object, not str"),
        (b"null", "JSON object, not NoneType"),
    ],
)
@protocols
def test_a_body_that_is_no_json_object_is_refused(
    live: Live, protocol: str, body: bytes, says: str
) -> None:
    """400 that says what the body is instead."""
    answer = send(live, protocol, content=body)
    assert answer.status_code == 400
    assert says in refusal(protocol, answer)["message"]


@pytest.mark.parametrize(
    "changes",
    [
        {"model": 7},
        {"model": ""},
        {"model": None},
        {"messages": "hello", "input": {"text": "hello"}},
        {"messages": [], "input": 7},
        {"messages": [7], "input": [7]},
        {"messages": [{"role": "user", "content": 7}], "input": [{"role": "user", "content": 7}]},
        {"stream": "yes"},
        {"tools": {"name": "x"}},
        {"tools": [7]},
        {"temperature": "hot"},
    ],
    ids=str,
)
@protocols
def test_wrong_types_are_named(live: Live, protocol: str, changes: dict[str, Any]) -> None:
    """400 whose message names the field."""
    document = request(protocol, "sim-chat:main", stream=False)
    known = {
        name: value
        for name, value in changes.items()
        if name in document or name not in ("messages", "input")
    }
    answer = live.post(protocol, {**document, **known})
    assert answer.status_code == 400, answer.text
    (field,) = known
    assert field in str(refusal(protocol, answer))


def too_long(pieces: int) -> Any:
    for _ in range(pieces):
        yield b" " * 1024 * 1024


@pytest.mark.parametrize("announced", [True, False], ids=["announced", "chunked"])
@protocols
def test_a_body_over_the_limit_is_refused(live: Live, protocol: str, announced: bool) -> None:
    """413 that names the limit and its setting, whether or not the length was announced."""
    mib = MAX_BODY_MIB + 1
    content = b" " * mib * 1024 * 1024 if announced else too_long(mib)
    answer = send(live, protocol, content=content)
    assert answer.status_code == 413
    message = refusal(protocol, answer)["message"]
    assert f"{MAX_BODY_MIB} MiB" in message
    assert "max_body_mib" in message


@pytest.mark.parametrize(
    ("path", "headers", "shape"),
    [
        ("/v1/nothing", {}, "openai"),
        ("/v1/nothing", {"anthropic-version": "2023-06-01"}, "anthropic"),
        ("/v1/messages/nothing", {}, "anthropic"),
        ("/v1/models/nothing", {}, "openai"),
        ("/v1/models/nothing", {"anthropic-version": "2023-06-01"}, "anthropic"),
    ],
)
def test_an_unknown_path_is_a_typed_404(
    live: Live, path: str, headers: dict[str, str], shape: str
) -> None:
    """Also where no protocol is, the client finds an error it can read."""
    answer = httpx.get(live.base_url + path, headers={"x-api-key": KEY, **headers}, trust_env=False)
    assert answer.status_code == 404
    refusal("messages" if shape == "anthropic" else "chat", answer)


@protocols
def test_a_wrong_method_is_a_typed_405(live: Live, protocol: str) -> None:
    """PUT is nobody's method here."""
    answer = httpx.put(live.base_url + PATHS[protocol], trust_env=False)
    assert answer.status_code == 405
    refusal(protocol, answer)
