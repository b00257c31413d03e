"""Several answers to one Chat request (``n``): a durable run for each, one answer around them.

Every choice is an exchange of its own that believes to speak to a client, and is heard here.
Nothing is sent before each of them has begun, so that one that fails at once is an error of the
request; later it ends the stream with an error. Who fails, and a client that leaves, ends all runs.
"""

import asyncio
import logging
import time
from dataclasses import replace

import orjson
from starlette.types import Message, Receive, Scope, Send

from polyvox.gateway.generate.exchange import STREAM_HEADERS, Caller, Exchange
from polyvox.gateway.http.errors import Headers, retry_headers, send_json
from polyvox.protocols.chat import client_request as chat
from polyvox.protocols.chat.client_response import choice_of, usage_of_choices
from polyvox.protocols.chat.client_stream import DONE, Encoder
from polyvox.protocols.client_side import Ask
from polyvox.protocols.header_text import header_list
from polyvox.worker.runs.start import new_run_id
from polyvox.worker.runtime import Runtime
from polyvox.workflows.conversation import Json, Wire
from polyvox.workflows.errors import ModelError
from polyvox.workflows.reply import Reply

log = logging.getLogger(__name__)

_MOST_HEARD = 256

_MOST_HELD_BYTES = 1024 * 1024
"""A choice that has said so much is not kept back any longer for one that has not begun."""


class Choices:
    """One request's answers, as an ASGI response."""

    def __init__(self, runtime: Runtime, ask: Ask, caller: Caller) -> None:
        self._ask = ask
        self._over = asyncio.Event()
        # Bounded, so that a client who reads slowly holds up the choices and not their words.
        self._heard = asyncio.Queue[tuple[_Choice, Message | None]](_MOST_HEARD)
        self._failed: _Choice | None = None
        run_ids = [new_run_id() for _ in range(chat.choices_wanted(ask))]
        created = int(time.time())
        self._choices = [
            _Choice(index, run_id, run_ids[0], created) for index, run_id in enumerate(run_ids)
        ]
        self._exchanges = [
            Exchange(runtime, choice, _single(ask, choice.index), caller, run_id=choice.run_id)
            for choice in self._choices
        ]
        ids = (b"x-polyvox-run", b"x-request-id", b"request-id")
        self._headers: Headers = [(name, run_ids[0].encode()) for name in ids]
        self._headers.append((b"x-polyvox-runs", ", ".join(run_ids).encode()))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        leaving = asyncio.create_task(self._notice_leaving(receive))
        runs = [
            asyncio.create_task(self._run(choice, exchange, scope))
            for choice, exchange in zip(self._choices, self._exchanges, strict=True)
        ]
        try:
            await (self._stream(send) if self._ask.stream else self._whole(send))
        except OSError:
            log.debug("The client has left.")
        finally:
            self._over.set()
            leaving.cancel()
            draining = asyncio.create_task(self._drain())
            await asyncio.gather(*runs)
            draining.cancel()

    async def _drain(self) -> None:
        """Let choices end that still have something to say."""
        while True:
            await self._heard.get()

    async def _notice_leaving(self, receive: Receive) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        self._over.set()

    async def _run(self, choice: "_Choice", exchange: Exchange, scope: Scope) -> None:
        async def receive() -> Message:
            await self._over.wait()
            return {"type": "http.disconnect"}

        async def send(message: Message) -> None:
            await self._heard.put((choice, message))

        try:
            await exchange(scope, receive, send)
        except Exception as defect:
            log.exception("Choice %d", choice.index)
            told = f"{type(defect).__name__} in the gateway; its log tells more."
            choice.error = ModelError("internal", told)
        finally:
            await self._heard.put((choice, None))

    async def _hear(self) -> Message | None:
        """Return the next message of any choice, None when one is complete. Raises its error."""
        choice, message = await self._heard.get()
        if choice.error is not None:
            self._failed = choice
            raise choice.error
        if message is not None and message["type"] == "http.response.body":
            choice.held += message["body"]
        return message

    async def _whole(self, send: Send) -> None:
        try:
            going = len(self._choices)
            while going:
                going -= await self._hear() is None
        except ModelError as error:
            await self._send_error(send, error)
            return
        if self._over.is_set():
            return
        document = {
            **self._choices[0].document,
            "choices": [choice_of(choice.document, choice.index) for choice in self._choices],
            **self._usage(),
        }
        await send_json(send, 200, document, [*self._headers, *self._losses()])

    async def _stream(self, send: Send) -> None:
        committed, going = False, len(self._choices)
        try:
            while going:
                going -= await self._hear() is None
                begun = all(choice.held for choice in self._choices)
                long = any(len(choice.held) > _MOST_HELD_BYTES for choice in self._choices)
                if not committed and (begun or long):
                    committed = True
                    await self._begin(send)
                if committed and (frames := self._held()):
                    await _send_frames(send, frames)
        except ModelError as error:
            if not committed:
                await self._send_error(send, error)
                return
            _, document = self._told(error)
            told = b"data: " + orjson.dumps(document) + b"\n\n"
            await _send_frames(send, self._held() + told, more=False)
            return
        if not self._over.is_set():
            usage = self._usage_frame() if self._choices[0].tells_usage else b""
            await _send_frames(send, self._held() + usage + DONE, more=False)

    def _held(self) -> bytes:
        """Return the frames that are to be sent: clients want the choices to begin in order."""
        frames = b"".join([choice.held for choice in self._choices])
        for choice in self._choices:
            choice.held = b""
        return frames

    async def _begin(self, send: Send) -> None:
        headers = [*STREAM_HEADERS, *self._headers, *self._losses()]
        await send({"type": "http.response.start", "status": 200, "headers": headers})

    async def _send_error(self, send: Send, error: ModelError) -> None:
        status, document = self._told(error)
        headers = [*self._headers, *retry_headers(error, status)]
        await send_json(send, status, document, headers)

    def _told(self, error: ModelError) -> tuple[int, dict[str, Json]]:
        return chat.render_error(error, self._failed.run_id if self._failed else None)

    def _usage_frame(self) -> bytes:
        usage = self._usage()
        if not usage:
            return b""
        return b"data: " + orjson.dumps({**self._choices[0].head, "choices": [], **usage}) + b"\n\n"

    def _usage(self) -> dict[str, Json]:
        replies = [choice.reply for choice in self._choices if choice.reply is not None]
        usage = usage_of_choices(replies)
        return {} if usage is None else {"usage": usage}

    def _losses(self) -> Headers:
        named = {loss for exchange in self._exchanges for loss in exchange.losses}
        return [(_LOSSES, header_list(sorted(named)).encode())] if named else []


class _Choice:
    """The front of one choice, which takes note of what becomes of it."""

    def __init__(self, index: int, run_id: str, answer_id: str, created: int) -> None:
        self.index = index
        self.run_id = run_id
        self.answer_id = answer_id
        self.held = b""
        self.error: ModelError | None = None
        self.reply: Reply | None = None
        self.document: dict[str, Json] = {}
        self._created = created
        self._writing: _ChoiceEncoder | None = None

    @property
    def head(self) -> dict[str, Json]:
        """The members every chunk of the answer has."""
        return self._writing.head if self._writing is not None else {}

    @property
    def tells_usage(self) -> bool:
        return self._writing is not None and self._writing.tells_usage

    def encoder(self, ask: Ask, *, run_id: str, created: int) -> "_ChoiceEncoder":
        self._writing = _ChoiceEncoder(ask, self, created=self._created)
        return self._writing

    def render(self, ask: Ask, reply: Reply, *, run_id: str, created: int) -> dict[str, Json]:
        self.reply = reply
        self.document = chat.render(ask, reply, run_id=self.answer_id, created=self._created)
        return self.document

    def render_error(self, error: ModelError, run_id: str | None) -> tuple[int, dict[str, Json]]:
        self.error = error
        return chat.render_error(error, run_id)


class _ChoiceEncoder(Encoder):
    """Writes one choice's chunks; what ends the whole answer is not its own."""

    def __init__(self, ask: Ask, choice: _Choice, *, created: int) -> None:
        super().__init__(ask, run_id=choice.answer_id, created=created, index=choice.index)
        self._choice = choice

    def keep_alive(self) -> bytes:
        # The first sign of life is the chunk that begins the choice, so that all begin in order.
        return self._begin({}) or super().keep_alive()

    def fail(self, error: ModelError) -> bytes:
        self._choice.error = error
        return b""

    def end(self, reply: Reply) -> bytes:
        self._choice.reply = reply
        return b""


_LOSSES = b"x-polyvox-losses"


def _single(ask: Ask, index: int) -> Ask:
    """Return the request for one answer; a seed is another for each, or all would be the same."""
    options = ask.conversation.options
    said = {**(options.on_wire("chat") or {})}
    del said["n"]
    if isinstance(said.get("seed"), int):
        said["seed"] += index
    alone = replace(options, wire=Wire("chat", said))
    return replace(ask, conversation=replace(ask.conversation, options=alone))


async def _send_frames(send: Send, frames: bytes, *, more: bool = True) -> None:
    await send({"type": "http.response.body", "body": frames, "more_body": more})
