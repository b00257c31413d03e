"""The messages of the live lane, and their encoding.

A frame is a list of messages; a message is a list that begins with its kind. What the process that
runs a call sends:

* ``[CALLING, run]``: it runs a call of the run, and wants to know whether anybody listens.
* ``[BATCH, run, call, attempt, sequence, events]``: ``sequence`` counts the batches of the attempt.
* ``[BEGUN, run, call]`` and ``[COMPLETE, run, call, attempt, batches]``: see ``Relay``.
* ``[LOST, run, losses]``: parts of the conversation that a provider's protocol cannot represent.
* ``[OVERFLOWN, run]``: batches were dropped; nothing more comes before the end.
* ``[ENDED, run, outcome]``: the outcome is null if it is large; the engine has it.

What the listener sends: ``[HEARD, run, live, losses]`` (``live``: it wants batches; ``losses``:
those that it knows), ``[UNHEARD, run]`` (nobody listens here) and ``[HUNG_UP, run]`` (cancel the
run's calls).

Frames are JSON with one byte before it: ``j``, or ``w`` for a frame with texts or whole numbers
that orjson cannot represent. A delta without a wire element, which nearly every event is, is a
string.
"""

import json
from collections.abc import Sequence
from typing import Any, Final

import orjson

from polyvox.activities.live.channel import RunOutcome
from polyvox.activities.live.event_json import event_as_json, event_of
from polyvox.workflows.boundary.failures import as_json, from_json
from polyvox.workflows.boundary.serialization import dump, load
from polyvox.workflows.conversation import Json
from polyvox.workflows.events import Event, PartDelta, written

CALLING: Final = "a"
BATCH: Final = "b"
BEGUN: Final = "g"
COMPLETE: Final = "c"
LOST: Final = "l"
OVERFLOWN: Final = "o"
ENDED: Final = "e"
HEARD: Final = "h"
UNHEARD: Final = "u"
HUNG_UP: Final = "x"

Message = list[Any]

LARGEST_OUTCOME_BYTES: Final = 256 * 1024
"""A larger outcome is not sent: the listener asks the engine for it."""

_JSON, _WIDE = b"j", b"w"


def sendable(message: Message) -> Message:
    """Return a message with its last member, if that is events or an outcome, as it is sent."""
    match message:
        case [kind, *_, events] if kind == BATCH:
            return [*message[:-1], events_as_json(events)]
        case [kind, run_id, outcome] if kind == ENDED:
            return [kind, run_id, outcome_as_json(outcome)]
        case _:
            return message


def encoded(messages: Sequence[Message]) -> bytes:
    """Return the frame with ``messages``."""
    try:
        return _JSON + orjson.dumps(messages)
    except TypeError:  # a lone surrogate, or a number beyond 64 bits
        return _WIDE + json.dumps(messages, separators=(",", ":")).encode()


def decoded(frame: bytes) -> list[Message]:
    """Return the messages in a frame. Raises ValueError if it is not one."""
    kind, body = frame[:1], memoryview(frame)[1:]
    if kind == _JSON:
        messages = orjson.loads(body)
    elif kind == _WIDE:
        messages = json.loads(bytes(body))
    else:
        raise ValueError(f"a frame begins with {kind!r}")
    if not isinstance(messages, list):
        raise ValueError("a frame is not a list of messages")
    return messages


def events_as_json(events: Sequence[Event]) -> list[Json]:
    """Return events as they are sent; ``events_of`` reads them."""
    return [
        event.text if type(event) is PartDelta and event.wire is None else event_as_json(event)
        for event in events
    ]


def events_of(documents: Sequence[Json]) -> list[Event]:
    """Return the events that ``events_as_json`` wrote. Raises ValueError for another document."""
    return [PartDelta(d) if isinstance(d, str) else event_of(d) for d in documents]


def outcome_as_json(outcome: RunOutcome) -> Json:
    """Return an outcome as it is sent, None if it is too large; ``outcome_of`` reads it."""
    parts = outcome.reply.parts if outcome.reply is not None else ()
    if sum(len(written(part)) for part in parts) > LARGEST_OUTCOME_BYTES:
        return None
    document = [
        dump(outcome.reply),
        as_json(outcome.error) if outcome.error is not None else None,
        dump(outcome.usage),
        list(outcome.notes),
    ]
    return document if len(encoded([document])) <= LARGEST_OUTCOME_BYTES else None


def outcome_of(document: Json) -> RunOutcome:
    """Return the outcome that ``outcome_as_json`` wrote."""
    reply, error, usage, notes = document
    return RunOutcome(
        reply=load(reply),
        error=from_json(error) if error is not None else None,
        usage=load(usage),
        notes=tuple(notes),
    )
