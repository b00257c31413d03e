"""The known worst case for each reader of untrusted text."""

import json
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from polyvox.activities.model_call.redaction import Redaction
from polyvox.activities.model_call.stop_sequences import Stopping
from polyvox.gateway.simulator import tokens
from polyvox.gateway.simulator.acting import arithmetic, judgement, mistakes, question, rules
from polyvox.gateway.simulator.plan import parse as parse_plan
from polyvox.protocols.chat.client import request as chat_front
from polyvox.protocols.chat.provider import request as chat_provider
from polyvox.protocols.decoding.arguments import Arguments, Nesting
from polyvox.protocols.decoding.exact_objects import with_exact_arguments
from polyvox.protocols.decoding.half_characters import repaired
from polyvox.protocols.messages.client import request as messages_front
from polyvox.protocols.messages.provider import model_capabilities as messages_models
from polyvox.protocols.messages.provider import request as messages_provider
from polyvox.protocols.openai import model_capabilities as openai_models
from polyvox.protocols.openai import provider_errors as openai_errors
from polyvox.protocols.provider_failures.too_long import is_too_long
from polyvox.protocols.responses.client import request as responses_front
from polyvox.protocols.responses.provider import request as responses_provider
from polyvox.protocols.sse import FrameSplitter
from polyvox.workflows import points_by_heading
from polyvox.workflows.checks import schema_complaints
from polyvox.workflows.conversation import Conversation, Text, user
from polyvox.workflows.events import PartDelta, PartStarted
from polyvox.workflows.language import language_of
from polyvox.workflows.linear_patterns import linear_pattern
from polyvox.workflows.templates import patch

LARGEST = 1 << 20
BRIEF = 1 << 17
"""For readers of the simulator, of which there are many: enough to detect quadratic time."""

GROWTH = 2.5
"""How many times longer a text of twice the size may take."""

LONG_S = 5.0
"""A reading of this duration is long enough to measure."""

FLOOR_S = 0.02
"""A reader that is faster than this with the largest text is not measured."""


@dataclass(frozen=True)
class Case:
    """``make`` returns a text of about ``size`` characters; ``read`` reads it."""

    name: str
    read: Callable[[Any], object]
    make: Callable[[int], Any]
    largest: int = LARGEST


def repeated(piece: str, before: str = "", after: str = "") -> Callable[[int], str]:
    return lambda size: before + piece * (size // len(piece)) + after


def split(body: bytes, length: int = 1) -> list[bytes]:
    return [body[at : at + length] for at in range(0, len(body), length)]


def frames(chunks: Iterable[bytes]) -> None:
    splitter = FrameSplitter()
    for chunk in chunks:
        splitter.feed(chunk)
    splitter.finish()


def decoded(dialect: Any) -> Callable[[list[Any]], None]:
    def read(documents: list[Any]) -> None:
        decoder = dialect.decoder()
        for document in documents:
            decoder.feed(document.get("type"), json.dumps(document).encode())

    return read


def delta(**members: Any) -> dict[str, Any]:
    return {"choices": [{"index": 0, "delta": members}]}


def call(index: int | None, text: str, **more: Any) -> dict[str, Any]:
    placed = {} if index is None else {"index": index}
    return {**placed, "function": {"arguments": text, **({"name": "f"} if more else {})}, **more}


def waiting_calls(size: int) -> list[Any]:
    """A second call waits while the first grows, which is then searched for its end."""
    first = delta(tool_calls=[call(0, '{"', id="a"), call(1, "{", id="b")])
    return [first, *(delta(tool_calls=[call(0, "}")]) for _ in range(size // 64))]


def many_calls(size: int) -> list[Any]:
    return [delta(tool_calls=[call(None, "{}", id=f"c{n}")]) for n in range(size // 64)]


def block(*deltas: dict[str, Any]) -> list[Any]:
    start = {
        "type": "content_block_start",
        "index": 0,
        "content_block": {"type": "text", "text": ""},
    }
    said = [{"type": "content_block_delta", "index": 0, "delta": d} for d in deltas]
    return [{"type": "message_start", "message": {"usage": {}}}, start, *said]


def stopped(sequence: str) -> Callable[[str], None]:
    def read(text: str) -> None:
        stopping = Stopping((sequence,))
        stopping.feed([PartStarted(Text(""))])
        for at in range(0, len(text), 4):
            stopping.feed([PartDelta(text[at : at + 4])])

    return read


def asked_simulator(text: str) -> None:
    rules.answer(Conversation((user(text),)), parse_plan("main"))


def chat_request(messages: Callable[[int], list[Any]], each: int) -> Callable[[int], Any]:
    return lambda size: {"model": "m", "messages": messages(size // each)}


def tool_turns(count: int) -> list[Any]:
    """Many calls, each with its result, all results last."""
    calls = [
        {"id": f"c{n}", "type": "function", "function": {"name": "f", "arguments": "{}"}}
        for n in range(count)
    ]
    results = [{"role": "tool", "tool_call_id": f"c{n}", "content": "r"} for n in range(count)]
    return [{"role": "assistant", "tool_calls": calls}, *results]


def one_id(messages: list[Any]) -> list[Any]:
    """The same with one id for all calls and results."""
    text = re.sub(r'"c\d+"', '"c"', json.dumps(messages))
    found: list[Any] = json.loads(text)
    return found


def single_results(count: int) -> list[Any]:
    """Many calls, each with its result in a message of its own."""
    *before, results = block_turns(count)
    return [*before, *({"role": "user", "content": [block]} for block in results["content"])]


def block_turns(count: int) -> list[Any]:
    calls = [{"type": "tool_use", "id": f"c{n}", "name": "f", "input": {}} for n in range(count)]
    results = [{"type": "tool_result", "tool_use_id": f"c{n}"} for n in range(count)]
    return [
        {"role": "user", "content": "u"},
        {"role": "assistant", "content": calls},
        {"role": "user", "content": results},
    ]


def item_turns(count: int) -> list[Any]:
    calls = [
        {"type": "function_call", "call_id": f"c{n}", "name": "f", "arguments": "{}"}
        for n in range(count)
    ]
    results = [
        {"type": "function_call_output", "call_id": f"c{n}", "output": "r"} for n in range(count)
    ]
    return [*calls, *results]


def tools_of(count: int) -> list[Any]:
    return [
        {"type": "function", "function": {"name": f"f{n}", "parameters": {"type": "object"}}}
        for n in range(count)
    ]


def sized(make: Callable[[int], Any]) -> Callable[[int], Any]:
    return lambda size: make(size // 64)


def parsed(front: Any) -> Callable[[Any], None]:
    return lambda document: front.parse(document, {})


def rendered(front: Any, dialect: Any) -> Callable[[Any], None]:
    def read(document: Any) -> None:
        dialect.render(front.parse(document, {}).conversation, "m")

    return read


REQUESTS = {
    "chat": (chat_front, lambda n: {"model": "m", "messages": tool_turns(n)}),
    "messages": (
        messages_front,
        lambda n: {"model": "m", "max_tokens": 1, "messages": block_turns(n)},
    ),
    "responses": (responses_front, lambda n: {"model": "m", "input": item_turns(n)}),
    "chat with one id": (
        chat_front,
        lambda n: {"model": "m", "messages": one_id(tool_turns(n))},
    ),
    "messages with single results": (
        messages_front,
        lambda n: {"model": "m", "max_tokens": 1, "messages": single_results(n)},
    ),
    "results without calls": (
        responses_front,
        lambda n: {"model": "m", "input": item_turns(n)[n:]},
    ),
}
DIALECTS = {
    "chat": chat_provider,
    "messages": messages_provider,
    "responses": responses_provider,
}

FENCE = "```python a.py\n"
HOSTILE = {
    "fences": FENCE,
    "blanks": " ",
    "backticks": "`",
    "dots": "a.",
    "digits": "1",
    "sums": "1+",
    "spaced sums": "1 +  ",
    "brackets": "[",
    "labels": "[simulated:",
    "answers": "<answer>",
    "answers with attributes": '<answer id="',
    "questions": "<question>",
    "framed": "<task </task>",
    "surroundings": "<system-reminder>",
    "folders": "<cwd>a",
    "headings": "# Answer \n",
    "curly quotes": "\u201c",
    "quotes": "'a ",
    "functions": "function f in ",
    "no break spaces": "\xa0",
    "writes": "write a ",
    "contents": "containing ",
    "paths": "/a",
    "words": "use and ",
    "line ends": "\n",
    "sentences": "a. ",
}


def redacted(text: str) -> None:
    """In pieces of the size that a socket returns at once."""
    rewriting = Redaction(["a-secret-of-the-server"]).stream()
    for at in range(0, len(text), 1 << 16):
        rewriting.feed(text[at : at + (1 << 16)])
    rewriting.finish()


CASES = [
    Case("redaction", redacted, repeated("a-secret-of-the-server")),
    Case("redaction of beginnings", redacted, repeated("a-se")),
    Case("redaction of what is nearly one", redacted, repeated("a-secret-of-the-serve")),
    *(Case(f"patch files: {n}", patch.files_in, repeated(p)) for n, p in HOSTILE.items()),
    Case(
        "patch fences of many lengths",
        patch.files_in,
        lambda s: "".join(f"{'`' * (3 + n % 500)}python a.py\n" for n in range(s // 260)),
    ),
    Case("patch closings only", patch.files_in, repeated("```\n", FENCE)),
    Case("patch one long opening", patch.files_in, repeated("a", "```python ", "!")),
    Case("patch diff", lambda t: patch.diff_of("a", t, t[::-1]), repeated("a\nb\nc\n"), 1 << 18),
    Case("patch parses", lambda t: patch.syntax_errors({"a.py": t}), repeated("-"), 1 << 17),
    Case("patch parses json", lambda t: patch.syntax_errors({"a.json": t}), repeated("[")),
    *(
        Case(f"points by heading: {n}", points_by_heading, repeated(p), BRIEF)
        for n, p in HOSTILE.items()
    ),
    Case("points below a spaced heading", points_by_heading, repeated(" ", "# a", "b")),
    Case("language", language_of, repeated("a ")),
    Case("a pattern", linear_pattern(r"(a+)+$").search, repeated("a", after="b")),
    Case("an open pattern", linear_pattern(r".*.*=.*").search, repeated("x")),
    Case("a blank pattern", linear_pattern(r"\s+$").search, repeated(" ", after="x")),
    Case(
        "a schema's pattern",
        lambda t: schema_complaints(json.dumps(t), {"pattern": r"^(\w+\s?)*$"}, "It"),
        repeated("a", after="!"),
    ),
    Case(
        "a schema's members",
        lambda t: schema_complaints(
            json.dumps(dict.fromkeys(t, 1)),
            {"patternProperties": {"^(a|aa)+$": {}}, "additionalProperties": {"type": "integer"}},
            "It",
        ),
        lambda s: [f"{n}" for n in range(s // 16)],
    ),
    Case("frames in bytes", frames, lambda s: split(b"data: " + b"x" * s), 1 << 20),
    Case("frames of returns", frames, lambda s: split(b"\r" * s)),
    Case("frames of lines", frames, lambda s: split(b"data: x\n" * (s // 8), 3)),
    Case("stop sequence", stopped("a" * 500 + "b"), repeated("a"), 1 << 19),
    Case("stop sequence that never begins", stopped("zz"), repeated("a")),
    Case("chat words", decoded(chat_provider), lambda s: [delta(content="x")] * (s // 64)),
    Case(
        "chat unknown words",
        decoded(chat_provider),
        lambda s: [delta(content="x"), *[delta(novel="xxxx")] * (s // 64)],
    ),
    Case(
        "chat unknown entries",
        decoded(chat_provider),
        lambda s: [delta(content="x"), *(delta(novel=[{"index": n}]) for n in range(s // 64))],
    ),
    Case("chat waiting calls", decoded(chat_provider), waiting_calls),
    Case("chat many calls", decoded(chat_provider), many_calls),
    Case("braces", lambda t: Nesting().feed(t), repeated("{")),
    Case("placeholders", lambda t: Arguments().feed(t), repeated("{}")),
    Case("half characters", lambda t: repaired(t.encode(), mark=True), repeated("\\ud83d")),
    Case(
        "long numbers",
        lambda t: with_exact_arguments(json.loads(t), t.encode()),
        lambda s: '{"input":{"a":[' + ",".join(["1" * 20] * (s // 21)) + "]}}",
    ),
    Case(
        "messages words",
        decoded(messages_provider),
        lambda s: block(*[{"type": "text_delta", "text": "x"}] * (s // 64)),
    ),
    Case(
        "messages citations",
        decoded(messages_provider),
        lambda s: block(*[{"type": "citations_delta", "citation": {}}] * (s // 64)),
    ),
    Case(
        "messages unknown words",
        decoded(messages_provider),
        lambda s: block(*[{"type": "novel", "novel": "xxxx"}] * (s // 64)),
    ),
    Case(
        "an error's wait",
        lambda t: openai_errors.parse_error(429, {}, t.encode()),
        repeated("1", '{"error":{"message":"try again in ', '"}}'),
    ),
    Case("an error's numbers", is_too_long, repeated("1 is too large: ")),
    Case("a model of OpenAI", openai_models.thinks, repeated("gpt-1", after="x")),
    Case("a model's digits", openai_models.thinks, repeated("1", "gpt-")),
    Case("a model of Anthropic", messages_models.takes_system_turns, repeated("claude-a")),
    Case("a model of Anthropic's digits", messages_models.generation, repeated("1", "claude-")),
    Case("a simulated model", parse_plan, repeated("-n1-itl1", "main")),
    *(
        Case(f"parse {name}", parsed(front), sized(make))
        for name, (front, make) in REQUESTS.items()
    ),
    *(
        Case(f"render {name} as {to}", rendered(front, dialect), sized(make))
        for name, (front, make) in REQUESTS.items()
        for to, dialect in DIALECTS.items()
    ),
    Case(
        "parse many tools",
        parsed(chat_front),
        lambda s: {
            "model": "m",
            "messages": [{"role": "user", "content": "u"}],
            "tools": tools_of(s // 128),
        },
    ),
    *(Case(f"simulator: {n}", asked_simulator, repeated(p), BRIEF) for n, p in HOSTILE.items()),
    *(Case(f"judgement: {n}", judgement.report, repeated(p), BRIEF) for n, p in HOSTILE.items()),
    *(Case(f"verdict: {n}", mistakes.verdict, repeated(p), BRIEF) for n, p in HOSTILE.items()),
    *(Case(f"label: {n}", mistakes.label, repeated(p), BRIEF) for n, p in HOSTILE.items()),
    *(Case(f"unwrapped: {n}", question.unwrapped, repeated(p), BRIEF) for n, p in HOSTILE.items()),
    *(Case(f"tokens: {n}", tokens.split, repeated(p), BRIEF) for n, p in HOSTILE.items()),
    *(
        Case(f"sums: {n}", lambda t: arithmetic.results(t[: question.LONGEST_GIST]), repeated(p))
        for n, p in HOSTILE.items()
    ),
]
