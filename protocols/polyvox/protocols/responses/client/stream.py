"""Encodes one answer as a Responses stream.

Frames are numbered, so a client can see that it missed none. A message item stays open after a
content part only if the provider's own item continues; otherwise each part is a separate item that
ends with it, because agents act on ``response.output_item.done``.
"""

import time
from collections.abc import Callable

import orjson

from polyvox.protocols.client_side import Ask
from polyvox.protocols.responses.client import response_object
from polyvox.protocols.responses.client.errors import render_error
from polyvox.protocols.responses.client.frames import Frames
from polyvox.protocols.responses.client.items import (
    CallWriter,
    Ids,
    ItemWriter,
    MessageWriter,
    OpaqueWriter,
    ReasoningWriter,
    SilentWriter,
)
from polyvox.protocols.responses.include import Included, included
from polyvox.protocols.tool_aliases import own_calls, restored
from polyvox.workflows.conversation import Json, Opaque, Part, Reasoning, Refusal, Text, ToolCall
from polyvox.workflows.errors import ErrorKind, ModelError
from polyvox.workflows.events import (
    Event,
    Finished,
    PartDelta,
    PartEnded,
    PartStarted,
    Started,
    UsageReported,
    opened,
)
from polyvox.workflows.reply import Reply

_DONE = b"data: [DONE]\n\n"

# The codes of ``response.failed``, by which agents decide whether to retry: Codex repeats the
# request after ``server_error`` and others, and not after ``invalid_prompt``.
_FAILED_CODE: dict[ErrorKind, str] = {
    "cancelled": "server_error",
    "context_length": "context_length_exceeded",
    "internal": "server_error",
    "overloaded": "server_is_overloaded",
    "quota": "insufficient_quota",
    "rate_limit": "rate_limit_exceeded",
}


class Encoder:
    """Writes one answer; see ``client_side.Encoder``. ``clock`` gives seconds since the epoch.

    ``response`` is the whole response object. The stream shows the members that the request's
    ``include``, or ``shows``, selects.
    """

    def __init__(
        self,
        ask: Ask,
        *,
        run_id: str,
        created: int,
        clock: Callable[[], float] = time.time,
        shows: Included | None = None,
    ) -> None:
        self.response = response_object.begun(ask, f"resp_{run_id}", created)
        self._ask = ask
        self._own_calls = own_calls(ask)
        self._run_id = run_id
        self._clock = clock
        self._included = shows or included(ask)
        self._frames = Frames(self._included)
        self._ids = Ids(run_id)
        self._begun = b""
        self._output: list[Json] = []
        self._writer: ItemWriter | None = None
        self._part: Part | None = None
        self._ended = 0
        self._actions: dict[type[Event], Callable[..., bytes]] = {
            Started: self._begin_call,
            PartStarted: self._start_part,
            PartDelta: self._write,
            PartEnded: self._end_part,
            UsageReported: _ignore,
            Finished: _ignore,
        }

    @property
    def shown(self) -> dict[str, Json]:
        """The response object as the client sees it."""
        return self._included.response(self.response)

    def feed(self, event: Event) -> bytes:
        if self._own_calls is not None:
            own = self._own_calls.event(event)
            return b"" if own is None else self._actions[type(own)](own)
        return self._actions[type(event)](event)

    def keep_alive(self) -> bytes:
        # Comments do not reset the idle timers of all agents; a data event does.
        if not self._begun:
            return self._start()
        return self._frames.raw(b"response.in_progress", self._begun)

    def number_from(self, number: int) -> None:
        """Set the sequence number of the next frame; earlier frames were sent on another stream."""
        self._frames.number_from(number)

    def finish(self, reply: Reply) -> bytes:
        reply = restored(reply, self._ask)
        frames = [self._start()]
        if self._part is not None:
            truth = reply.parts[self._ended] if self._ended < len(reply.parts) else None
            same = truth is not None and type(truth) is type(self._part)
            frames.append(self._end_part(PartEnded(truth if truth and same else self._so_far())))
            if not same:
                self._ended -= 1
        for part in reply.parts[self._ended :]:
            frames.append(self._start_part(PartStarted(opened(part))))
            frames.append(self._end_part(PartEnded(part)))
        frames.append(self._close_item())
        now = int(self._clock())
        self.response = response_object.ended(self.response, self._ask, reply, self._output, now)
        kind = f"response.{self.response['status']}"
        frames.append(self._frames.event(kind, {"response": self.response}))
        frames.append(_DONE)
        return b"".join(frames)

    def fail(self, error: ModelError) -> bytes:
        frames = [self._start()]
        usual = "server_error" if error.fault.retryable else "invalid_prompt"
        code = _FAILED_CODE.get(error.kind, usual)
        status, document = render_error(error, self._run_id)
        failed = {**document["error"], "code": document["error"]["code"] or code}
        # Some clients read the flat members, others raise only for the nested object. Over a
        # WebSocket they read the status that the error would have over HTTP.
        flat = {name: failed[name] for name in ("code", "message", "param")}
        frames.append(self._frames.event("error", {"status": status, **flat, "error": failed}))
        if error.kind == "cancelled" and self.response["background"]:
            # The protocol has no event for it: an error ends the stream, the object has details.
            self.response = {**self.response, "status": "cancelled", "output": self._output}
            return b"".join(frames)
        self.response = {
            **self.response,
            "status": "failed",
            "error": {"code": code, "message": failed["message"]},
            "output": self._output,
        }
        frames.append(self._frames.event("response.failed", {"response": self.response}))
        frames.append(_DONE)
        return b"".join(frames)

    def _start(self) -> bytes:
        if self._begun:
            return b""
        self._begun = orjson.dumps(self.response)
        if self.response["background"]:
            queued = orjson.dumps({**self.response, "status": "queued"})
            return b"".join(
                [
                    self._frames.raw(b"response.created", queued),
                    self._frames.raw(b"response.queued", queued),
                    self._frames.raw(b"response.in_progress", self._begun),
                ]
            )
        created = self._frames.raw(b"response.created", self._begun)
        return created + self._frames.raw(b"response.in_progress", self._begun)

    def _begin_call(self, event: Started) -> bytes:
        if self._ask.direct and event.wire is not None and event.wire.protocol == "responses":
            self.response = response_object.as_provided(self.response, event.wire.json)
            self._begun = self._begun and orjson.dumps(self.response)
        # Everything from the previous call is complete, even a text that could have continued.
        frames = self._start()
        return frames + self._close_item() if self._part is None else frames

    def _start_part(self, event: PartStarted) -> bytes:
        part = event.part
        self._part = part
        frames = self._start()
        writer = self._writer
        if writer is not None and writer.takes(part):
            return frames + writer.start(part)
        frames += self._close_item()
        self._writer = writer = self._writer_for(part)
        return frames + writer.open(part) + writer.start(part)

    def _writer_for(self, part: Part) -> ItemWriter:
        index = len(self._output)
        match part:
            case Text() | Refusal():
                return MessageWriter(self._frames, self._ids, index)
            case Reasoning():
                return ReasoningWriter(self._frames, self._ids, index)
            case ToolCall():
                return CallWriter(self._frames, self._ids, index)
            case Opaque() if part.on_wire("responses") is not None:
                return OpaqueWriter(self._frames, self._ids, index)
            case _:
                return SilentWriter(self._frames, self._ids, index)

    def _write(self, event: PartDelta) -> bytes:
        writer = self._writer
        if writer is None:
            return b""
        if event.wire is None or event.wire.protocol != "responses":
            return writer.write(event.text) if event.text else b""
        return writer.show(event.text, event.wire.json)

    def _end_part(self, event: PartEnded) -> bytes:
        self._part = None
        self._ended += 1
        writer = self._writer
        if writer is None:
            return b""
        frames = writer.end(event.part)
        return frames if writer.goes_on else frames + self._close_item()

    def _close_item(self) -> bytes:
        writer = self._writer
        if writer is None:
            return b""
        self._writer = None
        frames, item = writer.close()
        if item is not None:
            self._output.append(item)
        return frames

    def _so_far(self) -> Part:
        """Return the open part as far as it was sent, if the reply does not contain it."""
        assert self._part is not None
        assert self._writer is not None
        return self._writer.so_far(self._part)


def _ignore(event: Event) -> bytes:
    return b""
