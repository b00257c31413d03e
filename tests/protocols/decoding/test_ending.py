"""The finish reason of an answer agrees with what it holds, over every provider protocol."""

from typing import Any

import pytest

from polyvox.protocols.coverage.answer_losses import answer_losses
from polyvox.protocols.table import PROTOCOLS
from polyvox.workflows.conversation import Protocol, Text, ToolCall
from polyvox.workflows.errors import ModelError
from polyvox.workflows.reply import Reply
from tests.crossing.passages import asked
from tests.samples.provider_answers import Call, document, frames, replied, streamed

FORMS = ("streamed", "whole")
CALL: Call = ("c", "f", '{"a":1}')


def answer(
    protocol: Protocol, form: str, text: str = "", calls: tuple[Call, ...] = (), reason: Any = None
) -> Reply:
    """The Reply that a provider's answer becomes."""
    if form == "whole":
        return replied(protocol, [(None, document(protocol, text, calls, reason))])
    return replied(protocol, streamed(protocol, text, calls, reason))


every_provider = pytest.mark.parametrize("protocol", PROTOCOLS)
worded = pytest.mark.parametrize("protocol", ["chat", "messages"])
as_text = pytest.mark.parametrize(
    ("protocol", "form"),
    [(p, f) for p in PROTOCOLS for f in FORMS if (p, f) != ("messages", "whole")],
)
"""The answers in which arguments are text; a whole message has them as an object."""

each_form = pytest.mark.parametrize("form", FORMS)


@each_form
@pytest.mark.parametrize(
    ("protocol", "reason"),
    [
        *((p, r) for p in PROTOCOLS for r in ("stop", "tool_calls", None)),
        # The status of a response has no other words.
        *((p, r) for p in ("chat", "messages") for r in ("end_turn", "STOP", "weird", "")),
    ],
)
def test_a_call_is_the_reason_to_stop(protocol: Protocol, form: str, reason: Any) -> None:
    """Whatever word the server has for it, an agent must run the call."""
    reply = answer(protocol, form, "Hi", (CALL,), reason)
    assert (reply.finish, len(reply.tool_calls)) == ("tool_calls", 1)


@each_form
@worded
@pytest.mark.parametrize("reason", ["tool_calls", "tool_use", "function_call", "TOOL_CALL"])
def test_calls_that_were_announced_and_not_sent_are_no_reason(
    protocol: Protocol, form: str, reason: str
) -> None:
    """Agents that wait for a call would stop silently."""
    reply = answer(protocol, form, "Hi", reason=reason)
    assert (reply.text, reply.finish) == ("Hi", "stop")
    shown = {
        name: spoken.answers.render(asked(name), reply, run_id="r", created=0)
        for name, spoken in PROTOCOLS.items()
    }
    assert shown["chat"]["choices"][0]["finish_reason"] == "stop"
    assert shown["messages"]["stop_reason"] == "end_turn"
    assert shown["responses"]["status"] == "completed"


@each_form
@worded
@pytest.mark.parametrize(
    ("reason", "finish"),
    [
        ("length", "length"),
        ("max_tokens", "length"),
        ("MAX_TOKENS", "length"),
        ("model_length", "length"),
        ("eos_token", "stop"),
        ("stop_sequence", "stop"),
        ("SAFETY", "refusal"),
        ("content_filter", "refusal"),
        ("pause_turn", "pause"),
    ],
)
def test_a_word_of_another_server_is_understood(
    protocol: Protocol, form: str, reason: str, finish: str
) -> None:
    assert answer(protocol, form, "Hi", reason=reason).finish == finish


@each_form
@pytest.mark.parametrize(
    ("protocol", "reason"),
    [
        *((p, r) for p in PROTOCOLS for r in ("weird", "error")),
        ("chat", "tool_calls"),
        ("messages", "tool_calls"),
    ],
)
def test_an_unknown_end_without_content_is_a_failure_that_passes(
    protocol: Protocol, form: str, reason: str
) -> None:
    """It must never be an empty success."""
    with pytest.raises(ModelError) as caught:
        answer(protocol, form, reason=reason)
    assert caught.value.kind == "provider_error"
    assert caught.value.fault.retryable


@each_form
@every_provider
def test_an_unknown_end_of_an_answer_is_kept_and_named(protocol: Protocol, form: str) -> None:
    """Its own protocol gets the word, the others a name in the losses."""
    reply = answer(protocol, form, "Hi", reason="weird")
    assert reply.parts == (Text("Hi"),)
    assert reply.finish == ("length" if protocol == "responses" else "stop")
    own = PROTOCOLS[protocol].answers.render(asked(protocol), reply, run_id="r", created=0)
    assert "'weird'" in str(own)
    for name in PROTOCOLS:
        named = "answer.finish_reason: the unknown word 'weird'" in answer_losses(reply, name)
        assert named == (name != protocol)


def test_a_chat_client_gets_a_word_it_knows() -> None:
    """Agents begin again at an unknown one; the provider's is in a member of its own."""
    reply = answer("chat", "streamed", "Hi", reason="weird")
    document = PROTOCOLS["chat"].answers.render(asked("chat"), reply, run_id="r", created=0)
    [choice] = document["choices"]
    assert (choice["finish_reason"], choice["native_finish_reason"]) == ("stop", "weird")


@each_form
@worded
@pytest.mark.parametrize("reason", [None, "", " ", "null"])
def test_an_answer_without_a_reason_is_kept_and_named(
    protocol: Protocol, form: str, reason: Any
) -> None:
    """At the protocol's end mark; an empty reason is none."""
    reply = answer(protocol, form, "Hi", reason=reason)
    assert (reply.text, reply.finish) == ("Hi", "stop")
    for name in PROTOCOLS:
        assert "answer.finish_reason: the provider gave none" in answer_losses(reply, name)


@each_form
@worded
def test_nothing_at_all_is_not_an_answer(protocol: Protocol, form: str) -> None:
    with pytest.raises(ModelError) as caught:
        answer(protocol, form)
    assert caught.value.fault.retryable


def test_an_empty_reason_is_none_and_the_last_one_counts() -> None:
    """Some servers write a reason into every chunk, and the true one into the last."""

    def chunk(text: str, reason: str | None) -> Any:
        choice = {"index": 0, "delta": {"content": text}, "finish_reason": reason}
        return {"model": "m", "choices": [choice]}

    for early in ("", "null", "stop"):
        said = [chunk("a", early), chunk("b", early), chunk("", "length")]
        reply = replied("chat", [*frames(*said), (None, b"[DONE]")])
        assert (reply.text, reply.finish) == ("ab", "length")


@as_text
@pytest.mark.parametrize(
    "arguments",
    ['{"a":1}{"a":2}', '{"a":1} \n{"a":2}', '{"a":{"b":"}{"}}{}', '{"a":1}}', "['a']"],
)
def test_no_completed_call_has_arguments_that_are_not_json(
    protocol: Protocol, form: str, arguments: str
) -> None:
    """Two objects as one text are two calls or a bad stream, the same streamed and whole."""
    calls = (("c", "f", arguments),)
    if protocol != "chat" or not arguments.startswith("{") or arguments.endswith("}}"):
        with pytest.raises(ModelError) as caught:
            answer(protocol, form, calls=calls, reason="tool_calls")
        assert caught.value.kind == "bad_stream"
        return
    reply = answer(protocol, form, calls=calls, reason="tool_calls")
    first, second = reply.tool_calls
    assert (first.id, first.name, second.name) == ("c", "f", "f")
    assert second.id not in ("", "c")
    assert (first.arguments + second.arguments).split() == arguments.split()


@pytest.mark.parametrize(
    ("protocol", "form"), [("chat", "streamed"), ("chat", "whole"), ("messages", "streamed")]
)
def test_an_empty_object_before_the_arguments_is_a_placeholder(
    protocol: Protocol, form: str
) -> None:
    """Servers that translate from Messages put the empty input of a block before its text."""
    reply = answer(protocol, form, calls=(("c", "f", '{}{"a":1}'),), reason="tool_calls")
    assert reply.tool_calls == (ToolCall("c", "f", '{"a":1}'),)


@as_text
def test_a_call_that_was_cut_at_the_limit_stays_as_it_is(protocol: Protocol, form: str) -> None:
    """The reason says that it is not complete."""
    reason = {"chat": "length", "messages": "max_tokens", "responses": "max_output_tokens"}
    reply = answer(protocol, form, calls=(("c", "f", '{"a":'),), reason=reason[protocol])
    assert reply.finish == "length"
    assert reply.tool_calls == (ToolCall("c", "f", '{"a":'),)
