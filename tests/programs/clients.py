"""The three official client libraries behind one question, so that one table tests them all.

A turn goes back the way the library's users send it back: the very objects it returned.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import anthropic
import openai
from openai.lib.streaming.chat import ChatCompletionStreamState

from tests.programs.running import KEY, LIMIT_S

CITY = {
    "type": "object",
    "properties": {"city": {"type": "string"}},
    "required": ["city"],
    "additionalProperties": False,
}


@dataclass(frozen=True, slots=True)
class Said:
    """What the user says, with an image (base64 of a PNG) or none."""

    text: str
    png: str | None = None


@dataclass(frozen=True, slots=True)
class Call:
    id: str
    name: str
    arguments: Any


@dataclass(frozen=True, slots=True)
class Results:
    """What tools gave back, by call id."""

    texts: dict[str, str]


@dataclass(frozen=True, slots=True)
class Answered:
    """``finish`` is in the words of our Reply; ``native`` what the library's users send back."""

    text: str
    thinking: str
    calls: tuple[Call, ...]
    finish: str
    tokens: tuple[int, int]
    native: Any
    run_id: str = ""


Turn = Said | Results | Answered


@dataclass(frozen=True, slots=True)
class Question:
    model: str
    turns: tuple[Turn, ...]
    system: str = ""
    tools: tuple[str, ...] = ()
    limit: int = 2000
    think: bool = False
    extra: dict[str, Any] = field(default_factory=dict)


def _chat_turn(turn: Turn) -> list[Any]:
    match turn:
        case Said(text, None):
            return [{"role": "user", "content": text}]
        case Said(text, png):
            url = f"data:image/png;base64,{png}"
            image = {"type": "image_url", "image_url": {"url": url}}
            return [{"role": "user", "content": [{"type": "text", "text": text}, image]}]
        case Results(texts):
            return [{"role": "tool", "tool_call_id": i, "content": t} for i, t in texts.items()]
        case _:
            return [turn.native]


def ask_chat(client: openai.OpenAI, question: Question, *, stream: bool) -> Answered:
    system = [{"role": "system", "content": question.system}] if question.system else []
    document: dict[str, Any] = {
        "model": question.model,
        "messages": [*system, *(m for turn in question.turns for m in _chat_turn(turn))],
        "max_completion_tokens": question.limit,
        "extra_body": question.extra,
    }
    if question.tools:
        document["tools"] = [
            {"type": "function", "function": {"name": name, "parameters": CITY}}
            for name in question.tools
        ]
    if question.think:
        document["reasoning_effort"] = "low"
    thinking = ""
    completion: Any
    if stream:
        state = ChatCompletionStreamState()
        for chunk in client.chat.completions.create(
            **document, stream=True, stream_options={"include_usage": True}
        ):
            state.handle_chunk(chunk)
            for choice in chunk.choices:
                thinking += getattr(choice.delta, "reasoning_content", None) or ""
        # Not get_final_completion, which refuses an answer that was cut at its limit.
        completion = state.current_completion_snapshot
    else:
        completion = client.chat.completions.create(**document)
        thinking = getattr(completion.choices[0].message, "reasoning_content", None) or ""
    (choice,) = completion.choices
    calls = choice.message.tool_calls or []
    return Answered(
        choice.message.content or "",
        thinking,
        tuple(Call(c.id, c.function.name, json.loads(c.function.arguments)) for c in calls),
        choice.finish_reason,
        (completion.usage.prompt_tokens, completion.usage.completion_tokens),
        choice.message,
    )


def _responses_turn(turn: Turn) -> list[Any]:
    match turn:
        case Said(text, png):
            content: list[Any] = [{"type": "input_text", "text": text}]
            if png:
                url = f"data:image/png;base64,{png}"
                content.append({"type": "input_image", "image_url": url, "detail": "auto"})
            return [{"type": "message", "role": "user", "content": content}]
        case Results(texts):
            return [
                {"type": "function_call_output", "call_id": i, "output": t}
                for i, t in texts.items()
            ]
        case _:
            return list(turn.native)


def ask_responses(client: openai.OpenAI, question: Question, *, stream: bool) -> Answered:
    document: dict[str, Any] = {
        "model": question.model,
        "input": [item for turn in question.turns for item in _responses_turn(turn)],
        "instructions": question.system or None,
        "max_output_tokens": question.limit,
        "store": False,
        "extra_body": question.extra,
    }
    if question.tools:
        document["tools"] = [
            {"type": "function", "name": name, "parameters": CITY, "strict": True}
            for name in question.tools
        ]
    if question.think:
        document["reasoning"] = {"effort": "low", "summary": "auto"}
    response: Any
    if stream:
        *_, last = client.responses.create(**document, stream=True)
        response = last.response
    else:
        response = client.responses.create(**document)
    calls = [item for item in response.output if item.type == "function_call"]
    thoughts = [item for item in response.output if item.type == "reasoning"]
    cut = response.status == "incomplete"
    return Answered(
        response.output_text,
        "".join(s.text for item in thoughts for s in item.summary),
        tuple(Call(c.call_id, c.name, json.loads(c.arguments)) for c in calls),
        "length" if cut else "tool_calls" if calls else "stop",
        (response.usage.input_tokens, response.usage.output_tokens),
        response.output,
    )


def _messages_turn(turn: Turn) -> dict[str, Any]:
    match turn:
        case Said(text, png):
            content: list[Any] = [{"type": "text", "text": text}]
            if png:
                source = {"type": "base64", "media_type": "image/png", "data": png}
                content.append({"type": "image", "source": source})
            return {"role": "user", "content": content}
        case Results(texts):
            results = [
                {"type": "tool_result", "tool_use_id": i, "content": t} for i, t in texts.items()
            ]
            return {"role": "user", "content": results}
        case _:
            return {"role": "assistant", "content": turn.native}


_STOP_REASONS = {"end_turn": "stop", "max_tokens": "length", "tool_use": "tool_calls"}


def ask_messages(client: anthropic.Anthropic, question: Question, *, stream: bool) -> Answered:
    document: dict[str, Any] = {
        "model": question.model,
        "messages": [_messages_turn(turn) for turn in question.turns],
        "max_tokens": question.limit,
        "extra_body": question.extra,
    }
    if question.system:
        document["system"] = question.system
    if question.tools:
        document["tools"] = [{"name": name, "input_schema": CITY} for name in question.tools]
    if question.think:
        document["thinking"] = {"type": "enabled", "budget_tokens": 1024}
    message: Any
    if stream:
        with client.messages.stream(**document) as events:
            message = events.get_final_message()
    else:
        message = client.messages.create(**document)
    return Answered(
        "".join(b.text for b in message.content if b.type == "text"),
        "".join(b.thinking for b in message.content if b.type == "thinking"),
        tuple(Call(b.id, b.name, b.input) for b in message.content if b.type == "tool_use"),
        _STOP_REASONS[message.stop_reason],
        (message.usage.input_tokens, message.usage.output_tokens),
        message.content,
    )


_ASK: dict[str, Callable[..., Answered]] = {
    "chat": ask_chat,
    "responses": ask_responses,
    "messages": ask_messages,
}


class Client:
    """The official library of one protocol, without retries of its own."""

    def __init__(self, protocol: str, base_url: str, key: str = KEY) -> None:
        self.protocol = protocol
        self._answers: list[Any] = []
        library: Any = anthropic if protocol == "messages" else openai
        self._http = library.DefaultHttpxClient(
            event_hooks={"response": [self._answers.append]}, timeout=LIMIT_S, trust_env=False
        )
        options: dict[str, Any] = {"api_key": key, "max_retries": 0, "http_client": self._http}
        self.sdk: Any = (
            anthropic.Anthropic(base_url=base_url, **options)
            if protocol == "messages"
            else openai.OpenAI(base_url=f"{base_url}/v1", **options)
        )

    def ask(self, question: Question, *, stream: bool) -> Answered:
        """Ask in the protocol. Raises the library's own errors."""
        answered = _ASK[self.protocol](self.sdk, question, stream=stream)
        return replace(answered, run_id=self.run_id)

    @property
    def run_id(self) -> str:
        """The run of the newest answer, whatever became of it."""
        run_id: str = self._answers[-1].headers["x-polyvox-run"]
        return run_id

    def close(self) -> None:
        self._http.close()
