"""The path of one request: a parsed Ask becomes a durable run, its Events become the answer.

The exchange subscribes to the run before it starts it, shows Events as they come, and completes
the stream from the Reply, which alone is the truth. It is the judge of retries, because it alone
knows what the client has: an attempt that begins again after words of an earlier one were sent ends
the stream with an error. A client that leaves ends the run, and with it the spending.

Until something is worth showing no status is sent, so that an early failure is a plain HTTP error.
A flow that stays silent for ``keep_alive_s`` commits the stream and is kept alive from then on.
"""

import asyncio
import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass, field

from starlette.types import Message, Receive, Scope, Send

from polyvox.activities.ledger.entries import EndStatus
from polyvox.activities.live.relay import Batch, Channel, RunOutcome
from polyvox.gateway.http.errors import retry_headers, send_json
from polyvox.protocols.client_side import Ask, Encoder, Front
from polyvox.protocols.header_text import header_list
from polyvox.worker.runs.handle import RunHandle
from polyvox.worker.runs.start import RunRequest, new_run_id
from polyvox.worker.runtime import Runtime
from polyvox.workflows.errors import ModelError
from polyvox.workflows.events import PartDelta, PartEnded, PartStarted

log = logging.getLogger(__name__)

STREAM_HEADERS = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-cache"),
    (b"x-accel-buffering", b"no"),
]

_FOLLOW_AFTER_S = 5.0
"""A run's end is told in process; only a long one is also asked of the engine, to be sure."""


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks: the key's id, the trace the client is already in, the headers a flow may see."""

    key_id: str
    traceparent: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)


class Exchange:
    """One request's answer, as an ASGI response.

    ``digest`` spares storing the conversation where it is stored already. A ``lasting`` run goes on
    when this process stops: only a client that leaves ends it.
    """

    def __init__(
        self,
        runtime: Runtime,
        front: Front,
        ask: Ask,
        caller: Caller,
        *,
        run_id: str | None = None,
        digest: str | None = None,
        lasting: bool = False,
    ) -> None:
        self._runtime = runtime
        self._front = front
        self._ask = ask
        self._caller = caller
        self._created = int(time.time())
        self._run_id = run_id or new_run_id()
        self._digest = digest
        self._lasting = lasting
        self._committed = False
        self._left = False
        self._shown: dict[str, int] = {}
        self.losses: tuple[str, ...] = ()
        """What the provider's protocol could not carry, as far as the answer's head told it."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        span = self._runtime.tracing.request_span(
            scope["method"], scope["path"], traceparent=self._caller.traceparent
        )
        failed: ModelError | None = None
        try:
            await self._answer(receive, send, span.traceparent)
        except ModelError as error:
            failed = error
            if not self._left:
                await self._send_error(send, error)
        finally:
            status = failed.http_status if failed else 200
            span.end(status, failed, run_id=self._run_id)

    async def _answer(self, receive: Receive, send: Send, traceparent: str | None) -> None:
        runtime, ask = self._runtime, self._ask
        request = RunRequest(
            run_id=self._run_id,
            model=ask.model,
            protocol=ask.protocol,
            conversation=ask.conversation,
            stream=ask.stream,
            key_id=self._caller.key_id,
            headers=self._caller.headers,
            traceparent=traceparent,
            digest=self._digest,
        )
        failed: ModelError | None = None
        with runtime.relay.subscribe(self._run_id, live=ask.stream) as channel:
            run = await runtime.runs.start(request)
            try:
                await self._show(channel, run.handle, receive, send)
            except ModelError as error:
                failed = error
                raise
            finally:
                status: EndStatus = "failed" if failed else "completed"
                run.span.end("cancelled" if self._left else status, failed)

    async def _show(
        self,
        channel: Channel,
        handle: RunHandle,
        receive: Receive,
        send: Send,
    ) -> None:
        leaving = asyncio.create_task(self._notice_leaving(receive, channel))
        following = asyncio.create_task(_follow(handle, channel))
        try:
            if self._ask.stream:
                await self._stream(channel, send)
            else:
                await self._whole(channel, send)
        except OSError:
            self._left = True
        finally:
            leaving.cancel()
            following.cancel()
            if self._left or (channel.outcome is None and not self._lasting):
                await self._end_run(handle)
        if self._left:
            raise ModelError("cancelled", "The client has left.")

    async def _notice_leaving(self, receive: Receive, channel: Channel) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        self._left = True
        channel.end(RunOutcome(error=ModelError("cancelled", "The client has left.")))

    async def _end_run(self, handle: RunHandle) -> None:
        try:
            await handle.cancel()
        except ModelError as error:
            log.warning("Run %s could not be cancelled: %s", self._run_id, error.message)

    async def _whole(self, channel: Channel, send: Send) -> None:
        while channel.outcome is None:
            await channel.next(60.0)
        reply = channel.outcome.result()
        document = self._front.render(self._ask, reply, run_id=self._run_id, created=self._created)
        await send_json(send, 200, document, self._headers(channel))

    async def _stream(self, channel: Channel, send: Send) -> None:
        encoder = self._front.encoder(self._ask, run_id=self._run_id, created=self._created)
        try:
            pending = await self._relay(channel, encoder, send)
            outcome = channel.outcome
            if outcome is not None and not self._left:
                ending = pending + encoder.finish(outcome.result())
                await self._send_stream(send, channel, ending, more=False)
        except ModelError as error:
            if self._committed and not self._left:
                await send(_body(encoder.fail(error), more=False))
            raise

    async def _relay(self, channel: Channel, encoder: Encoder, send: Send) -> bytes:
        """Show events until the run has ended; return frames that were not worth sending yet."""
        keep_alive_s = self._runtime.settings.server.keep_alive_s
        pending = b""
        while not self._left:
            batches = await channel.next(keep_alive_s)
            if not batches and channel.outcome is not None:
                break
            pending += b"".join([self._encode(encoder, batch) for batch in batches])
            if not batches:
                pending += encoder.keep_alive()
            if self._shown or not batches:
                await self._send_stream(send, channel, pending)
                pending = b""
        return pending

    def _encode(self, encoder: Encoder, batch: Batch) -> bytes:
        shown = self._shown.get(batch.call)
        if shown is not None and batch.attempt > shown:
            raise ModelError(
                "stream_cut",
                "The model's answer came to a premature end and was begun anew; what was sent "
                "cannot be taken back. Try your request again.",
            )
        if shown is None and any(
            isinstance(event, PartStarted | PartDelta | PartEnded) for event in batch.events
        ):
            self._shown[batch.call] = batch.attempt
        return b"".join([encoder.feed(event) for event in batch.events])

    async def _send_stream(
        self, send: Send, channel: Channel, data: bytes, *, more: bool = True
    ) -> None:
        if not self._committed:
            self._committed = True
            headers = [*STREAM_HEADERS, *self._headers(channel)]
            await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send(_body(data, more=more))

    def _headers(self, channel: Channel | None = None) -> list[tuple[bytes, bytes]]:
        run_id = self._run_id.encode()
        headers = [(b"x-polyvox-run", run_id), (b"x-request-id", run_id), (b"request-id", run_id)]
        if channel is not None and channel.losses:
            self.losses = tuple(sorted(channel.losses))
            headers.append((b"x-polyvox-losses", header_list(self.losses).encode()))
        return headers

    async def _send_error(self, send: Send, error: ModelError) -> None:
        if self._committed:
            return
        status, document = self._front.render_error(error, self._run_id)
        await send_json(send, status, document, [*self._headers(), *retry_headers(error, status)])


async def _follow(handle: RunHandle, channel: Channel) -> None:
    """Ask the engine for the run's end, for the case that nobody tells it in process."""
    await asyncio.sleep(_FOLLOW_AFTER_S)
    channel.end(await handle.outcome())


def _body(data: bytes, *, more: bool) -> Message:
    return {"type": "http.response.body", "body": data, "more_body": more}
