"""A client that leaves ends its run, and with it every upstream stream."""

import asyncio
import json
import socket

import httpx
import pytest
from temporalio.client import WorkflowExecutionStatus

from polyvox.worker.runs.start import RunRequest, new_run_id
from polyvox.workflows.conversation import Conversation, user
from polyvox.workflows.errors import ModelError
from tests.gateway.generate.test_failures import request
from tests.programs.running import KEY, PATHS, PROTOCOLS, Live, until


def temporal_status(live: Live, run_id: str) -> WorkflowExecutionStatus | None:
    async def described() -> WorkflowExecutionStatus | None:
        return (await live.handle(run_id).describe()).status

    return live.run(described())


def give_up_soon(live: Live, protocol: str, model: str, *, stream: bool) -> None:
    """Ask, and close the connection after a second without an answer."""
    with pytest.raises(httpx.ReadTimeout):
        httpx.post(
            live.base_url + PATHS[protocol],
            json=request(protocol, model, stream=stream),
            headers={"x-api-key": KEY},
            timeout=httpx.Timeout(10, read=1.0),
            trust_env=False,
        )


def is_cancelled(live: Live, run_id: str) -> None:
    until(
        lambda: temporal_status(live, run_id) is WorkflowExecutionStatus.CANCELED,
        f"run {run_id} is not cancelled in the engine",
    )


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_leaving_in_mid_stream_ends_run_and_upstream(live: Live, protocol: str) -> None:
    """Cancelled in the engine and in the ledger, and the provider sees its client go."""
    name = f"main-n500-itl100-idmid{protocol}"
    with httpx.stream(
        "POST",
        live.base_url + PATHS[protocol],
        json=request(protocol, f"sim-{protocol}:{name}", stream=True),
        headers={"x-api-key": KEY},
        trust_env=False,
    ) as answer:
        run_id = answer.headers["x-polyvox-run"]
        next(answer.iter_raw())
    until(lambda: live.seen()["disconnects"].get(name), "the upstream stream is still open")
    is_cancelled(live, run_id)
    run = live.ended(run_id)
    assert (run["status"], run["error"]["kind"]) == ("cancelled", "cancelled")
    (call,) = run["calls"]
    assert call["status"] == "cancelled"
    assert live.seen()["requests"][name] == 1


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_leaving_before_the_first_word_ends_run_and_upstream(
    live: Live, protocol: str, stream: bool
) -> None:
    """The client has not even a status yet; its going is noticed all the same."""
    name = f"main-stall0-idearly{protocol}{stream}"
    model = f"sim-{protocol}:{name}"
    give_up_soon(live, protocol, model, stream=stream)
    until(lambda: live.seen()["disconnects"].get(name), "the upstream stream is still open")
    run_id = live.newest_run(model)
    assert run_id is not None
    is_cancelled(live, run_id)
    assert live.ended(run_id)["status"] == "cancelled"


def test_leaving_a_panel_ends_all_its_branches(live: Live) -> None:
    """Every branch's upstream sees its client go, whatever protocol it speaks."""
    names = ("optimist-stall1-idleft", "skeptic-stall1-idleft")
    give_up_soon(live, "chat", "panel-slow", stream=True)
    for name in names:
        until(lambda n=name: live.seen()["disconnects"].get(n), f"{name} is still open")  # type: ignore[misc]
    run_id = live.newest_run("panel-slow")
    assert run_id is not None
    is_cancelled(live, run_id)
    run = live.ended(run_id, 2)
    assert run["status"] == "cancelled"
    assert {call["status"] for call in run["calls"]} == {"cancelled"}


def leave_at_once(live: Live, protocol: str, document: dict[str, object]) -> None:
    """Send a whole request and close the connection, without waiting for anything."""
    host, port = live.base_url.removeprefix("http://").split(":")
    body = json.dumps(document).encode()
    head = (
        f"POST {PATHS[protocol]} HTTP/1.1\r\nhost: {host}:{port}\r\nx-api-key: {KEY}\r\n"
        f"content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
    )
    with socket.create_connection((host, int(port))) as connection:
        connection.sendall(head.encode() + body)


@pytest.mark.parametrize(
    "more", [{}, {"stream": True}, {"n": 3}], ids=["whole", "streamed", "choices"]
)
def test_many_who_leave_at_once_cost_nothing(live: Live, more: dict[str, object]) -> None:
    """None of them is asked for and left open; the program goes on."""
    name = f"main-stall0-idatonce{len(str(more))}"
    for _ in range(20):
        document = {**request("chat", f"sim-chat:{name}", stream=False), **more}
        leave_at_once(live, "chat", document)
    places = live.program.app.state.places
    until(lambda: places.runs.taken == 0, "a run of a client that has left still has its place")
    seen = live.seen()
    asked = seen["requests"].get(name, 0)
    until(lambda: live.seen()["disconnects"].get(name, 0) == asked, "an upstream is still open")


def test_a_run_that_was_hung_up_before_it_began_is_not_started(live: Live) -> None:
    """Its client has left while it was stored; nor is it started later."""
    name, run_id = "main-n1-idhungup", new_run_id()
    runtime = live.program.runtime
    conversation = Conversation((user("hello"),))
    wanted = RunRequest(run_id, f"sim-chat:{name}", "chat", conversation, False, "key")

    async def start() -> None:
        starting = asyncio.create_task(runtime.runs.start(wanted))
        await asyncio.sleep(0)  # its row and its conversation are being stored
        runtime.relay.hang_up(run_id)
        with pytest.raises(ModelError, match="has left"):
            await starting
        with pytest.raises(ModelError, match="has left"):
            await runtime.runs.start(wanted)

    live.run(start())
    recorded = live.run(runtime.ledger.run(run_id))
    assert recorded is not None
    assert (recorded.status, recorded.has_workflow) == ("cancelled", False)
    assert name not in live.seen()["requests"]
