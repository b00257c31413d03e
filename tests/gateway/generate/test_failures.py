"""How failures look to each client, whole and streamed.

All cases are asked at once before the first test looks, because some wait between attempts.
"""

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import httpx
import orjson
import pytest

from polyvox.gateway.generate.exchange import Exchange
from polyvox.protocols.sse import FrameSplitter
from tests.programs.running import PROTOCOLS, Live, until


@dataclass(frozen=True, slots=True)
class Fault:
    """What goes wrong upstream, and what the ledger and the client are told.

    ``status`` is the answer's where nothing was sent yet; Messages has words of its own for some.
    ``attempts`` are those of a request whose client has seen nothing.
    """

    model: str
    kind: str
    status: int
    says: str
    attempts: int = 1
    begun: bool = False
    in_messages: int | None = None
    headers: dict[str, str] = field(default_factory=dict)


FINAL = {"x-should-retry": "false"}

FAULTS = {
    "400": Fault("sim:main-err400", "invalid_request", 400, "Simulated 400"),
    "401": Fault("sim:main-err401", "provider_authentication", 401, "Simulated 401", headers=FINAL),
    "wrong key": Fault(
        "refused:main", "provider_authentication", 401, "does not accept the key", headers=FINAL
    ),
    "429": Fault(
        "sim:main-err429-ra30", "rate_limit", 429, "Simulated 429", headers={"retry-after": "30"}
    ),
    "500": Fault("sim:main-err500", "provider_error", 500, "Simulated 500", 3),
    "529": Fault("sim:main-err529", "overloaded", 503, "Simulated 529", 3, in_messages=529),
    "cut at once": Fault("sim:main-cut0", "stream_cut", 502, "broke in mid-answer", 3),
    "cut": Fault("sim:main-itl9-cut3", "stream_cut", 502, "broke in mid-answer", 3, begun=True),
    "end at once": Fault("sim:main-eof0", "stream_cut", 502, "before its answer was complete", 3),
    "end": Fault(
        "sim:main-itl9-eof3", "stream_cut", 502, "before its answer was complete", 3, True
    ),
    "garbage at once": Fault("sim:main-garbage0", "bad_stream", 502, "", 3),
    "garbage": Fault("sim:main-itl9-garbage3", "bad_stream", 502, "", 3, begun=True),
    "error event": Fault(
        "sim:main-itl9-errevent3", "overloaded", 503, "Simulated error after 3", 3, True, 529
    ),
    "silence at once": Fault("hasty:main-stall0", "timeout", 504, "fell silent", 3),
    "silence": Fault("hasty:main-itl9-stall3", "timeout", 504, "fell silent", 3, begun=True),
}


def request(protocol: str, model: str, *, stream: bool, text: str = "hello there") -> Any:
    """Return the smallest request of a protocol."""
    said = [{"role": "user", "content": text}]
    body = {"input": said} if protocol == "responses" else {"messages": said}
    limit = {"max_tokens": 500} if protocol == "messages" else {}
    return {"model": model, "stream": stream, **body, **limit}


def model_of(fault: Fault, protocol: str) -> str:
    kind, _, name = fault.model.partition(":")
    return f"{kind}-{protocol}:{name}"


Case = tuple[str, str, bool]
CASES: list[Case] = [(n, p, s) for n in FAULTS for p in PROTOCOLS for s in (False, True)]
IDS = [f"{name}-{protocol}-{'streamed' if s else 'whole'}" for name, protocol, s in CASES]
cases = pytest.mark.parametrize("case", CASES, ids=IDS)


@pytest.fixture(scope="module")
def answers(live: Live) -> Iterator[dict[Case, Future[httpx.Response]]]:
    """What each case was answered, the whole body read."""
    with ThreadPoolExecutor(16) as pool:

        def ask(case: Case) -> httpx.Response:
            name, protocol, stream = case
            model = model_of(FAULTS[name], protocol)
            return live.post(protocol, request(protocol, model, stream=stream))

        yield {case: pool.submit(ask, case) for case in CASES}


def events(answer: httpx.Response) -> list[Any]:
    """Return the data of every event of a streamed answer."""
    frames = FrameSplitter().feed(answer.content)
    return [data if data == b"[DONE]" else orjson.loads(data) for _, data in frames]


def error_of(protocol: str, document: Any) -> dict[str, Any]:
    """Return the error object in a plain error document, after a look at its frame."""
    error: dict[str, Any] = document["error"]
    if protocol == "messages":
        assert document["type"] == "error"
        assert document["request_id"].startswith("run_")
    else:
        assert set(error) == {"message", "type", "param", "code"}
    return error


def error_in(protocol: str, answer: httpx.Response) -> dict[str, Any]:
    """Return the error that ends a begun stream, after a look at what must not follow."""
    sent = events(answer)
    last = sent[-1]
    if protocol == "responses":
        # Open Responses ends every stream with it, also one that failed.
        assert sent.pop() == b"[DONE]"
        last = sent[-1]
    if protocol == "chat":
        assert b"[DONE]" not in sent
        assert not any(c["finish_reason"] for e in sent[:-1] for c in e["choices"])
        error = last["error"]
    elif protocol == "responses":
        kinds = [event["type"] for event in sent]
        assert kinds[-1] == "response.failed"
        assert not {"response.completed", "response.incomplete"} & set(kinds)
        assert last["response"]["status"] == "failed"
        error = last["response"]["error"]
    else:
        assert last["type"] == "error"
        assert not any(event["type"] in ("message_delta", "message_stop") for event in sent)
        error = last["error"]
    assert isinstance(error, dict)
    return error


@cases
def test_an_upstream_failure_is_told_in_the_clients_protocol(
    case: Case, answers: dict[Case, Future[httpx.Response]]
) -> None:
    """Status, error document, the provider's words, and the run: in header and message.

    A stream that has shown words ends with its protocol's error and without its clean ending.
    """
    name, protocol, stream = case
    fault, answer = FAULTS[name], answers[case].result()
    run_id = answer.headers["x-polyvox-run"]
    if stream and fault.begun:
        assert answer.status_code == 200
        error = error_in(protocol, answer)
    else:
        other = fault.in_messages if protocol == "messages" else None
        assert answer.status_code == (other or fault.status), answer.text
        assert answer.headers["content-type"] == "application/json"
        assert fault.headers.items() <= dict(answer.headers).items()
        error = error_of(protocol, answer.json())
    assert fault.says in error["message"]
    assert run_id in error["message"]


@cases
def test_the_ledger_tells_how_and_how_often_it_failed(
    case: Case, live: Live, answers: dict[Case, Future[httpx.Response]]
) -> None:
    """The run's kind is its last attempt's; whoever has seen words gets no second attempt."""
    name, _, stream = case
    fault = FAULTS[name]
    attempts = 1 if stream and fault.begun else fault.attempts
    run = live.ended(answers[case].result().headers["x-polyvox-run"], attempts)
    assert (run["status"], run["error"]["kind"]) == ("failed", fault.kind)
    assert fault.says in run["error"]["message"]
    assert [call["attempt"] for call in run["calls"]] == list(range(1, attempts + 1))
    assert {call["error"]["kind"] for call in run["calls"]} == {fault.kind}


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("fault", ["err500", "cut0", "errevent0"])
def test_a_failure_that_passes_is_tried_again(
    live: Live, protocol: str, stream: bool, fault: str
) -> None:
    """The client gets the second attempt's answer and learns of the first from the ledger only."""
    name = f"main-{fault}x1-id{protocol}{stream}"
    asked = request(protocol, f"sim-{protocol}:{name}", stream=stream)
    answer = live.post(protocol, asked)
    assert answer.status_code == 200
    assert "hello" in answer.text
    run = live.ended(answer.headers["x-polyvox-run"], 2)
    assert run["status"] == "completed"
    assert [call["status"] for call in run["calls"]] == ["failed", "completed"]


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_words_that_nobody_saw_do_not_forbid_another_attempt(live: Live, protocol: str) -> None:
    """A client that waits for the whole answer has seen nothing of the one that broke off."""
    asked = request(protocol, f"sim-{protocol}:main-cut4x1-idwhole{protocol}", stream=False)
    answer = live.post(protocol, asked)
    assert answer.status_code == 200, answer.text
    run = live.ended(answer.headers["x-polyvox-run"], 2)
    assert [call["status"] for call in run["calls"]] == ["failed", "completed"]


def test_a_defect_of_the_gateway_fails_run_and_stream(
    live: Live, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The ledger says so, and not that the run was cancelled, which follows from it."""

    def defective(self: object, batch: object) -> None:
        raise RuntimeError("a defect")

    monkeypatch.setattr(Exchange, "_refuse_restart", defective)
    model = "sim-chat:main-n500-itl100-iddefect"
    answer = live.post("chat", request("chat", model, stream=True))
    assert answer.status_code == 500
    assert "RuntimeError in the gateway" in answer.json()["error"]["message"]
    run = live.ended(answer.headers["x-polyvox-run"])
    assert (run["status"], run["error"]["kind"]) == ("failed", "internal")
    until(lambda: live.seen()["disconnects"].get("main-n500-itl100-iddefect"), "it goes on")


def test_a_dead_provider_is_named_with_what_to_check(live: Live) -> None:
    """Nobody listens at its address; the answer says so within the retries."""
    answer = live.post("chat", request("chat", "dead:main", stream=True))
    assert answer.status_code == 502
    message = error_of("chat", answer.json())["message"]
    assert "'dead' could not be reached" in message
    assert "base_url" in message
    run = live.ended(answer.headers["x-polyvox-run"], 3)
    assert run["error"]["kind"] == "unreachable"


def test_a_provider_without_its_key_says_which_variable_to_set(live: Live) -> None:
    """The client cannot mend it; the operator is told how, and nothing is sent upstream."""
    answer = live.post("chat", request("chat", "keyless:main", stream=False))
    assert answer.status_code == 502
    assert FINAL.items() <= dict(answer.headers).items()
    assert "set NO_SUCH_KEY" in error_of("chat", answer.json())["message"]
