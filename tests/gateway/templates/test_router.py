"""The model that suits a request, and the ones behind it."""

import base64
import io
from typing import Any

import pytest
from PIL import Image

from tests.programs.clients import Client, Question, Said
from tests.programs.running import Live
from tests.programs.template_stories import notes


def png(colour: str = "red") -> str:
    written = io.BytesIO()
    Image.new("RGB", (64, 48), colour).save(written, "PNG")
    return base64.b64encode(written.getvalue()).decode()


def routed(live: Live, run_id: str, calls: int = 1) -> tuple[str, str, list[str]]:
    """Return the model chosen, the reason, and the models that were called."""
    run = live.ended(run_id, calls)
    (note,) = notes(run, "routed")
    return note["model"], note["reason"], [call["model"] for call in run["calls"]]


@pytest.mark.parametrize(
    ("question", "model", "reason"),
    [
        (Said("Hello!"), "main-idcheap", "default"),
        (Said("What is this?", png()), "main-ideye", "rule pictures"),
        (Said("Wie ist das Wetter und was soll ich anziehen?"), "main-idgerman", "rule german"),
        (Said("Review the Contract, please."), "main-idlaw", "rule law"),
        (Said("word " * 400), "main-idlong", "rule long"),
    ],
    ids=["default", "pictures", "german", "law", "long"],
)
def test_the_first_rule_that_holds_chooses(
    live: Live, client: Client, question: Said, model: str, reason: str
) -> None:
    """The decision and its reason stand in the trace."""
    answered = client.ask(Question("routed", (question,)), stream=True)
    chosen, why, called = routed(live, answered.run_id)
    assert (chosen.partition(":")[2], why, called) == (model, reason, [model])


def test_a_request_with_tools_goes_where_tools_are_used(live: Live, client: Client) -> None:
    """Across protocols too: the call comes back in the client's own."""
    question = Question("routed", (Said("Call get_weather for Paris"),), tools=("get_weather",))
    answered = client.ask(question, stream=True)
    assert [call.name for call in answered.calls] == ["get_weather"]
    assert routed(live, answered.run_id)[1] == "rule tools"


def document(model: str, text: str) -> dict[str, Any]:
    return {"model": model, "messages": [{"role": "user", "content": text}]}


def test_a_header_of_the_request_can_choose(live: Live) -> None:
    """Only ours and those that name a client are seen; a secret never is."""
    for tenant, reason in (("gold", "rule tenant"), ("tin", "default")):
        headers = {"x-polyvox-tenant": tenant}
        answer = live.post("chat", document("routed", "Hello!"), headers=headers)
        assert routed(live, answer.headers["x-polyvox-run"])[1] == reason


def test_a_classifier_chooses_by_its_label(live: Live, client: Client) -> None:
    """A small model is asked first."""
    question = Question("routed-by-label", (Said("Write poetry about rain."),))
    answered = client.ask(question, stream=True)
    assert routed(live, answered.run_id, 2) == (
        "sim-chat:main-idpoet",
        "label poetry",
        ["sorter", "main-idpoet"],
    )


def test_a_classifier_that_fails_costs_nothing_but_its_call(live: Live, client: Client) -> None:
    """The default answers."""
    answered = client.ask(Question("routed-label-fails", (Said("Poetry!"),)), stream=True)
    run = live.ended(answered.run_id, 2)
    assert notes(run, "routed")[0]["reason"] == "default"
    assert notes(run, "classifier failed")[0]["kind"] == "invalid_request"


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
def test_a_failure_and_a_refusal_fall_back(live: Live, client: Client, stream: bool) -> None:
    """The client gets the third model's answer and nothing of the first two."""
    answered = client.ask(Question("routed-chain", (Said("Hello!"),)), stream=stream)
    assert answered.finish == "stop"
    assert answered.text.startswith("[simulated:main]")
    run = live.ended(answered.run_id, 3)
    assert [note["kind"] for note in notes(run, "fell back")] == ["invalid_request", "refusal"]


def test_after_the_first_word_nothing_falls_back(live: Live, client: Client) -> None:
    """Two answers in one would be neither."""
    with pytest.raises(Exception):  # noqa: B017, PT011  # each library has an error of its own
        client.ask(Question("routed-cut", (Said("Hello!"),)), stream=True)
    run = live.ended(live.newest_run("routed-cut") or "")
    assert {call["model"] for call in run["calls"]} == {"main-n40-cut20-idcut"}


def test_without_a_reader_a_cut_answer_still_falls_back(live: Live, client: Client) -> None:
    """A client that waits for the whole answer has seen nothing."""
    answered = client.ask(Question("routed-cut", (Said("Hello!"),)), stream=False)
    run = live.ended(answered.run_id, 2)
    assert run["calls"][-1]["model"] == "main-idspare"


def test_a_session_stays_with_its_model(live: Live, client: Client) -> None:
    """The provider's prompt cache survives; a rule that overrides still moves it."""
    asked = Said(f"Review the contract of {client.protocol}.")
    first = client.ask(Question("routed-sticky", (asked,)), stream=True)
    turns = (asked, first, Said("Thanks. And the weather?"))
    second = client.ask(Question("routed-sticky", turns), stream=True)
    assert routed(live, second.run_id)[:2] == ("sim-chat:main-idsticky", "the session's model")
    shown = (*turns, second, Said("And this?", png()))
    third = client.ask(Question("routed-sticky", shown), stream=True)
    assert routed(live, third.run_id)[:2] == ("sim-chat:main-ideye", "rule 2")


def test_a_session_is_known_by_the_header_its_client_names(live: Live) -> None:
    """Agents send one; the same conversation in another session is another one."""
    reasons = []
    for session, text in (("a", "A contract"), ("a", "Hello"), ("b", "Hello")):
        headers = {"x-claude-code-session-id": session}
        answer = live.post("chat", document("routed-sticky", text), headers=headers)
        reasons.append(routed(live, answer.headers["x-polyvox-run"])[1])
    assert reasons == ["rule 1", "the session's model", "default"]


def test_a_session_that_has_little_left_moves_to_a_cheaper_model(live: Live) -> None:
    """What its requests cost is counted; the trace tells what was left."""
    asked = document("routed-budget", "Hello, budget!")
    told = []
    for _ in range(2):
        answer = live.post("chat", asked, headers={"x-polyvox-session": "thrifty"})
        told.append(notes(live.ended(answer.headers["x-polyvox-run"]), "routed")[0])
    assert [note["model"] for note in told] == ["priced:main-iddear", "priced:main-idfree"]
    assert told[0]["left_usd"] == 0.5
    assert 0 < told[1]["left_usd"] < 0.5
    assert told[1]["reason"] == "rule thrift"
