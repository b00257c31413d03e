"""Every front over every provider, streamed and whole, by the official client libraries."""

import base64
import io

import pytest
from PIL import Image

from tests.programs.clients import Answered, Client, Question, Results, Said
from tests.programs.running import PROTOCOLS, Live

ADVICE = "Should we move the billing system to Rust this year?"

streams = pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
providers = pytest.mark.parametrize("provider", [f"sim-{p}" for p in PROTOCOLS])


@streams
@providers
def test_text_and_usage_are_the_providers(client: Client, provider: str, stream: bool) -> None:
    """The text is the persona's whole answer and the tokens are the provider's own count."""
    question = Question(f"{provider}:optimist", (Said(ADVICE),))
    answered = client.ask(question, stream=stream)
    assert answered.text.startswith("[simulated:optimist] ")
    assert "Position:" in answered.text
    assert answered.finish == "stop"
    assert answered.tokens[0] > 5
    assert answered.tokens[1] > 50
    assert answered.run_id.startswith("run_")


@streams
@providers
def test_the_system_prompt_arrives(client: Client, provider: str, stream: bool) -> None:
    """Wherever a protocol keeps its instruction, the model is told it."""
    question = Question(
        f"{provider}:main", (Said("What is your system prompt?"),), system="Speak as a sailor."
    )
    assert "“Speak as a sailor.”" in client.ask(question, stream=stream).text


@streams
@providers
def test_a_conversation_goes_on(client: Client, provider: str, stream: bool) -> None:
    """Earlier turns, the model's own among them, are part of the next request."""
    first = Said("Remember the harbour of Lisbon.")
    answered = client.ask(Question(f"{provider}:main", (first,)), stream=stream)
    turns = (first, answered, Said("What was it that I first said?"))
    again = client.ask(Question(f"{provider}:main", turns), stream=stream)
    assert "(turn 2, " in again.text
    assert "You first said “Remember the harbour of Lisbon.”" in again.text


@streams
@providers
@pytest.mark.parametrize("think", [False, True], ids=["plain", "thinking"])
def test_parallel_tool_calls_make_the_round_trip(
    client: Client, provider: str, stream: bool, think: bool
) -> None:
    """Several calls come with ids of their own; each result finds its call again."""
    asked = Said("Call get_weather for Paris and get_time for Rome")
    question = Question(
        f"{provider}:main", (asked,), tools=("get_weather", "get_time"), think=think
    )
    answered = client.ask(question, stream=stream)
    assert answered.finish == "tool_calls"
    assert [call.name for call in answered.calls] == ["get_weather", "get_time"]
    assert [call.arguments for call in answered.calls] == [{"city": "Paris"}, {"city": "Rome"}]
    weather, clock = (call.id for call in answered.calls)
    assert weather != clock
    assert bool(answered.thinking) is think
    after = client.ask(
        with_results(question, answered, {weather: "Rain, 9 degrees", clock: "12:30"}),
        stream=stream,
    )
    assert "get_weather returned: Rain, 9 degrees" in after.text
    assert "get_time returned: 12:30" in after.text
    assert after.finish == "stop"


def with_results(question: Question, answered: Answered, texts: dict[str, str]) -> Question:
    return Question(
        question.model,
        (*question.turns, answered, Results(texts)),
        tools=question.tools,
        think=question.think,
    )


@streams
@providers
def test_an_image_is_seen(client: Client, provider: str, stream: bool) -> None:
    """The provider gets the pixels, not a description."""
    written = io.BytesIO()
    Image.new("RGB", (48, 32), "red").save(written, "PNG")
    png = base64.b64encode(written.getvalue()).decode()
    asked = Said("Describe the image.", png)
    text = client.ask(Question(f"{provider}:main", (asked,)), stream=stream).text
    assert "48" in text
    assert "32" in text
    assert "red" in text


@streams
@providers
def test_thinking_is_shown(client: Client, provider: str, stream: bool) -> None:
    """Each protocol has its own place for a model's thinking; none loses it."""
    question = Question(f"{provider}:main", (Said(ADVICE),), think=True)
    answered = client.ask(question, stream=stream)
    assert "The simulator follows its rules." in answered.thinking
    assert "Position:" in answered.text


@streams
@providers
def test_an_answer_cut_at_its_limit_says_so(client: Client, provider: str, stream: bool) -> None:
    """The stop reason is the client's own word for it, and the limit counts at the provider."""
    question = Question(f"{provider}:main", (Said(ADVICE),), limit=20)
    answered = client.ask(question, stream=stream)
    assert answered.finish == "length"
    assert answered.tokens[1] == 20


@streams
@providers
def test_unknown_fields_are_no_reason_to_refuse(
    client: Client, provider: str, stream: bool
) -> None:
    """A field that is new today is carried or lost by name; it never costs the answer."""
    question = Question(
        f"{provider}:main",
        (Said("Say exactly: pong"),),
        extra={"field_of_tomorrow": {"deep": [1, None]}, "metadata": {"user_id": "u1"}},
    )
    assert client.ask(question, stream=stream).text.endswith("pong")


@streams
@providers
def test_the_ledger_tells_what_the_client_was_told(
    live: Live, client: Client, provider: str, stream: bool
) -> None:
    """One completed call, with the tokens of the answer."""
    answered = client.ask(Question(f"{provider}:main", (Said(ADVICE),)), stream=stream)
    run = live.ended(answered.run_id)
    assert (run["status"], run["protocol"], run["stream"]) == ("completed", client.protocol, stream)
    (call,) = run["calls"]
    assert (call["step"], call["provider"], call["model"]) == ("main", provider, "main")
    assert (call["tokens"]["input"], call["tokens"]["output"]) == answered.tokens
    assert run["tokens"] == run["spent"] == call["tokens"]
