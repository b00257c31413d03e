"""The arguments of calls keep their numbers, through every protocol and in both directions."""

import orjson
import pytest

from polyvox.gateway.http.json_bytes import json_bytes
from polyvox.protocols.bounded_json import parse_json
from polyvox.protocols.decoding.exact_objects import (
    dump_json,
    may_have_object_arguments,
    read_whole_numbers,
    text_of,
    write_whole_numbers,
)
from polyvox.protocols.sse import Frame
from polyvox.protocols.table import PROTOCOLS
from polyvox.workflows.boundary.serialization import dump, load
from polyvox.workflows.conversation import Conversation, Json, Protocol, user
from polyvox.workflows.reply import Reply
from tests.crossing.passages import asked, encode
from tests.samples.provider_answers import document, replied, streamed

ARGUMENTS = (
    '{"n":100000000000000000000,"m":-36893488147419103233,"deep":[{"x":9007199254740993}],'
    '"f":0.1234567890123456789,"z":1}'
)
NUMBERS = ("100000000000000000000", "-36893488147419103233", "0.1234567890123456789")


def stored(reply: Reply) -> Reply:
    """The reply as a run's history gives it back."""
    loaded: Reply = load(orjson.loads(orjson.dumps(dump(reply))))
    return loaded


@pytest.mark.parametrize("form", ["streamed", "whole"])
@pytest.mark.parametrize("to", PROTOCOLS)
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_providers_numbers_reach_every_client(
    protocol: Protocol, to: Protocol, form: str
) -> None:
    """Streamed and whole, from a stream and from a document."""
    calls = (("c", "f", ARGUMENTS),)
    stream: list[Frame] = (
        streamed(protocol, calls=calls, reason="tool_calls")
        if form == "streamed"
        else [(None, document(protocol, calls=calls, reason="tool_calls"))]
    )
    reply = stored(replied(protocol, stream))
    [call] = reply.tool_calls
    assert call.arguments == ARGUMENTS
    shown = PROTOCOLS[to].answers.render(asked(to), reply, run_id="r", created=0)
    whole = json_bytes(shown).decode()
    sent = b"".join(data for _, data in encode(asked(to), [], reply)).decode()
    for number in NUMBERS:
        assert number in whole
        assert number in sent


def request(protocol: Protocol) -> bytes:
    """A client's request with a call in its history."""
    if protocol == "messages":
        call = b'{"type":"tool_use","id":"c","name":"f","input":%b}' % ARGUMENTS.encode()
        return (
            b'{"model":"m","max_tokens":9,"messages":[{"role":"user","content":"Hi"},'
            b'{"role":"assistant","content":[%b]},{"role":"user","content":'
            b'[{"type":"tool_result","tool_use_id":"c","content":"ok"}]}]}' % call
        )
    if protocol == "chat":
        function = {"name": "f", "arguments": ARGUMENTS}
        call_of_chat = {"id": "c", "type": "function", "function": function}
        messages: list[Json] = [
            {"role": "user", "content": "Hi"},
            {"role": "assistant", "tool_calls": [call_of_chat]},
            {"role": "tool", "tool_call_id": "c", "content": "ok"},
        ]
        return orjson.dumps({"model": "m", "messages": messages})
    items: list[Json] = [
        {"role": "user", "content": "Hi"},
        {"type": "function_call", "call_id": "c", "name": "f", "arguments": ARGUMENTS},
        {"type": "function_call_output", "call_id": "c", "output": "ok"},
    ]
    return orjson.dumps({"model": "m", "input": items})


@pytest.mark.parametrize("over", PROTOCOLS)
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_clients_numbers_reach_every_provider(protocol: Protocol, over: Protocol) -> None:
    """After the conversation was stored, which holds its elements as plain JSON."""
    ask = PROTOCOLS[protocol].parser.parse(parse_json(request(protocol)), {})
    messages = load(orjson.loads(orjson.dumps(dump(ask.conversation.messages))))
    body = PROTOCOLS[over].provider.render(Conversation(messages), "m").body
    sent = dump_json(body).decode()
    for number in NUMBERS:
        assert number in sent


@pytest.mark.parametrize("over", PROTOCOLS)
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_models_numbers_come_back_to_it(protocol: Protocol, over: Protocol) -> None:
    """A tool loop inside a flow sends the reply on."""
    reply = stored(replied(protocol, streamed(protocol, calls=(("c", "f", ARGUMENTS),))))
    body = PROTOCOLS[over].provider.render(Conversation((user("Hi"), reply.message)), "m").body
    sent = dump_json(body).decode()
    assert all(number in sent for number in NUMBERS)


@pytest.mark.parametrize("protocol", ["chat", "responses"])
def test_arguments_that_are_an_object_become_its_text(protocol: Protocol) -> None:
    """Some servers forget that arguments are text."""
    text = orjson.dumps(ARGUMENTS)
    calls = (("c", "f", ARGUMENTS),)
    whole = document(protocol, calls=calls, reason="tool_calls").replace(text, ARGUMENTS.encode())
    [call] = replied(protocol, [(None, whole)]).tool_calls
    assert call.arguments == ARGUMENTS


@pytest.mark.parametrize("number", [1, 2**53 + 1, 2**64 - 1, 10**20, -(10**30), 1.5, 1e20, "2"])
def test_a_flow_hands_whole_numbers_to_its_tools(number: Json) -> None:
    """It parses arguments with Python's reader, which has no largest number."""
    written = write_whole_numbers({"n": number, "text": "ä"})
    assert read_whole_numbers(written) == {"n": number, "text": "ä"}
    assert type(read_whole_numbers(written)["n"]) is type(number)


def test_an_object_with_exact_numbers_is_an_object() -> None:
    """It compares and reads like one; only its text is another."""
    text = b'{"input": {"n": 100000000000000000000, "a": [1, true, null, "x\\n"]}}'
    value = parse_json(text)
    assert value == orjson.loads(text)
    assert text_of(value["input"]) == '{"n":100000000000000000000,"a":[1,true,null,"x\\n"]}'
    assert type(parse_json(b'{"input":{"n":1}}')["input"]) is dict
    assert type(parse_json(b'{"input":{"n":"1000000000000000000000"}}')["input"]) is dict


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ('{"arguments":{"a":1}}', True),
        ('{"input" :\n\t {}}', True),
        ('{"input": "x", "b": {"arguments": {}}}', True),
        ('{"input": [1], "arguments": "{}"}', False),
        ('{"a": "\\"input\\": {"}', False),
        ("{}", False),
    ],
)
def test_arguments_that_are_objects_are_found(text: str, found: bool) -> None:
    assert may_have_object_arguments(text.encode()) is found
