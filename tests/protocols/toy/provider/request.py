"""Renders requests to providers of the toy protocol, and reads their answers and errors."""

from collections.abc import Mapping

import orjson

from polyvox.protocols.dialects.dialect import FULL, Dialect
from polyvox.protocols.provider_side import Awaited, Rendered
from polyvox.workflows.conversation import Conversation, Json, Text
from polyvox.workflows.errors import ModelError
from polyvox.workflows.events import (
    Event,
    Finished,
    PartDelta,
    PartEnded,
    PartStarted,
    Started,
    UsageReported,
)
from polyvox.workflows.reply import Usage
from tests.protocols.toy.elements import render_message


def render(conversation: Conversation, model: str, dialect: Dialect = FULL) -> Rendered:
    losses = ["tools"] if conversation.tools else []
    messages = conversation.messages
    if conversation.system is not None:
        messages = (conversation.system, *messages)
    body: dict[str, Json] = {
        "model": model,
        "turns": [render_message(message, losses) for message in messages],
        "limit": conversation.options.max_tokens,
        "stream": True,
    }
    return Rendered("toy", body, {}, tuple(losses), conversation.options.stop)


def parse_error(status: int, headers: Mapping[str, str], body: bytes) -> ModelError:
    document = orjson.loads(body)
    return ModelError(document["kind"], document["wrong"], status=status)


class Decoder:
    def __init__(self) -> None:
        self._text: list[str] = []
        self.awaits: Awaited = "answer"
        self.usage = Usage()

    def feed(self, name: str | None, data: bytes) -> list[Event]:
        document = orjson.loads(data)
        if "wrong" in document:
            raise ModelError(document["kind"], document["wrong"])
        events: list[Event] = [] if self._text else [Started(), PartStarted(Text(""))]
        if "say" in document:
            self._text.append(document["say"])
            return [*events, PartDelta(document["say"])]
        self.usage = Usage(document["read"], output=document["wrote"])
        self.awaits = "nothing"
        whole = Text("".join(self._text))
        return [*events, PartEnded(whole), UsageReported(self.usage), Finished(document["end"])]

    def finish(self) -> list[Event]:
        return []


def decoder() -> Decoder:
    return Decoder()
