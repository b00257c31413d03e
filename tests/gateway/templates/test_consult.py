"""A cheap model that may ask a strong one, as clients of each protocol meet it."""

from typing import Any

import pytest

from tests.programs.clients import Client, Question, Results, Said
from tests.programs.running import Live
from tests.programs.template_stories import received

ASKS = 'Call ask_expert with {"question": "Is 7 * 6 right?"} and tell me.'

streams = pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])


def steps(run: dict[str, Any]) -> list[str]:
    return [call["step"] for call in run["calls"]]


@streams
def test_the_worker_asks_and_the_client_sees_one_answer(
    live: Live, client: Client, stream: bool
) -> None:
    """The expert's words are in the answer, its tool is not."""
    model = f"consult-{client.protocol}"
    answered = client.ask(Question(model, (Said(ASKS),)), stream=stream)
    assert answered.calls == ()
    assert "ask_expert returned: [simulated:sage]" in answered.text
    assert "7 * 6 = 42" in answered.text
    assert steps(live.ended(answered.run_id, 3)) == ["worker", "expert", "worker"]


def test_a_worker_that_knows_does_not_ask(live: Live, client: Client) -> None:
    """It costs one call then."""
    answered = client.ask(Question("consult-chat", (Said("Hello!"),)), stream=True)
    assert steps(live.ended(answered.run_id)) == ["worker"]


def test_an_expert_that_fails_is_a_result_the_worker_reads(live: Live, client: Client) -> None:
    """The answer comes all the same."""
    answered = client.ask(Question("consult-expert-fails", (Said(ASKS),)), stream=True)
    assert "ask_expert failed" in answered.text
    assert live.ended(answered.run_id, 3)["status"] == "completed"


def test_the_clients_tools_and_the_expert_in_one_answer(live: Live, client: Client) -> None:
    """The expert is asked at once, the client's call handed through, its result goes on."""
    said = Said('Call ask_expert with {"question": "Umbrella?"} and call get_weather for Paris.')
    model = f"consult-{client.protocol}"
    first = client.ask(Question(model, (said,), tools=("get_weather",)), stream=True)
    (call,) = first.calls
    assert (call.name, call.arguments) == ("get_weather", {"city": "Paris"})
    turns = (said, first, Results({call.id: "Rain"}))
    second = client.ask(Question(model, turns, tools=("get_weather",)), stream=True)
    assert "get_weather returned: Rain" in second.text
    assert "ask_expert returned: [simulated:sage]" in second.text
    assert steps(live.ended(second.run_id)) == ["worker"]
    assert len(received(live, "main-idworker")) > 0
