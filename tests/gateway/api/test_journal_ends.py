"""How a journaled call ends: by an error, by a cancellation, by an attempt more."""

from collections.abc import Callable
from typing import Any

import httpx
import pytest

from polyvox.activities.storage.responses import PREFIX
from tests.gateway.api.test_run_events import background, history
from tests.programs.run_events import follow, text_of, types_of
from tests.programs.running import KEY, LIMIT_S, Live

Event = dict[str, Any]


def activities(live: Live, run_id: str) -> list[str]:
    """Return the names of the history's events about activities, without their common words."""
    names = [
        event.WhichOneof("attributes").removesuffix("_event_attributes")
        for event in history(live, run_id).events
    ]
    return [name.removeprefix("activity_task_") for name in names if "activity_task" in name]


def test_another_attempt_voids_the_text_of_the_one_before(live: Live) -> None:
    """The provider breaks off twice in mid-answer; each attempt's entries carry its number."""
    run_id = background(live, "sim-chat:main-n40-itl40-cut30x2")
    events = list(follow(live.base_url, run_id))
    voids = [event for event in events if event["type"] == "text_void"]
    assert [(void["attempt"], void["why"]) for void in voids] == [
        (2, "another attempt"),
        (3, "another attempt"),
    ]
    assert {event["attempt"] for event in events if event["type"] == "text"} == {1, 2, 3}
    (step,) = [event for event in events if event["type"] == "step_ended"]
    assert (step["status"], step["attempts"]) == ("completed", 3)
    assert events[-1]["text"] == text_of(events)


def test_an_attempt_that_fails_leaves_its_activity_at_once(live: Live) -> None:
    """The last text was published in the same moment; no heartbeat was missed meanwhile."""
    run_id = background(live, "sim-chat:main-n40-cut30", stream=True)
    events = list(follow(live.base_url, run_id))
    assert types_of(events) == ["run", "step", "text", "step_ended", "run_ended"]
    assert (events[-1]["status"], events[-2]["attempts"]) == ("failed", 1)
    assert events[-1]["error"]["kind"] == "stream_cut"
    assert activities(live, run_id) == ["scheduled", "started", "failed"]


def cancel_response(live: Live, run_id: str) -> None:
    url = f"{live.base_url}/v1/responses/{PREFIX}{run_id}/cancel"
    headers = {"x-api-key": KEY}
    assert httpx.post(url, headers=headers, timeout=LIMIT_S, trust_env=False).is_success


def cancel_workflow(live: Live, run_id: str) -> None:
    live.run(live.handle(run_id).cancel())


@pytest.mark.parametrize("cancel", [cancel_response, cancel_workflow])
def test_a_cancelled_call_leaves_its_activity_at_once(
    live: Live, cancel: Callable[[Live, str], None]
) -> None:
    """In the middle of its entries: it is hung up in its process, or cancelled by the engine."""
    run_id = background(live, f"sim-chat:main-n400-itl40-id{cancel.__name__}")
    seen: list[Event] = []
    for event in follow(live.base_url, run_id):
        seen.append(event)
        if event["type"] == "text":
            cancel(live, run_id)
            break
    events = list(follow(live.base_url, run_id))
    assert events[: len(seen)] == seen
    assert events[-1]["status"] == "cancelled"
    happened = activities(live, run_id)
    assert happened[0] == "scheduled"
    assert {"failed", "canceled", "cancel_requested"} & {*happened}
    assert "timed_out" not in happened


def test_a_long_answer_stops_its_journal_and_not_its_run(
    live: Live, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The stream says so, and the rest of the text follows when the call has ended."""
    monkeypatch.setattr("polyvox.activities.live.journal.MOST_BYTES", 100)
    run_id = background(live, "sim-chat:main-n90-itl40-idlong")
    events = list(follow(live.base_url, run_id))
    (stopped,) = [event for event in events if event["type"] == "journal_stopped"]
    assert "at most" in stopped["reason"]
    assert (events[-1]["status"], events[-1]["text"]) == ("completed", text_of(events))
    assert len([event for event in events if event["type"] == "text"]) > 1


def test_a_call_after_a_long_history_is_not_journaled(
    live: Live, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its text follows when it has ended."""
    monkeypatch.setattr("polyvox.worker.hosting.temporal_backend.MOST_EVENTS", 0)
    run_id = background(live, "sim-chat:main-n10")
    events = list(follow(live.base_url, run_id))
    assert types_of(events) == [
        "run",
        "step",
        "journal_stopped",
        "text",
        "step_ended",
        "run_ended",
    ]
    assert events[-1]["text"] == text_of(events)
    live.ended(run_id)
    assert len(history(live, run_id).events) == 11
