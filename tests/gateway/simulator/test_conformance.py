"""What conformance suites ask of a model: the simulator answers it by rules."""

from collections.abc import AsyncIterator
from typing import Any

import anthropic
import openai
import orjson
import pytest

from polyvox.gateway.simulator import tokens
from polyvox.gateway.simulator.acting.json_keys import asked_keys
from polyvox.gateway.simulator.listening import Listening, serve
from polyvox.gateway.simulator.prefixes import LEAST, STEP

WEATHER = {
    "type": "object",
    "properties": {"location": {"type": "string"}},
    "required": ["location"],
}
ABOUT_WEATHER = "Get the current weather for a location"
LONG = "A long instruction that many requests have in common. " * 300


@pytest.fixture
async def simulator() -> AsyncIterator[Listening]:
    running = await serve()
    yield running
    await running.stop()


@pytest.fixture
async def gpt(simulator: Listening) -> AsyncIterator[openai.AsyncOpenAI]:
    async with openai.AsyncOpenAI(
        base_url=f"{simulator.url}/v1", api_key="test-key", max_retries=0
    ) as client:
        yield client


@pytest.fixture
async def claude(simulator: Listening) -> AsyncIterator[anthropic.AsyncAnthropic]:
    async with anthropic.AsyncAnthropic(
        base_url=simulator.url, api_key="test-key", max_retries=0
    ) as client:
        yield client


async def chat_calls(client: openai.AsyncOpenAI, text: str, *named: tuple[str, str]) -> list[Any]:
    """Return (name, arguments) of the calls for ``text``; tools are ``named`` and described."""
    tools: Any = [
        {"type": "function", "function": {"name": n, "description": d, "parameters": WEATHER}}
        for n, d in named
    ]
    answer: Any = await client.chat.completions.create(
        model="main", messages=[{"role": "user", "content": text}], tools=tools
    )
    calls = answer.choices[0].message.tool_calls or []
    return [(c.function.name, orjson.loads(c.function.arguments)) for c in calls]


@pytest.mark.parametrize(
    ("text", "places"),
    [
        ("What's the weather like in San Francisco?", ["San Francisco"]),
        ("Tell me the weather in Paris, Rome and Oslo.", ["Paris", "Rome", "Oslo"]),
        ("How is the weather?", ["How"]),
    ],
)
async def test_a_tool_is_chosen_by_what_it_is_about(
    gpt: openai.AsyncOpenAI, text: str, places: list[str]
) -> None:
    """By its name or its description; once for each place."""
    for name, about in (("get_weather", ""), ("lookup_1", ABOUT_WEATHER)):
        tools = (("send_mail", "Send an e-mail to somebody"), (name, about))
        calls = await chat_calls(gpt, text, *tools)
        assert [called for called, _ in calls] == [name] * len(places)
        if places != ["How"]:
            assert [arguments["location"] for _, arguments in calls] == places


@pytest.mark.parametrize(
    "text", ["What is 17 + 25?", "Should I cache or recompute?", "Whether it rains matters."]
)
async def test_a_tool_about_something_else_is_not_called(
    gpt: openai.AsyncOpenAI, text: str
) -> None:
    assert await chat_calls(gpt, text, ("get_weather", ABOUT_WEATHER)) == []


async def test_after_the_result_of_a_described_tool_the_turn_ends(gpt: openai.AsyncOpenAI) -> None:
    tools: Any = [{"type": "function", "name": "get_weather", "parameters": WEATHER}]
    asked: Any = [{"role": "user", "content": "What is the weather in Paris?"}]
    first: Any = await gpt.responses.create(model="main", input=asked, tools=tools)
    (call,) = first.output
    output: Any = {"type": "function_call_output", "call_id": call.call_id, "output": "Rain"}
    second = await gpt.responses.create(model="main", input=[*asked, call, output], tools=tools)
    assert "get_weather returned: Rain" in second.output_text


async def test_a_tool_result_without_its_call_is_refused(
    gpt: openai.AsyncOpenAI, claude: anthropic.AsyncAnthropic
) -> None:
    """As providers refuse it; a history that lost a call is noticed."""
    orphan: Any = [
        {"role": "user", "content": "hello"},
        {"role": "tool", "tool_call_id": "call_1", "content": "Rain"},
    ]
    with pytest.raises(openai.BadRequestError, match="No tool call found"):
        await gpt.chat.completions.create(model="main", messages=orphan)
    item: Any = {"type": "function_call_output", "call_id": "call_1", "output": "Rain"}
    with pytest.raises(openai.BadRequestError, match="No tool call found"):
        await gpt.responses.create(model="main", input=[item])
    result: Any = {"type": "tool_result", "tool_use_id": "toolu_1", "content": "Rain"}
    with pytest.raises(anthropic.BadRequestError, match="No tool call found"):
        await claude.messages.create(
            model="main", max_tokens=100, messages=[{"role": "user", "content": [result]}]
        )


async def test_chat_gives_log_probabilities_streamed_and_whole(gpt: openai.AsyncOpenAI) -> None:
    """One entry for each token, with as many alternatives as were asked for."""
    asked: Any = {
        "model": "main",
        "messages": [{"role": "user", "content": "hello"}],
        "logprobs": True,
        "top_logprobs": 3,
    }
    whole: Any = (await gpt.chat.completions.create(**asked)).choices[0]
    entries = whole.logprobs.content
    assert "".join(entry.token for entry in entries) == whole.message.content
    assert all(entry.logprob < 0 and len(entry.top_logprobs) == 3 for entry in entries)
    streamed: list[Any] = []
    async for chunk in await gpt.chat.completions.create(**asked, stream=True):
        for choice in chunk.choices:
            streamed += choice.logprobs.content if choice.logprobs else []
    assert streamed == entries
    plain = await gpt.chat.completions.create(model="main", messages=asked["messages"])
    assert plain.choices[0].logprobs is None


async def test_responses_gives_log_probabilities_if_they_are_included(
    gpt: openai.AsyncOpenAI,
) -> None:
    asked: Any = {"model": "main", "input": "hello", "top_logprobs": 2}
    include: Any = ["message.output_text.logprobs"]
    whole: Any = await gpt.responses.create(**asked, include=include)
    part = whole.output[0].content[0]
    assert "".join(entry.token for entry in part.logprobs) == part.text
    assert all(len(entry.top_logprobs) == 2 for entry in part.logprobs)
    streamed: list[Any] = []
    async with gpt.responses.stream(**asked, include=include) as stream:
        async for event in stream:
            if event.type == "response.output_text.delta":
                streamed += event.logprobs
    assert [entry.token for entry in streamed] == [entry.token for entry in part.logprobs]
    plain: Any = await gpt.responses.create(model="main", input="hello")
    assert not plain.output[0].content[0].logprobs


async def test_a_repeated_prefix_is_counted_as_cached(gpt: openai.AsyncOpenAI) -> None:
    """From the second request of a model on; the sum stays the same."""
    system: Any = {"role": "system", "content": LONG}
    used = []
    for text in ("one", "two"):
        answer: Any = await gpt.chat.completions.create(
            model="main-idcache", messages=[system, {"role": "user", "content": text}]
        )
        used.append(answer.usage)
    first, second = used
    size = tokens.count(LONG)
    assert size > LEAST
    assert not first.prompt_tokens_details.cached_tokens
    assert second.prompt_tokens_details.cached_tokens == size // STEP * STEP
    assert first.prompt_tokens == second.prompt_tokens
    other: Any = await gpt.responses.create(model="main-idother", instructions=LONG, input="three")
    assert not other.usage.input_tokens_details.cached_tokens


async def test_messages_counts_cached_tokens_only_where_the_request_marks_a_prefix(
    claude: anthropic.AsyncAnthropic,
) -> None:
    """The first request writes the cache, the second reads it."""

    async def usage(model: str, **marks: Any) -> tuple[int, int, int]:
        system: Any = [{"type": "text", "text": LONG, **marks}]
        answer = await claude.messages.create(
            model=model, max_tokens=50, system=system, messages=[{"role": "user", "content": "hi"}]
        )
        used = answer.usage
        read, written = used.cache_read_input_tokens, used.cache_creation_input_tokens
        return used.input_tokens, written or 0, read or 0

    whole, *none = await usage("main")
    assert none == [0, 0]
    marked = {"cache_control": {"type": "ephemeral"}}
    new, written, read = await usage("main-idmark", **marked)
    assert (new + written, read) == (whole, 0)
    assert written > LEAST
    new, written, read = await usage("main-idmark", **marked)
    assert new + written + read == whole
    assert read > LEAST


@pytest.mark.parametrize(
    ("text", "keys"),
    [
        ("Give me a JSON object with the keys name and age.", ["name", "age"]),
        ("Return JSON with fields `city`, `country`, and `population`", None),
        ('Answer as JSON with keys: "is_valid" (boolean), "reason".', ["is_valid", "reason"]),
        ('Respond like {"title": "...", "year": 1999}', ["title", "year"]),
        ("Give me some JSON about a cat.", []),
        ("Use the key called id.", ["id"]),
    ],
)
def test_the_asked_keys_of_an_object_are_found(text: str, keys: list[str] | None) -> None:
    assert asked_keys(text) == (["city", "country", "population"] if keys is None else keys)


async def test_a_json_object_has_the_asked_keys(gpt: openai.AsyncOpenAI) -> None:
    """In every protocol that has such a format, and no others."""
    text = "Describe Ada as a JSON object with the keys name, age and is_member."
    chat: Any = await gpt.chat.completions.create(
        model="main",
        messages=[{"role": "user", "content": text}],
        response_format={"type": "json_object"},
    )
    value = orjson.loads(chat.choices[0].message.content)
    assert list(value) == ["name", "age", "is_member"]
    assert isinstance(value["age"], int)
    assert value["is_member"] is True
    answer = await gpt.responses.create(
        model="main", input=text, text={"format": {"type": "json_object"}}
    )
    assert orjson.loads(answer.output_text) == value
