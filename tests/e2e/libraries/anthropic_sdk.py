"""The anthropic library: Messages."""

from typing import Any

import anthropic

from tests.e2e.libraries.asking import (
    CITY,
    TOOL_NAME,
    TOOL_USE,
    Endpoint,
    Task,
    answer_all,
    weather,
)


def answer(endpoint: Endpoint, task: Task) -> str:
    client = anthropic.Anthropic(base_url=endpoint.root, api_key=endpoint.key)
    if task.idle_limit_s is not None:
        client = client.with_options(timeout=task.idle_limit_s)
    content: list[dict[str, Any]] = [{"type": "text", "text": task.prompt}]
    if task.image:
        source = {"type": "base64", "media_type": "image/png", "data": task.image}
        content.append({"type": "image", "source": source})
    messages: list[Any] = [{"role": "user", "content": content}]
    asked: dict[str, Any] = {"model": task.model, "max_tokens": 1000}
    if task.tool:
        asked["tools"] = [{"name": TOOL_NAME, "description": TOOL_USE, "input_schema": CITY}]
    while True:
        if task.stream:
            with client.messages.stream(messages=messages, **asked) as stream:
                message: Any = stream.get_final_message()
        else:
            message = client.messages.create(messages=messages, **asked)
        calls = [block for block in message.content if block.type == "tool_use"]
        if not calls:
            return "".join(block.text for block in message.content if block.type == "text")
        results = [
            {"type": "tool_result", "tool_use_id": call.id, "content": weather(call.input["city"])}
            for call in calls
        ]
        messages += [
            {"role": "assistant", "content": message.content},
            {"role": "user", "content": results},
        ]


if __name__ == "__main__":
    answer_all(answer)
