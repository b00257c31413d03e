"""The openai library: Chat and Responses."""

from typing import Any

import openai

from tests.e2e.libraries.asking import (
    CITY,
    TOOL_NAME,
    TOOL_USE,
    Endpoint,
    Task,
    answer_all,
    data_url,
    weather_for,
)

FUNCTION = {"name": TOOL_NAME, "description": TOOL_USE, "parameters": CITY, "strict": True}


def answer(endpoint: Endpoint, task: Task) -> str:
    client = openai.OpenAI(base_url=endpoint.v1, api_key=endpoint.key)
    if task.idle_limit_s is not None:
        client = client.with_options(timeout=task.idle_limit_s)
    return {"chat": chat, "responses": responses}[task.protocol](client, task)


def chat(client: openai.OpenAI, task: Task) -> str:
    content: list[dict[str, Any]] = [{"type": "text", "text": task.prompt}]
    if task.image:
        content.append({"type": "image_url", "image_url": {"url": data_url(task.image)}})
    messages: list[Any] = [{"role": "user", "content": content}]
    asked: dict[str, Any] = {"model": task.model}
    if task.tool:
        asked["tools"] = [{"type": "function", "function": FUNCTION}]
    while True:
        if task.stream:
            with client.chat.completions.stream(messages=messages, **asked) as stream:
                message = stream.get_final_completion().choices[0].message
        else:
            message = client.chat.completions.create(messages=messages, **asked).choices[0].message
        if not message.tool_calls:
            return message.content or ""
        messages.append(message)
        for call in message.tool_calls:
            result = weather_for(call.function.arguments)
            messages.append({"role": "tool", "tool_call_id": call.id, "content": result})


def responses(client: openai.OpenAI, task: Task) -> str:
    content: list[dict[str, Any]] = [{"type": "input_text", "text": task.prompt}]
    if task.image:
        content.append({"type": "input_image", "image_url": data_url(task.image), "detail": "auto"})
    items: list[Any] = [{"role": "user", "content": content}]
    asked: dict[str, Any] = {"model": task.model, "store": False}
    if task.tool:
        asked["tools"] = [{"type": "function", **FUNCTION}]
    while True:
        if task.stream:
            with client.responses.stream(input=items, **asked) as stream:
                for event in stream:
                    # The library does not raise a failure that is reported in a stream.
                    if event.type in ("error", "response.failed"):
                        raise RuntimeError(event.to_json())
                response: Any = stream.get_final_response()
        else:
            response = client.responses.create(input=items, **asked)
        calls = [item for item in response.output if item.type == "function_call"]
        if not calls:
            return str(response.output_text)
        items += response.output
        items += [
            {
                "type": "function_call_output",
                "call_id": call.call_id,
                "output": weather_for(call.arguments),
            }
            for call in calls
        ]


if __name__ == "__main__":
    answer_all(answer)
