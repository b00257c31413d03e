"""langchain-openai and langchain-anthropic: all three protocols behind one interface."""

from functools import reduce
from operator import add
from typing import Any

from langchain_anthropic import ChatAnthropic  # type: ignore[import-not-found]
from langchain_core.messages import (  # type: ignore[import-not-found]
    AIMessage,
    HumanMessage,
    ToolMessage,
)
from langchain_openai import ChatOpenAI  # type: ignore[import-not-found]

from tests.e2e.libraries.asking import (
    CITY,
    TOOL_NAME,
    TOOL_USE,
    Endpoint,
    Task,
    answer_all,
    weather,
)

TOOL = {
    "type": "function",
    "function": {"name": TOOL_NAME, "description": TOOL_USE, "parameters": CITY},
}


def answer(endpoint: Endpoint, task: Task) -> str:
    content: list[dict[str, Any]] = [{"type": "text", "text": task.prompt}]
    if task.image:
        content.append({"type": "image", "base64": task.image, "mime_type": "image/png"})
    messages: list[Any] = [HumanMessage(content=content)]
    model = _model(endpoint, task)
    if task.tool:
        model = model.bind_tools([TOOL])
    while True:
        message = _asked(model, messages, stream=task.stream)
        if not message.tool_calls:
            return str(message.text)
        messages.append(message)
        messages += [
            ToolMessage(weather(call["args"]["city"]), tool_call_id=call["id"])
            for call in message.tool_calls
        ]


def _model(endpoint: Endpoint, task: Task) -> Any:
    options = {"model": task.model, "api_key": endpoint.key, "timeout": task.idle_limit_s}
    if task.protocol == "messages":
        return ChatAnthropic(base_url=endpoint.root, **options)
    return ChatOpenAI(
        base_url=endpoint.v1, use_responses_api=task.protocol == "responses", **options
    )


def _asked(model: Any, messages: list[Any], *, stream: bool) -> AIMessage:
    return reduce(add, model.stream(messages)) if stream else model.invoke(messages)


if __name__ == "__main__":
    answer_all(answer)
