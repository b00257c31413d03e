"""Responses over a WebSocket, through the official library's own connection."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import orjson
import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import ClientConnection, connect

from tests.programs.clients import CITY, Client
from tests.programs.running import KEY, PROTOCOLS, Live, until

over_all = pytest.mark.parametrize("protocol", PROTOCOLS)


@contextmanager
def raw(live: Live, key: str = KEY, **options: Any) -> Iterator[ClientConnection]:
    url = live.base_url.replace("http://", "ws://") + "/v1/responses"
    headers = {"authorization": f"Bearer {key}"}
    with connect(url, additional_headers=headers, proxy=None, **options) as connection:
        yield connection


def ask(connection: ClientConnection, **request: Any) -> list[Any]:
    """Send a request and return the events up to the terminal one."""
    connection.send(orjson.dumps({"type": "response.create", **request}).decode())
    events = []
    while True:
        event = orjson.loads(connection.recv(timeout=60))
        events.append(event)
        if event["type"] in ("response.completed", "response.failed", "error"):
            return events


def text_of(event: Any) -> str:
    return "".join(
        part["text"] for item in event["response"]["output"] for part in item.get("content", ())
    )


# The library opens its connection in a way that its newest transport calls out of date.
@pytest.mark.filterwarnings("ignore:connect:DeprecationWarning")
@over_all
def test_the_librarys_connection_gets_every_event(live: Live, protocol: str) -> None:
    """The events are those of the stream over HTTP: numbered from 0, ended by the answer."""
    client = Client("responses", live.base_url)
    with client.sdk.responses.connect(websocket_connection_options={"proxy": None}) as connection:
        for text in ("hello there", "hello again"):
            connection.response.create(model=f"plain-{protocol}", input=text)
            events = []
            for event in connection:
                events.append(event)
                if event.type == "response.completed":
                    break
            assert [event.sequence_number for event in events] == list(range(len(events)))
            assert events[0].type == "response.created"
            said = "".join(e.delta for e in events if e.type == "response.output_text.delta")
            assert said == events[-1].response.output_text
            assert client.sdk.responses.retrieve(events[-1].response.id) == events[-1].response
    client.close()


@over_all
def test_a_connection_remembers_what_is_not_stored(live: Live, protocol: str) -> None:
    """As Codex does: a prepared response, then only the new items, all with store: false."""
    model = f"plain-{protocol}"
    tools = [{"type": "function", "name": "get_weather", "parameters": CITY, "strict": True}]
    common = {"model": model, "store": False, "tools": tools}
    asked = {"role": "user", "content": "Call get_weather for Paris"}
    with raw(live) as connection:
        *_, prepared = ask(connection, **common, generate=False, input=[asked])
        assert prepared["type"] == "response.completed"
        assert prepared["response"]["output"] == []
        previous = prepared["response"]["id"]
        *_, first = ask(connection, **common, previous_response_id=previous, input=[])
        (call,) = [i for i in first["response"]["output"] if i["type"] == "function_call"]
        result = {
            "type": "function_call_output",
            "call_id": call["call_id"],
            "output": "rain, 11 C",
        }
        previous = first["response"]["id"]
        *_, second = ask(connection, **common, previous_response_id=previous, input=[result])
        assert "rain, 11 C" in text_of(second)
    with raw(live) as other:
        (error,) = ask(other, **common, previous_response_id=previous, input=[result])
        assert error["type"] == "error"
        assert error["status"] == 400
        assert error["error"]["code"] == "previous_response_not_found"
        assert error["error"]["param"] == "previous_response_id"


def test_preparing_asks_no_model(live: Live) -> None:
    """A response without output costs nothing and can be stored like any other."""
    client = Client("responses", live.base_url)
    model = "main-idprepared"
    with raw(live) as connection:
        *_, prepared = ask(connection, model=f"sim-chat:{model}", generate=False, input="hi")
    assert prepared["response"]["usage"]["total_tokens"] == 0
    assert model not in live.seen()["requests"]
    kept = client.sdk.responses.retrieve(prepared["response"]["id"])
    assert kept.output == []
    client.close()


@pytest.mark.parametrize(
    ("sent", "param"),
    [
        ("no json", None),
        ('{"type": "response.dance"}', "type"),
        ("[]", "type"),
        ('{"type": "response.create", "input": "hi"}', "model"),
        ('{"type": "response.create", "model": "plain-chat"}', "input"),
        ('{"type": "response.create", "model": "no-such-model", "input": "hi"}', "model"),
    ],
)
def test_a_bad_message_is_answered_and_the_connection_goes_on(
    live: Live, sent: str, param: str | None
) -> None:
    """An error event says the status it would have had over HTTP."""
    with raw(live) as connection:
        connection.send(sent)
        error = orjson.loads(connection.recv(timeout=60))
        assert (error["type"], error["status"]) == ("error", 400)
        assert error["error"]["param"] == error["param"] == param
        assert error["message"] == error["error"]["message"]
        *_, last = ask(connection, model="plain-chat", input="hello there")
        assert last["type"] == "response.completed"


def test_a_providers_refusal_is_an_error_event(live: Live) -> None:
    """With the provider's status, as over HTTP."""
    with raw(live) as connection:
        (error,) = ask(connection, model="sim-chat:main-err429-ra30", input="hi")
        assert (error["type"], error["status"]) == ("error", 429)
        assert error["headers"]["retry-after"] == "30"
        assert error["error"]["code"] == "rate_limit_exceeded"


def test_an_upstream_that_breaks_off_ends_the_response_as_failed(live: Live) -> None:
    """What was begun ends as the stream over HTTP does."""
    with raw(live) as connection:
        *_, error = ask(connection, model="sim-chat:main-itl9-cut3", input="hi")
        assert (error["type"], error["status"]) == ("error", 502)
        assert error["error"]["code"] == error["code"] == "stream_cut"
        failed = orjson.loads(connection.recv(timeout=60))
        assert failed["type"] == "response.failed"


FAILING: dict[str, dict[str, Any]] = {
    "400": {"model": "sim-chat:main-err400"},
    "429": {"model": "sim-chat:main-err429"},
    "500": {"model": "sim-chat:main-err500"},
    "cut": {"model": "sim-chat:main-itl9-cut3"},
    "cut in the background": {
        "model": "sim-chat:main-itl9-cut3",
        "background": True,
        "store": True,
    },
    "unknown model": {"model": "no-such-model"},
    "ill-typed": {"model": "plain-chat", "temperature": "hot"},
    "unknown item": {"model": "plain-chat", "input": [{"type": "item_reference", "id": "msg_x"}]},
}


@pytest.mark.parametrize("failing", FAILING)
def test_a_failed_continuation_forgets_what_it_continued(live: Live, failing: str) -> None:
    """The client has to send the whole conversation again."""
    plain = {"model": "plain-chat", "store": False}
    with raw(live) as connection:
        *_, first = ask(connection, **plain, input="hello there")
        *_, second = ask(
            connection, **plain, input="again", previous_response_id=first["response"]["id"]
        )
        for previous in (second, first):
            continued = {"previous_response_id": previous["response"]["id"], "input": "and again"}
            failed = ask(connection, **{"store": False, **continued, **FAILING[failing]})
            assert failed[-1]["type"] == "error"
            if "sequence_number" in failed[-1] and failed[-1]["sequence_number"]:
                assert orjson.loads(connection.recv(timeout=60))["type"] == "response.failed"
            (error,) = ask(connection, **plain, **continued)
            assert error["error"]["code"] == "previous_response_not_found"


def test_a_continuation_that_succeeds_can_be_repeated(live: Live) -> None:
    """A response may be continued in several ways."""
    plain = {"model": "plain-chat", "store": False}
    with raw(live) as connection:
        *_, first = ask(connection, **plain, input="hello there")
        for text in ("left", "right"):
            *_, last = ask(
                connection, **plain, input=text, previous_response_id=first["response"]["id"]
            )
            assert last["type"] == "response.completed"


def test_a_stored_response_can_be_continued_after_a_failure(live: Live) -> None:
    """Only the connection forgets it."""
    with raw(live) as connection:
        *_, first = ask(connection, model="plain-chat", input="hello there")
        continued = {"previous_response_id": first["response"]["id"], "input": "again"}
        (error,) = ask(connection, model="sim-chat:main-err400", **continued)
        assert error["status"] == 400
        *_, last = ask(connection, model="plain-chat", **continued)
        assert last["type"] == "response.completed"


def test_a_lane_is_named_in_every_event(live: Live) -> None:
    """Clients with several lanes on a connection tell their events apart by it."""
    with raw(live) as connection:
        events = ask(connection, model="plain-chat", input="hello there", stream_id="left")
        assert {event["stream_id"] for event in events} == {"left"}
        assert "stream_id" not in ask(connection, model="plain-chat", input="hello there")[0]


def test_steering_is_refused_with_what_was_sent(live: Live) -> None:
    """The client gets its input back and can send it with its next request."""
    with raw(live) as connection:
        steer = {"previous_response_id": "resp_x", "input": "shorter"}
        connection.send(orjson.dumps({"type": "response.steer", **steer}).decode())
        failed = orjson.loads(connection.recv(timeout=60))
        assert failed["type"] == "response.steer.failed"
        assert failed["error"]["code"] == "steering_not_supported"
        assert failed["steer"] == steer


def test_a_background_response_runs_over_a_connection_too(live: Live) -> None:
    """It begins as queued and outlives the connection."""
    client = Client("responses", live.base_url)
    with raw(live) as connection:
        connection.send(
            orjson.dumps(
                {
                    "type": "response.create",
                    "model": "sim-chat:main-itl20-n30",
                    "input": "hi",
                    "background": True,
                }
            ).decode()
        )
        begun = orjson.loads(connection.recv(timeout=60))
        assert begun["response"]["status"] == "queued"
    response_id = begun["response"]["id"]

    def look() -> bool:
        return bool(client.sdk.responses.retrieve(response_id).status == "completed")

    assert until(look, "it has not been completed")
    client.close()


def test_a_client_that_leaves_ends_its_run(live: Live) -> None:
    """Closing the connection stops the spending, as over HTTP."""
    model = "main-stall2-idclosing"
    with raw(live) as connection:
        request = {"type": "response.create", "model": f"sim-chat:{model}", "input": "hi"}
        connection.send(orjson.dumps(request).decode())
        until(lambda: live.seen()["requests"].get(model), "the model was not asked")
    until(lambda: live.seen()["disconnects"].get(model), "the provider's stream is still open")


def test_a_wrong_key_is_refused_before_the_upgrade(live: Live) -> None:
    """The refusal is an HTTP answer with the error object."""
    with pytest.raises(InvalidStatus) as refused, raw(live, key="unknown-key"):
        pass
    assert refused.value.response.status_code == 401
    assert orjson.loads(refused.value.response.body)["error"]["code"] == "invalid_api_key"


def test_a_message_may_be_as_large_as_a_body(live: Live) -> None:
    """Agents send their whole history when they begin a connection."""
    words = "word " * 1_000_000
    with raw(live, max_size=None) as connection:
        *_, last = ask(connection, model="plain-chat", input=words, store=False)
        assert last["type"] == "response.completed"
