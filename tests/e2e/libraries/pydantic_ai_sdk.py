"""pydantic-ai: all three protocols behind one agent that runs its tools itself."""

import asyncio
import base64
from typing import Any

from pydantic_ai import Agent, BinaryContent  # type: ignore[import-not-found]
from pydantic_ai.models.anthropic import AnthropicModel  # type: ignore[import-not-found]
from pydantic_ai.models.openai import (  # type: ignore[import-not-found]
    OpenAIChatModel,
    OpenAIResponsesModel,
)
from pydantic_ai.providers.anthropic import AnthropicProvider  # type: ignore[import-not-found]
from pydantic_ai.providers.openai import OpenAIProvider  # type: ignore[import-not-found]

from tests.e2e.libraries.asking import Endpoint, Task, answer_all, weather


def answer(endpoint: Endpoint, task: Task) -> str:
    return asyncio.run(_answer(endpoint, task))


async def _answer(endpoint: Endpoint, task: Task) -> str:
    settings = {} if task.idle_limit_s is None else {"timeout": task.idle_limit_s}
    agent = Agent(
        _model(endpoint, task),
        tools=[_get_weather] if task.tool else [],
        model_settings=settings,
    )
    prompt: list[Any] = [task.prompt]
    if task.image:
        prompt.append(BinaryContent(base64.b64decode(task.image), media_type="image/png"))
    if not task.stream:
        return str((await agent.run(prompt)).output)
    async with agent.run_stream(prompt) as run:
        return str(await run.get_output())


def _get_weather(city: str) -> str:
    """The weather in a city, now."""
    return weather(city)


_get_weather.__name__ = "get_weather"


def _model(endpoint: Endpoint, task: Task) -> Any:
    if task.protocol == "messages":
        provider = AnthropicProvider(base_url=endpoint.root, api_key=endpoint.key)
        return AnthropicModel(task.model, provider=provider)
    kinds = {"chat": OpenAIChatModel, "responses": OpenAIResponsesModel}
    provider = OpenAIProvider(base_url=endpoint.v1, api_key=endpoint.key)
    return kinds[task.protocol](task.model, provider=provider)


if __name__ == "__main__":
    answer_all(answer)
