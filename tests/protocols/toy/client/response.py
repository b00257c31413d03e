"""Writes answers, streams and errors for the toy protocol's clients.

A stream is a frame ``{"say"}`` for each piece of text, and then the answer without its text:
``{"end", "read", "wrote"}``. An error is ``{"wrong", "kind"}``.
"""

import orjson

from polyvox.protocols.client_side import Ask
from polyvox.workflows.conversation import Json
from polyvox.workflows.errors import ModelError
from polyvox.workflows.events import Event, PartDelta
from polyvox.workflows.reply import Reply


class Encoder:
    def __init__(self) -> None:
        self._said = ""

    def feed(self, event: Event) -> bytes:
        return self._say(event.text) if isinstance(event, PartDelta) and event.text else b""

    def keep_alive(self) -> bytes:
        return b": wait\n\n"

    def finish(self, reply: Reply) -> bytes:
        return self._say(reply.text[len(self._said) :]) + _frame(_ending(reply))

    def fail(self, error: ModelError) -> bytes:
        return _frame(render_error(error, None)[1])

    def _say(self, text: str) -> bytes:
        self._said += text
        return _frame({"say": text}) if text else b""


def encoder(ask: Ask, *, run_id: str, created: int) -> Encoder:
    return Encoder()


def render(ask: Ask, reply: Reply, *, run_id: str, created: int) -> dict[str, Json]:
    return {"say": reply.text, **_ending(reply)}


def render_error(error: ModelError, run_id: str | None) -> tuple[int, dict[str, Json]]:
    return error.http_status, {"wrong": error.message, "kind": error.kind}


def _ending(reply: Reply) -> dict[str, Json]:
    return {"end": reply.finish, "read": reply.usage.input, "wrote": reply.usage.output}


def _frame(document: Json) -> bytes:
    return b"data: " + orjson.dumps(document) + b"\n\n"
