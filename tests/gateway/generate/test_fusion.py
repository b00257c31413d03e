"""A panel behind a model name, as clients of each protocol meet it."""

from collections import Counter
from typing import Any

import pytest

from tests.programs.clients import Client, Question, Results, Said
from tests.programs.running import PROTOCOLS, Live

ADVICE = "Should we move the billing system to Rust this year?"
HEADINGS = ("Consensus", "Contradictions", "Partial coverage", "Unique insights", "Blind spots")
BRANCHES = {"branch 1", "branch 2", "branch 3"}

streams = pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])


def steps(run: dict[str, Any]) -> list[str]:
    return [call["step"] for call in run["calls"]]


def notes(run: dict[str, Any], what: str) -> list[dict[str, Any]]:
    return [note for note in run["notes"] if note["what"] == what]


def spent(run: dict[str, Any], meter: str) -> int:
    return sum(call["tokens"][meter] or 0 for call in run["calls"])


@streams
@pytest.mark.parametrize("main", PROTOCOLS)
def test_a_panel_is_asked_compared_and_used(
    live: Live, client: Client, main: str, stream: bool
) -> None:
    """Main, three branches, synthesis, main; the client sees one answer and the whole sum."""
    answered = client.ask(Question(f"panel-main-{main}", (Said(ADVICE),)), stream=stream)
    assert answered.finish == "stop"
    assert all(heading in answered.text for heading in HEADINGS)
    assert answered.calls == ()
    run = live.ended(answered.run_id, 6)
    assert (run["status"], run["flow"]) == ("completed", "fusion@1")
    named = steps(run)
    assert (named[0], set(named[1:4]), named[4:]) == ("main", BRANCHES, ["synthesis", "main"])
    assert answered.tokens == (spent(run, "input"), spent(run, "output"))
    assert (run["tokens"]["input"], run["tokens"]["output"]) == answered.tokens
    assert all(call["tokens"]["output"] for call in run["calls"])


@streams
def test_nothing_of_the_mounted_tool_reaches_the_client(
    live: Live, client: Client, stream: bool
) -> None:
    """Neither its name nor its call's id stands anywhere in the answer's bytes."""
    bodies: dict[str, dict[str, Any]] = {
        "chat": {"messages": [{"role": "user", "content": ADVICE}]},
        "responses": {"input": ADVICE},
        "messages": {"messages": [{"role": "user", "content": ADVICE}], "max_tokens": 2000},
    }
    document = {"model": "panel-auto", "stream": stream, **bodies[client.protocol]}
    answer = live.post(client.protocol, document)
    assert "Position:" in answer.text or "Consensus" in answer.text
    assert '"problem_review"' not in answer.text
    assert '"tool_use"' not in answer.text
    assert '"function_call"' not in answer.text
    assert '"id":"call_' not in answer.text


@streams
def test_a_greeting_needs_no_panel(live: Live, client: Client, stream: bool) -> None:
    """In mode auto the main model decides."""
    answered = client.ask(Question("panel-auto", (Said("Hello!"),)), stream=stream)
    assert steps(live.ended(answered.run_id)) == ["main"]


def test_mode_off_never_asks_the_panel(live: Live, client: Client) -> None:
    """The name stays, the panel does not."""
    answered = client.ask(Question("panel-off", (Said(ADVICE),)), stream=True)
    assert steps(live.ended(answered.run_id)) == ["main"]


@streams
@pytest.mark.parametrize("model", ["panel-auto", "panel-required"])
def test_the_clients_own_tools_work_beside_the_panel(
    live: Live, client: Client, model: str, stream: bool
) -> None:
    """The panel answers the user's word once; the tool's result goes to the main model alone."""
    asked = Said("Call get_weather for Paris. Should we have a picnic there?")
    question = Question(model, (asked,), tools=("get_weather",))
    answered = client.ask(question, stream=stream)
    assert answered.finish == "tool_calls"
    (call,) = answered.calls
    assert (call.name, call.arguments) == ("get_weather", {"city": "Paris"})
    first = live.ended(answered.run_id, 5)
    assert set(steps(first)) == {*BRANCHES, "synthesis", "main"}
    turns = (asked, answered, Results({call.id: "Rain, 9 degrees"}))
    after = client.ask(Question(model, turns, tools=("get_weather",)), stream=stream)
    assert "get_weather returned: Rain, 9 degrees" in after.text
    if model == "panel-required":
        assert steps(live.ended(after.run_id)) == ["main"]


def test_a_failed_branch_costs_one_voice(live: Live, client: Client) -> None:
    """The others are compared, the failure is in the trace and in what the main model is told."""
    answered = client.ask(Question("panel-one-fails", (Said(ADVICE),)), stream=True)
    assert "Consensus" in answered.text
    assert "1 of the experts did not answer: branch 1: Simulated 400" in answered.text
    run = live.ended(answered.run_id, 6)
    assert run["status"] == "completed"
    failed = [call for call in run["calls"] if call["status"] == "failed"]
    assert [(call["step"], call["error"]["kind"]) for call in failed] == [
        ("branch 1", "invalid_request")
    ]
    (note,) = notes(run, "branch failed")
    assert (note["step"], note["kind"]) == ("branch 1", "invalid_request")


def test_a_slow_branch_is_not_waited_for(live: Live, client: Client) -> None:
    """After the quorum and its grace the panel is closed and the late branch hung up on."""
    before = live.seen()["disconnects"].get("engineer-stall2-idslow", 0)
    answered = client.ask(Question("panel-one-stalls", (Said(ADVICE),)), stream=True)
    assert "Consensus" in answered.text
    run = live.ended(answered.run_id, 6)
    (note,) = notes(run, "branch failed")
    assert (note["step"], note["kind"]) == ("branch 3", "timeout")
    (late,) = [call for call in run["calls"] if call["step"] == "branch 3"]
    assert late["status"] == "cancelled"
    assert live.seen()["disconnects"]["engineer-stall2-idslow"] == before + 1


def test_without_any_voice_the_main_model_answers_alone(live: Live, client: Client) -> None:
    """It is told so; the run is completed, with every failure noted."""
    answered = client.ask(Question("panel-all-fail", (Said(ADVICE),)), stream=True)
    assert "No expert answered" in answered.text
    run = live.ended(answered.run_id, 4)
    assert run["status"] == "completed"
    assert Counter(steps(run)) == {"main": 2, "branch 1": 1, "branch 2": 1}
    assert [note["step"] for note in run["notes"]] == ["branch 1", "branch 2"]


def test_without_the_judge_the_answers_themselves_are_used(live: Live, client: Client) -> None:
    """The main model gets them as they are; the judge's failure is noted."""
    answered = client.ask(Question("panel-judge-fails", (Said(ADVICE),)), stream=True)
    assert answered.finish == "stop"
    run = live.ended(answered.run_id, 6)
    assert run["status"] == "completed"
    assert [note["kind"] for note in notes(run, "synthesis failed")] == ["invalid_request"]


@streams
def test_a_main_model_that_fails_is_the_runs_failure(
    live: Live, client: Client, stream: bool
) -> None:
    """The client gets its provider's words; what the panel cost is still counted."""
    with pytest.raises(Exception, match="Simulated 400") as caught:
        client.ask(Question("panel-main-fails", (Said(ADVICE),)), stream=stream)
    assert type(caught.value).__name__ == "BadRequestError"
    run = live.ended(client.run_id, 5)
    assert (run["status"], run["error"]["kind"]) == ("failed", "invalid_request")
    assert run["spent"]["output"] > 100
