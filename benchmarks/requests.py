"""Measure a 2 MB request in the codecs alone, for each pair of protocols.

The request is the history of a long agent session: instructions, 40 tools, and some hundred rounds
of a question, an answer that calls a tool, and the tool's result. The result is CPU time, because
other programs may use the machine: reading the JSON, parsing, rendering, and writing the JSON.
"""

import gc
import itertools
import statistics
import time

import orjson

from polyvox.protocols.bounded_json import parse_json
from polyvox.protocols.table import PROTOCOLS
from polyvox.workflows.conversation import (
    Conversation,
    Json,
    Message,
    Text,
    Tool,
    ToolCall,
    assistant,
    tool_result,
    user,
)

ROUNDS = 440
REPEATS = 9

Milliseconds = dict[tuple[str, str], float]
"""Milliseconds of CPU time, by the client's protocol and the provider's."""


def measure() -> Milliseconds:
    """Return the median CPU time of a request for each pair of protocols."""
    session = _session()
    bodies = {
        protocol: orjson.dumps(PROTOCOLS[protocol].provider.render(session, "any").body)
        for protocol in PROTOCOLS
    }
    pairs = list(itertools.product(PROTOCOLS, PROTOCOLS))
    seconds: dict[tuple[str, str], list[float]] = {pair: [] for pair in pairs}
    gc.disable()
    try:
        for _ in range(REPEATS):
            for client, provider in pairs:
                gc.collect()
                seconds[client, provider].append(_carry(bodies[client], client, provider))
    finally:
        gc.enable()
    return {pair: statistics.median(taken) * 1e3 for pair, taken in seconds.items()}


def _carry(body: bytes, client: str, provider: str) -> float:
    began = time.process_time()
    ask = PROTOCOLS[client].parser.parse(parse_json(body), {})
    rendered = orjson.dumps(PROTOCOLS[provider].provider.render(ask.conversation, "any").body)
    taken = time.process_time() - began
    assert len(rendered) > 1_900_000, f"{client} to {provider}: {len(rendered)} bytes"
    return taken


def _session() -> Conversation:
    messages: list[Message] = []
    for number in range(ROUNDS):
        call = ToolCall(f"call_{number}", "tool_1", '{"path":"src/main.py","from":1,"to":80}')
        messages += [
            user(_words(number, 600)),
            assistant(Text(_words(number, 200)), call),
            tool_result(call, _words(number, 3_500)),
        ]
    schema: Json = {
        "type": "object",
        "properties": {f"p{at}": {"type": "string", "description": "x" * 60} for at in range(8)},
    }
    tools = tuple(Tool(f"tool_{at}", _words(at, 400), schema) for at in range(40))
    return Conversation(
        (*messages, user("go on")), Message("system", (Text(_words(0, 8_000)),)), tools
    )


def _words(seed: int, characters: int) -> str:
    return " ".join(f"word{(seed * 31 + at) % 1000}" for at in range(characters // 8))
