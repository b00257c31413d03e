"""What clients get when a provider answers in one of the odd ways in which providers answer."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
import pytest

from polyvox.worker.engine.ports import free_port
from tests.programs.clients import Answered, Client, Question, Results, Said
from tests.programs.running import ENVIRON, PROTOCOLS, Live, live_program
from tests.programs.scripted import Script, Scripted, scripted_provider
from tests.samples.provider_answers import body, document, frames, streamed

HELLO = Said("Hi")
BIG = '{"n":100000000000000000000,"city":"Paris"}'
SMILE = "\N{SLIGHTLY SMILING FACE}"


@dataclass(frozen=True, slots=True)
class Odd:
    live: Live
    provider: Scripted


def _flow(name: str, flow: str, params: str) -> str:
    return f'[models.{name}]\nflow = "{flow}"\n[models.{name}.params]\n{params}\n'


@pytest.fixture(scope="module")
def odd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Odd]:
    """A program of its own over a provider that plays scripts, in every protocol."""
    environ = {"PATH": os.environ["PATH"], "HOME": os.environ["HOME"], **ENVIRON}
    folder: Path = tmp_path_factory.mktemp("odd")
    with scripted_provider() as provider:
        tables = [
            f'[providers.odd-{p}]\nprotocol = "{p}"\nbase_url = "{provider.url}"\n'
            for p in PROTOCOLS
        ]
        for p in PROTOCOLS:
            tables += [
                _flow(f"routed-{p}", "router", f'default = "odd-{p}:flow"\nsticky = false'),
                _flow(f"verified-{p}", "verify", f'model = "odd-{p}:flow"'),
                _flow(
                    f"fused-{p}",
                    "fusion",
                    f'main = "odd-{p}:flow"\npanel = ["odd-{p}:flow"]\njudge = "odd-{p}:flow"\n'
                    'mode = "off"',
                ),
            ]
        dead = f"http://127.0.0.1:{free_port()}/v1"
        with live_program(folder, dead, environ, more="\n".join(tables)) as live:
            yield Odd(live, provider)


@pytest.fixture(params=PROTOCOLS)
def client(odd: Odd, request: pytest.FixtureRequest) -> Iterator[Client]:
    client = Client(request.param, odd.live.base_url)
    yield client
    client.close()


streams = pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
providers = pytest.mark.parametrize("provider", PROTOCOLS)


def asked(
    odd: Odd, client: Client, provider: str, name: str, *scripts: Script, stream: bool
) -> Answered:
    """Play ``scripts`` under a name of this client's own, and ask once."""
    model = f"{name}-{client.protocol}-{stream}"
    odd.provider.play(provider, model, *scripts)
    return client.ask(Question(f"odd-{provider}:{model}", (HELLO,)), stream=stream)


def calls_of(odd: Odd, answered: Answered, count: int = 1) -> list[Any]:
    run = odd.live.ended(answered.run_id, count)
    assert run["status"] == "completed"
    return list(run["calls"])


@streams
@providers
@pytest.mark.parametrize("then", ["break", "stay"])
def test_an_answer_with_its_end_is_complete(
    odd: Odd, client: Client, provider: str, then: Any, stream: bool
) -> None:
    """The connection breaks or stays open after it: one attempt, with its usage."""
    script = Script(body(streamed(provider, "Hi there", reason="stop")), then)
    answered = asked(odd, client, provider, then, script, stream=stream)
    assert (answered.text, answered.finish, answered.tokens) == ("Hi there", "stop", (3, 2))
    [call] = calls_of(odd, answered)
    assert (call["status"], call["tokens"]["output"]) == ("completed", 2)


@streams
@providers
@pytest.mark.parametrize("form", ["document", "mislabelled stream", "lines", "array"])
def test_the_body_and_not_its_label_is_the_answer(
    odd: Odd, client: Client, provider: str, form: str, stream: bool
) -> None:
    calls = (("c", "get_weather", '{"city":"Paris"}'),)
    if form == "document":
        said = b"\n " + document(provider, "Hi there", calls, "stop")
    elif form in ("lines", "array"):
        events = [e for _, e in streamed(provider, "Hi there", calls, "stop") if e != b"[DONE]"]
        said = b"\n".join(events) if form == "lines" else b"[%b]" % b",".join(events)
    else:
        said = b"\xef\xbb\xbf" + body(streamed(provider, "Hi there", calls, "stop"))
    script = Script(said, content_type="application/json")
    answered = asked(odd, client, provider, form[:3], script, stream=stream)
    assert (answered.text, answered.finish, answered.tokens) == ("Hi there", "tool_calls", (3, 2))
    [call] = answered.calls
    assert (call.id, call.name, call.arguments) == ("c", "get_weather", {"city": "Paris"})
    assert len(calls_of(odd, answered)) == 1


@streams
@pytest.mark.parametrize("provider", ["chat", "messages"])
def test_a_finish_that_announces_calls_without_any_is_a_stop(
    odd: Odd, client: Client, provider: str, stream: bool
) -> None:
    """An agent goes on with the text and does not wait."""
    reason = "tool_calls" if provider == "chat" else "tool_use"
    script = Script(body(streamed(provider, "Hi there", reason=reason)))
    answered = asked(odd, client, provider, "announced", script, stream=stream)
    assert (answered.text, answered.finish, answered.calls) == ("Hi there", "stop", ())


@streams
@pytest.mark.parametrize("provider", ["chat", "messages"])
def test_an_empty_answer_with_an_unknown_end_is_asked_again(
    odd: Odd, client: Client, provider: str, stream: bool
) -> None:
    """The second attempt's answer counts."""
    empty = Script(body(streamed(provider, reason="weird")))
    whole = Script(body(streamed(provider, "Hi there", reason="stop")))
    answered = asked(odd, client, provider, "weird", empty, whole, stream=stream)
    assert (answered.text, answered.finish) == ("Hi there", "stop")
    first, second = calls_of(odd, answered, 2)
    assert (first["error"]["kind"], second["status"]) == ("provider_error", "completed")
    assert first["tokens"]["output"] == 2


@streams
def test_two_calls_in_one_text_are_two_calls(odd: Odd, client: Client, stream: bool) -> None:
    glued = '{"city":"Paris"}{"city":"Rome"}'
    script = Script(
        body(streamed("chat", calls=(("c", "get_weather", glued),), reason="tool_calls"))
    )
    answered = asked(odd, client, "chat", "glued", script, stream=stream)
    assert [call.arguments for call in answered.calls] == [{"city": "Paris"}, {"city": "Rome"}]
    assert {call.name for call in answered.calls} == {"get_weather"}
    assert len({call.id for call in answered.calls}) == 2


@streams
@providers
def test_halves_of_a_character_are_joined(
    odd: Odd, client: Client, provider: str, stream: bool
) -> None:
    """A server that cuts text by UTF-16 units, and one that sends half a character alone."""
    whole = body(streamed(provider, "aXYbZ", reason="stop"))
    # "aX" and "YbZ" are two events.
    for mark, half in ((b"X", b"\\ud83d"), (b"Y", b"\\ude42"), (b"Z", b"\\ud83d")):
        whole = whole.replace(mark, half)
    answered = asked(odd, client, provider, "halves", Script(whole), stream=stream)
    assert answered.text == f"a{SMILE}b\N{REPLACEMENT CHARACTER}"


@streams
@providers
@pytest.mark.parametrize("form", ["stream", "document"])
def test_numbers_in_arguments_make_the_round_trip(
    odd: Odd, client: Client, provider: str, form: str, stream: bool
) -> None:
    """The client gets every digit, and so does the provider in the next turn."""
    calls = (("c", "get_weather", BIG),)
    first = (
        body(streamed(provider, calls=calls, reason="tool_calls"))
        if form == "stream"
        else document(provider, calls=calls, reason="tool_calls")
    )
    last = body(streamed(provider, "Rain", reason="stop"))
    answered = asked(
        odd, client, provider, f"big-{form}", Script(first), Script(last), stream=stream
    )
    [call] = answered.calls
    assert call.arguments["n"] == 10**20
    model = f"big-{form}-{client.protocol}-{stream}"
    turns = (HELLO, answered, Results({call.id: "Rain"}))
    question = Question(f"odd-{provider}:{model}", turns, tools=("get_weather",))
    assert client.ask(question, stream=stream).text == "Rain"
    assert "100000000000000000000" in odd.provider.requests[provider, model][-1]


@streams
def test_an_opening_event_may_be_the_whole_answer(odd: Odd, client: Client, stream: bool) -> None:
    message = orjson.loads(document("messages", "Hi there", (("c", "f", "{}"),), "tool_use"))
    start = {"type": "message_start", "message": message}
    script = Script(body(frames(start, {"type": "message_stop"})))
    answered = asked(odd, client, "messages", "opening", script, stream=stream)
    assert (answered.text, answered.finish, answered.tokens) == ("Hi there", "tool_calls", (3, 2))
    assert [call.id for call in answered.calls] == ["c"]


@streams
@providers
@pytest.mark.parametrize("flow", ["routed", "verified", "fused"])
def test_flows_get_the_same_answers(
    odd: Odd, client: Client, provider: str, flow: str, stream: bool
) -> None:
    """A document without an end of its connection, whose finish contradicts its text."""
    reason = {"chat": "tool_calls", "messages": "tool_use", "responses": "stop"}[provider]
    odd.provider.play(
        provider,
        "flow",
        Script(document(provider, f"Hi {SMILE}", reason=reason), "break", "application/json"),
    )
    answered = client.ask(Question(f"{flow}-{provider}", (HELLO,)), stream=stream)
    assert (answered.text, answered.finish) == (f"Hi {SMILE}", "stop")
    assert len(odd.live.ended(answered.run_id)["calls"]) == 1


@streams
@providers
def test_a_page_names_what_to_check(odd: Odd, client: Client, provider: str, stream: bool) -> None:
    """It is not an answer, whatever its label says."""
    script = Script(b"<html>Welcome</html>")
    with pytest.raises(Exception, match="base_url and protocol"):
        asked(odd, client, provider, "page", script, stream=stream)
