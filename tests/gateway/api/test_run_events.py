"""Runs that are followed: while they go on, later, and from their middle."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

from tests.gateway.generate.test_failures import request
from tests.programs.commands import told
from tests.programs.run_events import follow, subscribed, text_of, types_of
from tests.programs.running import KEY, Live, until


def background(live: Live, model: str, *, stream: bool = False) -> str:
    """Begin a background response; return its run, which the engine has."""
    asked = {"model": model, "input": "hi", "background": True, "stream": stream}
    answer = live.post("responses", asked)
    assert answer.status_code == 200, answer.text
    run_id = str(answer.headers["x-polyvox-run"])
    until(lambda: live.ask(f"/api/runs/{run_id}").is_success or None, "the run has not begun")
    next(follow(live.base_url, run_id))
    return run_id


def history(live: Live, run_id: str) -> Any:
    return live.run(live.handle(run_id).fetch_history())


def test_a_background_run_is_followed_while_it_goes_on(live: Live) -> None:
    """Step, text in pieces, end; and later the same events with the same ids."""
    run_id = background(live, "sim-chat:main-n60-itl40")
    events = list(follow(live.base_url, run_id))
    assert types_of(events) == ["run", "step", "text", "step_ended", "run_ended"]
    assert len([event for event in events if event["type"] == "text"]) > 1
    end = events[-1]
    assert (end["status"], end["text"]) == ("completed", text_of(events))
    assert end["tokens"]["output"] > 0
    assert events[1]["model"] == "sim-chat:main-n60-itl40"
    live.ended(run_id)
    assert list(follow(live.base_url, run_id)) == events
    middle = events[len(events) // 2]["id"]
    rest = events[len(events) // 2 + 1 :]
    assert list(follow(live.base_url, f"{run_id}", **{"last-event-id": middle})) == rest
    assert list(follow(live.base_url, run_id, KEY)) == events


def test_temporal_s_own_subscriber_reads_from_any_offset(live: Live) -> None:
    """By updates while the run goes on, by queries when it has ended."""
    run_id = background(live, "sim-chat:main-n50-itl40-idsubscribed")
    running = subscribed(live, run_id)
    assert [item.offset for item in running] == list(range(len(running)))
    assert len(running) > 1
    live.ended(run_id)
    assert subscribed(live, run_id) == running
    assert subscribed(live, run_id, 1) == running[1:]
    entries = [item.data for item in running]
    assert [entry["sequence"] for entry in entries] == list(range(len(entries)))
    assert [bool(entry.get("last")) for entry in entries] == [*[False] * (len(entries) - 1), True]


def test_a_run_without_a_journal_has_no_more_history_than_before(live: Live) -> None:
    """Neither streamed nor whole; and it can be followed all the same when it has ended."""
    for stream in (True, False):
        answer = live.post("chat", request("chat", "plain-chat", stream=stream))
        run_id = answer.headers["x-polyvox-run"]
        live.run(live.handle(run_id).result())  # the answer may arrive before the last event
        assert len(history(live, run_id).events) == 11
        events = list(follow(live.base_url, run_id))
        assert types_of(events) == ["run", "step", "text", "step_ended", "run_ended"]
        assert events[-1]["text"] == text_of(events)
        assert len(history(live, run_id).events) == 11


def test_a_run_that_somebody_begins_to_watch_gets_a_journal(live: Live) -> None:
    """The call in progress publishes from then on; its whole text follows at its end.

    Its history replays.
    """
    model = "sim-chat:main-n80-itl40-idwatched"
    with ThreadPoolExecutor(1) as pool:
        going = pool.submit(live.post, "chat", request("chat", model, stream=True))
        run_id = until(lambda: live.newest_run(model), "the run has not begun")
        events = list(follow(live.base_url, run_id))
        assert going.result().status_code == 200
    assert types_of(events)[:3] == ["run", "step", "text"]
    (void,) = [event for event in events if event["type"] == "text_void"]
    assert void["why"] == "the text was incomplete"
    assert events[-1]["text"] == text_of(events)
    live.ended(run_id)
    assert list(follow(live.base_url, run_id)) == events
    assert "matches" in told(live, "runs", "replay", run_id)


def test_a_wrong_place_and_an_unknown_run_are_refused(live: Live) -> None:
    """Before a stream begins."""
    run_id = live.post("chat", request("chat", "plain-chat", stream=False)).headers["x-polyvox-run"]
    live.ended(run_id)
    wrong = live.ask(f"/api/runs/{run_id}/events?after=x")
    assert (wrong.status_code, wrong.json()["error"]["kind"]) == (400, "invalid_request")
    assert live.ask("/api/runs/run_none/events").status_code == 404
    last = list(follow(live.base_url, run_id))[-1]["id"]
    assert live.ask(f"/api/runs/{run_id}/events?after={last}").text == ""


def test_a_run_that_shows_progress_is_journaled_too(live: Live) -> None:
    """What the flow shows itself is text of its own, and its calls come one after another."""
    run_id = background(live, "panel-required", stream=True)
    events = list(follow(live.base_url, run_id))
    steps = [event for event in events if event["type"] == "step"]
    assert {step["model"] for step in steps} >= {"sim-chat:judge", "sim-chat:main"}
    ended = [event["call"] for event in events if event["type"] == "step_ended"]
    assert sorted(ended) == sorted(step["call"] for step in steps)
    emitting = {step["call"] for step in steps if step["emits"]}
    assert emitting <= {event["call"] for event in events if event["type"] == "text"}
    assert events[-1]["status"] == "completed"
