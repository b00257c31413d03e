"""The official SDKs as clients of the simulator: each protocol, streamed and not."""

from collections.abc import AsyncIterator
from typing import Any

import anthropic
import openai
import pytest

from polyvox.gateway.simulator.listening import Listening, serve

QUESTION = "Should we move the billing system to Rust this year?"
CITY = {
    "type": "object",
    "properties": {"city": {"type": "string"}},
    "required": ["city"],
    "additionalProperties": False,
}
CALL = "Call get_weather for Paris"


@pytest.fixture
async def simulator() -> AsyncIterator[Listening]:
    running = await serve()
    yield running
    await running.stop()


@pytest.fixture
async def openai_client(simulator: Listening) -> AsyncIterator[openai.AsyncOpenAI]:
    async with openai.AsyncOpenAI(
        base_url=f"{simulator.url}/v1", api_key="test-key", max_retries=0
    ) as client:
        yield client


@pytest.fixture
async def anthropic_client(simulator: Listening) -> AsyncIterator[anthropic.AsyncAnthropic]:
    async with anthropic.AsyncAnthropic(
        base_url=simulator.url, api_key="test-key", max_retries=0
    ) as client:
        yield client


async def test_chat_gives_the_same_text_streamed_and_whole(
    openai_client: openai.AsyncOpenAI,
) -> None:
    asked: Any = {"model": "optimist", "messages": [{"role": "user", "content": QUESTION}]}
    whole = await openai_client.chat.completions.create(**asked)
    text, usage, deltas = "", None, 0
    stream = await openai_client.chat.completions.create(
        **asked, stream=True, stream_options={"include_usage": True}
    )
    async for chunk in stream:
        usage = chunk.usage or usage
        for choice in chunk.choices:
            text += choice.delta.content or ""
            deltas += bool(choice.delta.content)
    assert text == whole.choices[0].message.content
    assert text.startswith("[simulated:optimist] ")
    assert whole.choices[0].finish_reason == "stop"
    assert whole.usage
    assert usage
    assert usage.completion_tokens == whole.usage.completion_tokens == deltas


async def test_chat_calls_tools_and_answers_with_their_results(
    openai_client: openai.AsyncOpenAI,
) -> None:
    tools: Any = [{"type": "function", "function": {"name": "get_weather", "parameters": CITY}}]
    messages: Any = [{"role": "user", "content": CALL}]
    first = await openai_client.chat.completions.create(
        model="main", messages=messages, tools=tools
    )
    message = first.choices[0].message
    assert first.choices[0].finish_reason == "tool_calls"
    assert message.tool_calls
    call = message.tool_calls[0]
    assert call.type == "function"
    assert (call.function.name, call.function.arguments) == ("get_weather", '{"city":"Paris"}')
    messages += [
        message.model_dump(exclude_none=True),
        {"role": "tool", "tool_call_id": call.id, "content": "Rain, 9 degrees"},
    ]
    second = await openai_client.chat.completions.create(
        model="main", messages=messages, tools=tools
    )
    assert "Rain, 9 degrees" in (second.choices[0].message.content or "")


async def test_responses_gives_the_same_text_streamed_and_whole(
    openai_client: openai.AsyncOpenAI,
) -> None:
    asked: Any = {"model": "skeptic", "input": QUESTION}
    whole = await openai_client.responses.create(**asked)
    async with openai_client.responses.stream(**asked) as stream:
        async for _ in stream:
            continue
        streamed = await stream.get_final_response()
    assert streamed.output_text == whole.output_text
    assert whole.output_text.startswith("[simulated:skeptic] ")
    assert streamed.usage == whole.usage


async def test_responses_calls_tools_after_reasoning(openai_client: openai.AsyncOpenAI) -> None:
    tools: Any = [{"type": "function", "name": "get_weather", "parameters": CITY, "strict": True}]
    async with openai_client.responses.stream(
        model="main", input=CALL, tools=tools, reasoning={"effort": "low"}
    ) as stream:
        async for _ in stream:
            continue
        final = await stream.get_final_response()
    reasoning, call = final.output
    assert reasoning.type == "reasoning"
    assert call.type == "function_call"
    assert (call.name, call.arguments) == ("get_weather", '{"city":"Paris"}')


async def test_messages_gives_the_same_text_streamed_and_whole(
    anthropic_client: anthropic.AsyncAnthropic,
) -> None:
    asked: Any = {
        "model": "engineer",
        "max_tokens": 4000,
        "messages": [{"role": "user", "content": QUESTION}],
    }
    whole = await anthropic_client.messages.create(**asked)
    async with anthropic_client.messages.stream(**asked) as stream:
        pieces = [piece async for piece in stream.text_stream]
        streamed = await stream.get_final_message()
    (block,) = whole.content
    assert block.type == "text"
    assert "".join(pieces) == block.text
    assert block.text.startswith("[simulated:engineer] ")
    assert streamed.stop_reason == whole.stop_reason == "end_turn"
    assert streamed.usage.output_tokens == whole.usage.output_tokens == len(pieces)


async def test_messages_thinks_signs_and_calls_tools(
    anthropic_client: anthropic.AsyncAnthropic,
) -> None:
    tools: Any = [{"name": "get_weather", "input_schema": CITY}]
    async with anthropic_client.messages.stream(
        model="main",
        max_tokens=4000,
        messages=[{"role": "user", "content": CALL}],
        tools=tools,
        thinking={"type": "enabled", "budget_tokens": 2000},
    ) as stream:
        final = await stream.get_final_message()
    thinking, call = final.content
    assert thinking.type == "thinking"
    assert thinking.signature
    assert call.type == "tool_use"
    assert (call.name, call.input) == ("get_weather", {"city": "Paris"})
    assert final.stop_reason == "tool_use"


async def test_messages_limit_is_honoured(anthropic_client: anthropic.AsyncAnthropic) -> None:
    answer = await anthropic_client.messages.create(
        model="main", max_tokens=9, messages=[{"role": "user", "content": QUESTION}]
    )
    assert (answer.stop_reason, answer.usage.output_tokens) == ("max_tokens", 9)


async def test_the_sdks_raise_their_own_errors_for_faults(
    openai_client: openai.AsyncOpenAI, anthropic_client: anthropic.AsyncAnthropic
) -> None:
    messages: Any = [{"role": "user", "content": "hello"}]
    with pytest.raises(openai.RateLimitError):
        await openai_client.chat.completions.create(model="main-err429", messages=messages)
    with pytest.raises(openai.InternalServerError):
        await openai_client.responses.create(model="main-err503", input="hello")
    with pytest.raises(anthropic.AuthenticationError):
        await anthropic_client.messages.create(
            model="main-err401", max_tokens=10, messages=messages
        )
    with pytest.raises(openai.AuthenticationError):
        await openai_client.with_options(api_key="wrong-key").models.list()


async def test_the_sdks_list_models_and_count_tokens(
    openai_client: openai.AsyncOpenAI, anthropic_client: anthropic.AsyncAnthropic
) -> None:
    ours = [model.id async for model in openai_client.models.list()]
    theirs = await anthropic_client.models.list(limit=1000)
    assert ours == [model.id for model in theirs.data]
    assert theirs.data[0].display_name == "Simulated optimist"
    counted = await anthropic_client.messages.count_tokens(
        model="main", messages=[{"role": "user", "content": "one, two"}]
    )
    assert counted.input_tokens == 3
