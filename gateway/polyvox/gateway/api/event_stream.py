"""The events of a run as documents, and as the stream of ``GET /api/runs/{id}/events``."""

import asyncio
from collections.abc import AsyncIterator
from datetime import datetime
from typing import Any, Literal

import orjson
from starlette.requests import Request
from starlette.responses import StreamingResponse

from polyvox.gateway.api.document import Document, Problem
from polyvox.gateway.api.run_document import Tokens
from polyvox.worker.watching.run_events import START, Place, RunEvent, parse_place
from polyvox.workflows.errors import ModelError

_KEEP_ALIVE = b": keep-alive\n\n"


class EventDocument(Document):
    """Something that happened in a run. A document has only the members of its ``type``.

    ``run``: the run began. ``step``: a model call or a tool began. ``text``: a step emitted text to
    the client; ``part`` is null if recording began in the middle of a part. ``text_void``: the text
    of the call so far is void, because another attempt begins or the whole text follows.
    ``journal_stopped``: the call's further text arrives when it has completed. ``step_ended`` and
    ``run_ended``: tokens, cost and error as far as they are known; a run's ``text`` is that of its
    whole answer.

    ``id`` is the place in the run; the events behind it are read with ``after``.
    """

    id: str
    at: datetime
    type: Literal["run", "step", "text", "text_void", "journal_stopped", "step_ended", "run_ended"]
    run_id: str | None = None
    model: str | None = None
    flow: str | None = None
    call: str | None = None
    step: str | None = None
    tool: str | None = None
    emits: bool | None = None
    attempt: int | None = None
    text: str | None = None
    part: str | None = None
    why: str | None = None
    reason: str | None = None
    status: str | None = None
    attempts: int | None = None
    duration_ms: int | None = None
    tokens: Tokens | None = None
    cost_usd: float | None = None
    finish: str | None = None
    error: Problem | None = None


class EventStream(StreamingResponse):
    """Server-sent events; the ``data`` of each is an EventDocument."""

    media_type = "text/event-stream"


def event_json(event: RunEvent) -> bytes:
    """Return an event as an EventDocument, without the members of other types."""
    what: dict[str, Any] = orjson.loads(orjson.dumps(event.what))
    members = {"id": str(event.place), "at": event.at, "type": what.pop("type"), **what}
    return orjson.dumps(members, option=orjson.OPT_UTC_Z)


def wanted_place(request: Request, after: str | None) -> Place:
    """Return the place that the query ``after``, or a client that reconnects, begins behind.

    Raises ModelError if it is not the id of an event.
    """
    text = after or request.headers.get("last-event-id") or ""
    try:
        return parse_place(text) if text else START
    except ValueError:
        raise ModelError(
            "invalid_request",
            f"{text!r} is not the id of an event. Send the id of the last event that you have.",
            param="after",
        ) from None


def event_stream(events: AsyncIterator[RunEvent], keep_alive_s: float) -> EventStream:
    """Return the response that sends ``events``, and keep-alives while there are none."""
    headers = {"cache-control": "no-cache", "x-accel-buffering": "no"}
    return EventStream(_frames(events, keep_alive_s), headers=headers)


async def _frames(events: AsyncIterator[RunEvent], keep_alive_s: float) -> AsyncIterator[bytes]:
    reading: asyncio.Task[RunEvent | None] | None = None
    try:
        while True:
            reading = reading or asyncio.create_task(_next(events))
            done, _ = await asyncio.wait([reading], timeout=keep_alive_s)
            if not done:
                yield _KEEP_ALIVE
                continue
            event, reading = reading.result(), None
            if event is None:
                return
            yield _frame(event)
    finally:
        if reading is not None:
            reading.cancel()


async def _next(events: AsyncIterator[RunEvent]) -> RunEvent | None:
    return await anext(events, None)


def _frame(event: RunEvent) -> bytes:
    head = f"id: {event.place}\nevent: {event.what.type}\ndata: ".encode()
    return head + event_json(event) + b"\n\n"
