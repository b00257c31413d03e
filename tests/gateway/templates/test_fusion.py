"""Voices, budget, mode of a request and progress of a panel, and what its trace tells."""

from collections import Counter
from typing import Any

import pytest

from tests.gateway.generate.test_failures import request
from tests.programs.clients import Client, Question, Results, Said
from tests.programs.running import Live
from tests.programs.template_stories import notes, received

ADVICE = "Should we move the billing system to Rust this year?"

streams = pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])


def steps(run: dict[str, Any]) -> Counter[str]:
    return Counter(call["step"] for call in run["calls"])


@streams
def test_samples_and_personas_are_voices_of_their_own(
    live: Live, client: Client, stream: bool
) -> None:
    """One model twice, another with words of its own; the progress is reasoning, never text."""
    answered = client.ask(Question("fused-voices", (Said(ADVICE),)), stream=stream)
    run = live.ended(answered.run_id, 6)
    assert steps(run)["branch 3"] == 1
    assert Counter(call["model"] for call in run["calls"])["skeptic"] == 2
    assert "You are a tax lawyer." in str(received(live, "engineer")[-1])
    assert "You are a tax lawyer." not in str(received(live, "skeptic")[-1])
    assert "Asking a panel of 3." in answered.thinking
    assert "3 of 3 answered; comparing them." in answered.thinking
    assert "Asking a panel" not in answered.text


def test_the_judge_does_not_know_who_said_what(live: Live, client: Client) -> None:
    """Letters instead of names, in an order that changes; the trace tells which is which."""
    orders = set[str]()
    for number in range(40):  # a fair coin has fallen both ways by then, on all days there will be
        said = Said(f"{ADVICE} Option {number}?")
        run = live.ended(client.ask(Question("fused-two", (said,)), stream=False).run_id, 5)
        (note,) = notes(run, "shown to the judge")
        assert {note["A"], note["B"]} == {"branch 1", "branch 2"}
        orders.add(note["A"])
        told = str(received(live, "judge")[-1])
        assert "sim-chat" not in told
        if len(orders) == 2:
            break
    assert orders == {"branch 1", "branch 2"}


def test_the_report_is_data_in_the_trace(live: Live, client: Client) -> None:
    """A list of points under each heading."""
    answered = client.ask(Question("fused-two", (Said(ADVICE),)), stream=True)
    (report,) = notes(live.ended(answered.run_id, 5), "report")
    wanted = {"consensus", "contradictions", "partial_coverage", "unique_insights", "blind_spots"}
    assert wanted <= {*report}
    assert all(isinstance(point, str) for name in wanted for point in report[name])


@pytest.mark.parametrize(
    ("model", "reason"),
    [
        ("fused-calls", "it would come to 5 calls"),
        ("fused-tokens", "it would take about"),
        ("fused-dear", "it would cost about $4.8, and $4.5 is allowed"),
        ("fused-strangers", "nobody knows the price of sim-chat:skeptic, sim-chat:engineer"),
    ],
)
def test_a_panel_over_its_budget_is_skipped(
    live: Live, client: Client, model: str, reason: str
) -> None:
    """The main model is told and answers alone."""
    answered = client.ask(Question(model, (Said(ADVICE),)), stream=True)
    assert "The panel was not asked" in answered.text
    run = live.ended(answered.run_id, 2)
    assert steps(run) == {"main": 2}
    assert reason in notes(run, "panel skipped")[0]["reason"]


def test_a_panel_within_its_budget_is_asked(live: Live, client: Client) -> None:
    """The estimate is what stands between it and the panel, not what the run has cost."""
    answered = client.ask(Question("fused-cheap", (Said(ADVICE),)), stream=False)
    assert steps(live.ended(answered.run_id, 5))["synthesis"] == 1


@pytest.mark.parametrize("protocol", ["chat", "responses", "messages"])
@pytest.mark.parametrize(
    ("mode", "text", "called"),
    [("off", ADVICE, 1), ("required", "Hello!", 4), ("auto", "Hello!", 1)],
)
def test_a_request_may_choose_its_mode(
    live: Live, protocol: str, mode: str, text: str, called: int
) -> None:
    """A header works with every client."""
    document = request(protocol, "fused-two", stream=False, text=text)
    answer = live.post(protocol, document, headers={"x-polyvox-mode": mode})
    run = live.ended(answer.headers["x-polyvox-run"], called)
    assert len(run["calls"]) == called


def test_an_unknown_mode_is_refused(live: Live) -> None:
    """The error names the header and what it may say."""
    document = request("chat", "fused-two", stream=False, text=ADVICE)
    answer = live.post("chat", document, headers={"x-polyvox-mode": "sometimes"})
    assert answer.status_code == 400
    assert "x-polyvox-mode is 'sometimes'" in answer.json()["error"]["message"]


def test_a_panel_is_asked_once_in_a_turn(live: Live, client: Client) -> None:
    """Not again when the client comes back with the result of a tool."""
    said = Said("Call get_weather for Paris. Should we have a picnic there?")
    question = Question("fused-two", (said,), tools=("get_weather",))
    first = client.ask(question, stream=True)
    assert steps(live.ended(first.run_id, 5))["synthesis"] == 1
    (call,) = first.calls
    turns = (said, first, Results({call.id: "Rain"}))
    second = client.ask(Question("fused-two", turns, tools=("get_weather",)), stream=True)
    assert steps(live.ended(second.run_id)) == {"main": 1}
