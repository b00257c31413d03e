"""Answers that are checked and mended before the client gets them."""

import json

import pytest

from tests.programs.clients import Client, Question, Said
from tests.programs.optional_parts import sandboxed
from tests.programs.running import Live
from tests.programs.template_stories import notes, received

streams = pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])


@streams
def test_json_that_lacks_a_member_is_mended(live: Live, client: Client, stream: bool) -> None:
    """The client gets only what follows the schema; the model was told what was wrong."""
    answered = client.ask(Question("verified-schema", (Said("Rate {this}."),)), stream=stream)
    run = live.ended(answered.run_id, 2)
    assert [call["step"] for call in run["calls"]] == ["answer", "repair"]
    assert notes(run, "checked") == [
        {"what": "checked", "passed": True, "repairs": 1, "complaints": []}
    ]
    told = received(live, "main-slip1-idschema")[-1]["messages"][-1]["content"]
    assert "is not JSON" in str(told) or "'answer' is a required property" in str(told)


@streams
def test_a_call_without_its_arguments_is_mended(live: Live, client: Client, stream: bool) -> None:
    """The client's tool is never called wrongly."""
    said = Said("Call get_weather for Paris")
    answered = client.ask(
        Question("verified-tools", (said,), tools=("get_weather",)), stream=stream
    )
    (call,) = answered.calls
    assert call.name == "get_weather"
    assert "city" in call.arguments
    run = live.ended(answered.run_id, 2)
    (note,) = notes(run, "check failed")
    assert "'city' is a required property" in note["complaints"][0]


@streams
def test_a_verifier_finds_a_mistake_and_the_writer_mends_it(
    live: Live, client: Client, stream: bool
) -> None:
    """The wrong sum never reaches the client; the formatter has the last word."""
    answered = client.ask(Question("verified-reader", (Said("Tell me something."),)), stream=stream)
    assert "2 + 2 = 5" not in answered.text
    run = live.ended(answered.run_id, 6)
    assert [call["step"] for call in run["calls"]] == [
        "answer",
        "verify",
        "repair",
        "verify",
        "format",
        "verify",
    ]
    (note,) = notes(run, "check failed")
    assert note["complaints"] == ["2 + 2 = 5 is wrong: it is 4."]


def test_what_never_passes_is_an_error_that_says_why(live: Live, client: Client) -> None:
    """By default nothing unchecked comes out."""
    with pytest.raises(Exception, match=r"No answer passed its checks after 1 repairs") as caught:
        client.ask(Question("verified-never-error", (Said("Tell me."),)), stream=False)
    assert "UnprocessableEntity" in type(caught.value).__name__
    assert live.ended(client.run_id, 4)["error"]["kind"] == "unprocessable"


@pytest.mark.parametrize(("what", "text"), [("last", "2 + 2 = 5"), ("message", "Sorry.")])
def test_what_never_passes_may_be_given_anyway(
    live: Live, client: Client, what: str, text: str
) -> None:
    """The last try, or a text of the operator's."""
    answered = client.ask(Question(f"verified-never-{what}", (Said("Tell me."),)), stream=True)
    assert text in answered.text
    (note,) = notes(live.ended(answered.run_id, 4), "checked")
    assert note["passed"] is False


def test_the_clients_own_schema_is_checked(live: Live) -> None:
    """A structured-output request needs no parameter."""
    schema = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
    document = {
        "model": "verified-tools",
        "messages": [{"role": "user", "content": "A number."}],
        "response_format": {
            "type": "json_schema",
            "json_schema": {"name": "number", "schema": schema},
        },
    }
    answer = live.post("chat", document)
    assert answer.status_code == 200, answer.text
    assert isinstance(json.loads(answer.json()["choices"][0]["message"]["content"])["n"], int)
    assert len(live.ended(answer.headers["x-polyvox-run"], 2)["calls"]) == 2


@sandboxed
def test_a_program_checks_the_answer(live: Live, client: Client) -> None:
    """It is the operator's, runs in the sandbox, and what it prints are the complaints."""
    answered = client.ask(Question("verified-program", (Said("Tell me."),)), stream=True)
    assert "2 + 2 = 5" not in answered.text
    run = live.ended(answered.run_id, 2)
    assert [call["step"] for call in run["calls"]] == ["answer", "repair"]
    (note,) = notes(run, "check failed")
    assert note["complaints"] == ["two and two are four"]
