"""Several answers to one Chat request (``n``): one durable run each, combined into one answer.

Each choice has its own exchange, whose sink puts the frames into one queue. Nothing is sent before
every choice has begun, so one that fails early is an error of the request; later it ends the stream
with an error. One failure, or a client that disconnects, ends all runs.
"""

import asyncio
import logging
import time
from collections.abc import Iterable, Sequence
from dataclasses import replace

import orjson

from polyvox.activities.live.channel import RunOutcome
from polyvox.gateway.generate.caller import Caller
from polyvox.gateway.generate.exchange import Exchange, Program
from polyvox.gateway.generate.joining import AnsweringRun, RetryingProgram, answering_run
from polyvox.gateway.generate.sinks import Sink, run_headers
from polyvox.gateway.http.errors import Headers, retry_headers
from polyvox.protocols.chat.client import request as chat
from polyvox.protocols.chat.client import response as chat_response
from polyvox.protocols.chat.client.response import choice_of, usage_of_choices
from polyvox.protocols.chat.client.stream import DONE, Encoder
from polyvox.protocols.client_side import Ask
from polyvox.workflows.conversation import Json, Wire
from polyvox.workflows.errors import ModelError
from polyvox.workflows.reply import Reply

log = logging.getLogger(__name__)

_MOST_QUEUED = 256

_MOST_HELD_BYTES = 1024 * 1024
"""A choice of this size is not held back any longer for one that has not begun."""


class Choices:
    """The answers to one request, as one answer."""

    def __init__(
        self, program: Program, ask: Ask, caller: Caller, runs: Sequence[AnsweringRun]
    ) -> None:
        self._ask = ask
        self._over = asyncio.Event()
        # Bounded, so that a slow client holds up the choices instead of filling the memory.
        self._queue = asyncio.Queue[tuple[_Choice, list[bytes] | None]](_MOST_QUEUED)
        self._failed: _Choice | None = None
        run_ids = [run.run_id for run in runs]
        created = int(time.time())
        self._choices = [
            _Choice(index, run_id, run_ids[0], created, self._queue, self._over)
            for index, run_id in enumerate(run_ids)
        ]
        self._exchanges = [
            run.exchange(
                program,
                choice,
                _single(ask, choice.index),
                _caller_of_choice(caller, choice.index),
                run_id=run.run_id,
            )
            for run, choice in zip(runs, self._choices, strict=True)
        ]

    @classmethod
    async def joined(cls, program: RetryingProgram, ask: Ask, caller: Caller) -> "Choices":
        """Return the answers, those that an earlier attempt at the request has begun included."""
        indices = range(chat.choices_wanted(ask))
        callers = [_caller_of_choice(caller, index) for index in indices]
        return cls(program, ask, caller, [await answering_run(program, one) for one in callers])

    async def answer(self, sink: Sink) -> None:
        leaving = asyncio.create_task(self._notice_leaving(sink))
        runs = [
            asyncio.create_task(self._run(choice, exchange))
            for choice, exchange in zip(self._choices, self._exchanges, strict=True)
        ]
        try:
            await (self._stream(sink) if self._ask.stream else self._whole(sink))
        except OSError:
            log.debug("The client has left.")
        finally:
            self._over.set()
            leaving.cancel()
            draining = asyncio.create_task(self._drain())
            await asyncio.gather(*runs)
            draining.cancel()

    async def _drain(self) -> None:
        """Discard what the choices still send, so that they can end."""
        while True:
            await self._queue.get()

    async def _notice_leaving(self, sink: Sink) -> None:
        await sink.left()
        self._over.set()

    async def _run(self, choice: "_Choice", exchange: Exchange) -> None:
        try:
            await exchange.answer(choice)
        finally:
            await self._queue.put((choice, None))

    async def _receive(self) -> bool:
        """Take the next frames of any choice; return True if it is complete. Raises its error."""
        choice, frames = await self._queue.get()
        if choice.error is not None:
            self._failed = choice
            raise choice.error
        if frames is None:
            return True
        choice.held += frames
        choice.held_bytes += sum(map(len, frames))
        return False

    async def _whole(self, sink: Sink) -> None:
        try:
            going = len(self._choices)
            while going:
                going -= await self._receive()
        except ModelError as error:
            await self._refuse(sink, error)
            return
        if self._over.is_set():
            return
        document = {
            **self._choices[0].document,
            "choices": [choice_of(choice.document, choice.index) for choice in self._choices],
            **self._usage(),
        }
        await sink.whole(self._outcome(), document, self._headers(self._losses()))

    async def _stream(self, sink: Sink) -> None:
        committed, going = False, len(self._choices)
        try:
            while going:
                going -= await self._receive()
                begun = all(choice.held_bytes for choice in self._choices)
                long = any(choice.held_bytes > _MOST_HELD_BYTES for choice in self._choices)
                if not committed and (begun or long):
                    committed = True
                    await sink.begin(self._headers(self._losses()))
                if committed and (frames := self._held()):
                    await sink.frames(frames)
        except ModelError as error:
            if not committed:
                await self._refuse(sink, error)
                return
            _, document = self._rendered(error)
            last = b"data: " + orjson.dumps(document) + b"\n\n"
            await sink.finish(RunOutcome(error=error), [*self._held(), last])
            return
        if not self._over.is_set():
            usage = self._usage_frame() if self._choices[0].tells_usage else b""
            await sink.finish(self._outcome(), [*self._held(), usage, DONE])

    def _held(self) -> list[bytes]:
        """Take the frames to be sent, by choice: clients expect the choices to begin in order."""
        frames = [frame for choice in self._choices for frame in choice.held if frame]
        for choice in self._choices:
            choice.held = []
            choice.held_bytes = 0
        return frames

    async def _refuse(self, sink: Sink, error: ModelError) -> None:
        status, document = self._rendered(error)
        await sink.refuse(
            error, status, document, [*self._headers(), *retry_headers(error, status)]
        )

    def _rendered(self, error: ModelError) -> tuple[int, dict[str, Json]]:
        return chat_response.render_error(error, self._failed.run_id if self._failed else None)

    def _outcome(self) -> RunOutcome:
        return RunOutcome(reply=self._choices[0].reply)

    def _usage_frame(self) -> bytes:
        usage = self._usage()
        if not usage:
            return b""
        return b"data: " + orjson.dumps({**self._choices[0].head, "choices": [], **usage}) + b"\n\n"

    def _usage(self) -> dict[str, Json]:
        replies = [choice.reply for choice in self._choices if choice.reply is not None]
        usage = usage_of_choices(replies)
        return {} if usage is None else {"usage": usage}

    def _headers(self, losses: Iterable[str] = ()) -> Headers:
        run_ids = [choice.run_id for choice in self._choices]
        runs = (b"x-polyvox-runs", ", ".join(run_ids).encode())
        return [*run_headers(run_ids[0], sorted(losses)), runs]

    def _losses(self) -> set[str]:
        return {loss for exchange in self._exchanges for loss in exchange.losses}


class _Choice(Sink):
    """One choice: encodes its answer with the ids of the whole, and is its exchange's sink."""

    def __init__(
        self,
        index: int,
        run_id: str,
        answer_id: str,
        created: int,
        queue: "asyncio.Queue[tuple[_Choice, list[bytes] | None]]",
        over: asyncio.Event,
    ) -> None:
        self.index = index
        self.run_id = run_id
        self.held: list[bytes] = []
        self.held_bytes = 0
        self.error: ModelError | None = None
        self.reply: Reply | None = None
        self.document: dict[str, Json] = {}
        self._answer_id = answer_id
        self._created = created
        self._queue = queue
        self._over = over
        self._encoder: _ChoiceEncoder | None = None

    @property
    def head(self) -> dict[str, Json]:
        """The members that every chunk of the answer has."""
        return self._encoder.head if self._encoder is not None else {}

    @property
    def tells_usage(self) -> bool:
        return self._encoder is not None and self._encoder.tells_usage

    def encoder(self, ask: Ask, *, run_id: str, created: int) -> "_ChoiceEncoder":
        self._encoder = _ChoiceEncoder(
            ask, run_id=self._answer_id, created=self._created, index=self.index
        )
        return self._encoder

    def render(self, ask: Ask, reply: Reply, *, run_id: str, created: int) -> dict[str, Json]:
        return chat_response.render(ask, reply, run_id=self._answer_id, created=self._created)

    def render_error(self, error: ModelError, run_id: str | None) -> tuple[int, dict[str, Json]]:
        return chat_response.render_error(error, run_id)

    async def left(self) -> None:
        await self._over.wait()

    async def frames(self, frames: list[bytes]) -> None:
        await self._queue.put((self, frames))

    async def finish(self, outcome: RunOutcome, frames: list[bytes]) -> None:
        self.reply, self.error = outcome.reply, outcome.error
        await self._queue.put((self, frames))

    async def whole(self, outcome: RunOutcome, document: dict[str, Json], headers: Headers) -> None:
        self.reply, self.document = outcome.reply, document

    async def refuse(
        self, error: ModelError, status: int, document: dict[str, Json], headers: Headers
    ) -> None:
        self.error = error


class _ChoiceEncoder(Encoder):
    """Writes one choice's chunks, without the end of the whole answer."""

    def keep_alive(self) -> bytes:
        # The first keep-alive is the chunk that begins the choice, so that all begin in order.
        return self._begin({}) or super().keep_alive()

    def end(self, reply: Reply) -> bytes:
        return b""


def _caller_of_choice(caller: Caller, index: int) -> Caller:
    return caller if caller.sent is None else replace(caller, sent=caller.sent.of_choice(index))


def _single(ask: Ask, index: int) -> Ask:
    """Return the request for one answer, with its own seed, or all would be the same."""
    options = ask.conversation.options
    fields = {**(options.on_wire("chat") or {})}
    del fields["n"]
    if isinstance(fields.get("seed"), int):
        fields["seed"] += index
    alone = replace(options, wire=Wire("chat", fields))
    return replace(ask, conversation=replace(ask.conversation, options=alone))
