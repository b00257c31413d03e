"""litellm: Chat, and Messages under Chat's interface, and Responses."""

from typing import Any

import litellm  # type: ignore[import-not-found]

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

FUNCTION = {"name": TOOL_NAME, "description": TOOL_USE, "parameters": CITY}


def answer(endpoint: Endpoint, task: Task) -> str:
    asked: dict[str, Any] = {"api_key": endpoint.key, "stream": task.stream}
    if task.idle_limit_s is not None:
        asked["timeout"] = task.idle_limit_s
    if task.protocol == "responses":
        # For a model it does not know it requests without streaming and then splits the answer.
        known = {"litellm_provider": "openai", "supports_native_streaming": True}
        litellm.register_model({task.model: known})
        return _responses(task, model=f"openai/{task.model}", api_base=endpoint.v1, **asked)
    if task.protocol == "messages":
        asked |= {"model": f"anthropic/{task.model}", "api_base": endpoint.root}
    else:
        asked |= {"model": f"openai/{task.model}", "api_base": endpoint.v1}
    return _completion(task, **asked)


def _completion(task: Task, **asked: Any) -> str:
    content: list[dict[str, Any]] = [{"type": "text", "text": task.prompt}]
    if task.image:
        content.append({"type": "image_url", "image_url": {"url": data_url(task.image)}})
    messages: list[Any] = [{"role": "user", "content": content}]
    if task.tool:
        asked["tools"] = [{"type": "function", "function": FUNCTION}]
    while True:
        answered = litellm.completion(messages=messages, **asked)
        if task.stream:
            answered = litellm.stream_chunk_builder(list(answered), messages=messages)
        message = answered.choices[0].message
        if not message.tool_calls:
            return message.content or ""
        messages.append(message)
        for call in message.tool_calls:
            result = weather_for(call.function.arguments)
            messages.append({"role": "tool", "tool_call_id": call.id, "content": result})


def _responses(task: Task, **asked: Any) -> str:
    content: list[dict[str, Any]] = [{"type": "input_text", "text": task.prompt}]
    if task.image:
        content.append({"type": "input_image", "image_url": data_url(task.image), "detail": "auto"})
    items: list[Any] = [{"role": "user", "content": content}]
    if task.tool:
        asked["tools"] = [{"type": "function", **FUNCTION}]
    while True:
        response = litellm.responses(input=items, store=False, **asked)
        if task.stream:
            response = _final(response)
        output = [item.model_dump(exclude_none=True) for item in response.output]
        calls = [item for item in output if item["type"] == "function_call"]
        if not calls:
            return "".join(
                part["text"]
                for item in output
                if item["type"] == "message"
                for part in item["content"]
            )
        items += output
        items += [
            {
                "type": "function_call_output",
                "call_id": call["call_id"],
                "output": weather_for(call["arguments"]),
            }
            for call in calls
        ]


def _final(stream: Any) -> Any:
    for event in stream:
        # The library does not raise a failure that is reported in a stream.
        if event.type in ("error", "response.failed"):
            raise RuntimeError(event.model_dump_json())
        if event.type == "response.completed":
            return event.response
    raise RuntimeError("The stream ended without a response.")


if __name__ == "__main__":
    # Its threads share connections and close ones that another thread still reads from.
    answer_all(answer, at_once=1)
