"""What the error of a provider says, to clients of every protocol."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from tests.gateway.generate.test_failures import error_in, error_of, request
from tests.programs.failing_provider import KEY
from tests.programs.running import PATHS, PROTOCOLS, Live

protocols = pytest.mark.parametrize("protocol", PROTOCOLS)

SAYS = {
    "bare": ("Not Found", "base_url to '{url}/bare/v1'"),
    "text": ("404 page not found", "base_url to '{url}/text'"),
    "page": ("a web page with status 404", "base_url to '{url}/page'"),
    "start": ("text/html", "base_url to '{url}/start'"),
    "get": ("Method Not Allowed", "base_url to '{url}/get'"),
    "moved": ("status 308", "base_url to 'https://elsewhere.test/v1'"),
    "key": ("rejects the server's key", "Set FAILING_KEY to a valid key"),
    "gemini": ("rejects the server's key", "Set FAILING_KEY to a valid key"),
    "model": (
        "does not exist",
        "It has no model 'm': take a name that {url}/model/v1/models lists",
    ),
    "deepseek": ("Model Not Exist", "It has no model 'm'"),
    "poor": ("Insufficient Balance", "the account that the key in FAILING_KEY belongs to"),
    "denied": ("may not use", "Check what the key in FAILING_KEY is allowed to use"),
    "long": ("longer than the model's context length", ""),
    "rate": ("Slow down.", ""),
}
"""What the provider said, and what to do."""


def asked(live: Live, protocol: str, model: str, *, stream: bool = True) -> httpx.Response:
    return live.post(protocol, request(protocol, model, stream=stream))


@protocols
@pytest.mark.parametrize("kind", SAYS)
def test_an_error_names_provider_address_and_remedy(
    live: Live, failing: str, protocol: str, kind: str
) -> None:
    """For providers of each protocol, and without the key, users or queries of an address."""
    name = f"{kind}-{protocol}"
    answer = asked(live, "chat", f"{name}:m")
    message = error_of("chat", answer.json())["message"]
    base = f"{failing}/{kind}" if kind == "bare" else f"{failing}/{kind}/v1"
    address = base + PATHS[protocol].removeprefix("/v1")
    assert f"rovider '{name}' at {address}" in message
    for words in SAYS[kind]:
        assert words.format(url=failing) in message
    for secret in (KEY, "pw-12345678", "me:", "?k="):
        assert secret not in message


@protocols
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
def test_what_the_provider_said_stands_first(live: Live, protocol: str, stream: bool) -> None:
    """Agents look for its words, and the message says so to clients of each protocol."""
    answer = asked(live, protocol, f"bad-{protocol}:m", stream=stream)
    assert answer.status_code == 400
    assert error_of(protocol, answer.json())["message"].startswith("Unknown field: 'store'.")


@protocols
@pytest.mark.parametrize("kind", ["bare", "page", "start", "moved"])
def test_a_wrong_address_is_asked_once(live: Live, protocol: str, kind: str) -> None:
    """Another attempt, by the run or by the client, would get the same."""
    answer = asked(live, protocol, f"{kind}-{protocol}:m")
    assert answer.status_code == 404
    assert "retry-after" not in answer.headers
    run = live.ended(answer.headers["x-polyvox-run"])
    assert [call["error"]["kind"] for call in run["calls"]] == ["not_found"]


@protocols
@pytest.mark.parametrize("kind", ["key", "gemini"])
def test_a_refused_key_of_the_server_has_one_status(live: Live, protocol: str, kind: str) -> None:
    """Whatever the provider sent; with it no client tries again."""
    answer = asked(live, "chat", f"{kind}-{protocol}:m")
    assert answer.status_code == 401
    assert answer.headers["x-should-retry"] == "false"


FLOWS = ("long", "long413", "long500", "longevent", "router", "fusion", "verify")
"""Providers asked directly, then models of flows in which one of several failures is this one."""

Case = tuple[str, str, str, bool]
CASES: list[Case] = [
    (flow, provider, client, stream)
    for flow in FLOWS
    for provider in PROTOCOLS
    for client in PROTOCOLS
    for stream in (False, True)
]


@pytest.fixture(scope="module")
def answers(live: Live) -> dict[Case, httpx.Response]:
    """What each case was answered."""

    def ask(case: Case) -> httpx.Response:
        flow, provider, client, stream = case
        model = f"{flow}-{provider}" + (":m" if flow.startswith("long") else "")
        return asked(live, client, model, stream=stream)

    with ThreadPoolExecutor(4) as pool:
        return dict(zip(CASES, pool.map(ask, CASES), strict=True))


@pytest.mark.parametrize("case", CASES, ids=lambda case: "-".join(map(str, case)))
def test_a_prompt_that_is_too_long_is_recognized_by_agents(
    case: Case, answers: dict[Case, httpx.Response]
) -> None:
    """Whatever the status was, and whatever else failed beside it.

    On a slow machine a stream may have begun with keep-alives: then its last event says so.
    """
    client, answer, stream = case[2], answers[case], case[3]
    if stream and answer.status_code == 200:
        error: dict[str, Any] = error_in(client, answer)
    else:
        assert answer.status_code == 400, answer.text
        error = error_of(client, answer.json())
        assert error["type"] == "invalid_request_error"
    if client == "messages":
        assert "prompt is too long" in error["message"]
    else:
        assert error["code"] == "context_length_exceeded"


@protocols
@pytest.mark.parametrize("client", PROTOCOLS)
def test_the_longest_wait_of_all_candidates_is_reported(
    live: Live, protocol: str, client: str
) -> None:
    """Before an outage: whoever waits less is refused again."""
    answer = asked(live, client, f"waits-{protocol}")
    assert answer.status_code == 429
    assert answer.headers["retry-after"] == "90"
    assert "Slow down more." in error_of(client, answer.json())["message"]


@protocols
def test_the_best_failure_of_all_attempts_is_reported(live: Live, protocol: str) -> None:
    """A rate limit of an earlier attempt, and not the outage that the last one met."""
    name = f"main-err429x1-ra0.1-err500-idattempts{protocol}"
    answer = asked(live, protocol, f"sim-{protocol}:{name}")
    assert answer.status_code == 429
    assert "Simulated 429" in error_of(protocol, answer.json())["message"]
    run = live.ended(answer.headers["x-polyvox-run"], 3)
    kinds = [call["error"]["kind"] for call in run["calls"]]
    assert kinds == ["rate_limit", "provider_error", "provider_error"]
    assert run["error"]["kind"] == "rate_limit"
