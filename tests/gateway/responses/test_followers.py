"""A background response that another process records, as this one shows it."""

from dataclasses import replace
from typing import Any

import httpx

from polyvox.activities.storage.responses import StoredResponse
from polyvox.gateway.responses.state import ResponsesState
from polyvox.protocols.responses.include import EVERYTHING
from polyvox.worker.runs.listeners import Listeners
from tests.programs.running import KEY, LIMIT_S, Live, until


class Elsewhere(Listeners):
    """The listeners as another process sees them; ``gone`` are those that have ended."""

    def __init__(self, name: str) -> None:
        self.process_id = name
        self.alone = False
        self.gone: set[str | None] = set()

    async def is_gone(self, process_id: str | None) -> bool:
        return process_id in self.gone


def other_process(live: Live, name: str = "p_elsewhere") -> tuple[ResponsesState, Elsewhere]:
    """Return the responses of a process with the same stores and engine."""
    runtime, listeners = live.program.runtime, Elsewhere(name)
    return ResponsesState(
        replace(runtime, runs=replace(runtime.runs, listeners=listeners))
    ), listeners


def begun(live: Live, model: str, **fields: Any) -> StoredResponse:
    asked = {"model": model, "input": "hello", "background": True, **fields}
    answer = live.post("responses", {**asked, "stream": False})
    return found(live, answer.json()["id"])


def found(live: Live, response_id: str) -> StoredResponse:
    key_id = live.run(live.program.runtime.ledger.find_key(KEY)) or ""
    stored = live.run(live.program.runtime.responses.find(response_id, key_id))
    assert stored is not None
    return stored


def get(live: Live, path: str) -> httpx.Response:
    return httpx.get(
        f"{live.base_url}/v1/responses/{path}",
        headers={"x-api-key": KEY},
        timeout=LIMIT_S,
        trust_env=False,
    )


async def read(state: ResponsesState, stored: StoredResponse, after: int) -> bytes:
    frames = [piece async for piece in state.recordings.events(stored, after, EVERYTHING)]
    return b"".join(piece for piece in frames if not piece.startswith(b":"))


def test_a_stream_is_followed_in_another_process(live: Live) -> None:
    """From its beginning or from a number, while it goes on and after it has ended."""
    state, _ = other_process(live)
    url = f"{live.base_url}/v1/responses"
    asked = {
        "model": "sim-chat:main-itl40-n40",
        "input": "hello",
        "background": True,
        "stream": True,
    }
    headers = {"x-api-key": KEY}
    with httpx.stream(
        "POST", url, json=asked, headers=headers, timeout=LIMIT_S, trust_env=False
    ) as answer:
        pieces = answer.iter_raw()
        own = next(pieces)
        stored = found(live, f"resp_{answer.headers['x-polyvox-run']}")
        assert stored.document is None
        followed = live.run(read(state, stored, -1))
        own += b"".join(pieces)
    shown = [f for f in own.split(b"\n\n") if f and not f.startswith(b":")]
    assert [f for f in followed.split(b"\n\n") if f] == shown
    for after in (0, 17, len(shown) - 2):
        rest = live.run(read(state, stored, after))
        assert [f for f in rest.split(b"\n\n") if f] == shown[after + 1 :]


def test_a_response_is_cancelled_from_another_process(live: Live) -> None:
    """Who records it writes its end."""
    state, _ = other_process(live)
    stored = begun(live, "sim-chat:main-stall2-idelsewhere")
    until(lambda: live.seen()["requests"].get("main-stall2-idelsewhere"), "it was not asked")
    ended = live.run(state.cancel(stored.response_id, stored.key_id))
    assert ended.status == "cancelled"
    assert get(live, stored.response_id).json()["status"] == "cancelled"


def test_only_one_process_adopts_a_response(live: Live) -> None:
    """And nobody while the process that records it lives."""
    (state, listeners), (second, others) = other_process(live), other_process(live, "p_third")
    stored = begun(live, "sim-chat:main-itl40-n60")
    run_id = stored.run_id
    until(lambda: live.newest_run("sim-chat:main-itl40-n60") == run_id, "it is not recorded")
    assert live.run(state.find(stored.response_id, stored.key_id)).status == "in_progress"
    assert state.recordings.here(stored.response_id) is None
    here = live.program.runtime.process_id
    listeners.gone = others.gone = {here}
    live.run(state.find(stored.response_id, stored.key_id))
    live.run(second.find(stored.response_id, stored.key_id))
    assert second.recordings.here(stored.response_id) is None
    assert live.run(live.program.runtime.ledger.listener_of(run_id)) == "p_elsewhere"
    until(lambda: get(live, stored.response_id).json()["status"] == "completed", "it has not ended")
