"""A client that leaves ends its run, and with it every upstream stream."""

import httpx
import pytest
from temporalio.client import WorkflowExecutionStatus

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
