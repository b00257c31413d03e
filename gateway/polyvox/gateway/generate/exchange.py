"""The path of one request: a parsed Ask becomes a durable run, its Events become the answer.

The exchange subscribes to the run before it starts it, encodes Events as they come, and completes
the stream from the Reply, which alone is the truth. The frames go to a ``Sink``, whoever reads
them. The exchange is the judge of retries, because it alone knows what the client has: an attempt
that begins again after words of an earlier one were sent ends the stream with an error. A client
that leaves ends the run, and with it the spending.

Until something is worth showing no status is sent, so that an early failure is a plain HTTP error.
A flow that stays silent for ``keep_alive_s`` commits the stream and is kept alive from then on.
"""

import asyncio
import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol as Interface

from starlette.requests import HTTPConnection

from polyvox.activities.live.relay import Batch, Channel, Relay, RunOutcome
from polyvox.activities.tracing.spans import Tracing
from polyvox.gateway.generate.sinks import Sink
from polyvox.gateway.http.errors import Headers, defect_error, retry_headers
from polyvox.protocols.client_side import Ask, Encoder, ResponseEncoder
from polyvox.protocols.header_text import header_list
from polyvox.worker.runs.handle import RunHandle
from polyvox.worker.runs.start import RunRequest, StartedRun, new_run_id
from polyvox.workflows.errors import ModelError
from polyvox.workflows.events import PartDelta, PartEnded, PartStarted
from polyvox.workflows.session import seen_headers

log = logging.getLogger(__name__)

_FOLLOW_AFTER_S = 5.0
"""A run's end is told in process; only a long one is also asked of the engine, to be sure."""


class RunStarter(Interface):
    """Starts runs; see ``runs.start.Runs``."""

    async def start(self, request: RunRequest) -> StartedRun: ...

    def fail(self, run_id: str, error: ModelError) -> None: ...


class Program(Interface):
    """What an exchange needs of the running program; a ``Runtime`` is one."""

    @property
    def runs(self) -> RunStarter: ...

    @property
    def relay(self) -> Relay: ...

    @property
    def tracing(self) -> Tracing: ...

    @property
    def keep_alive_s(self) -> float: ...


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks, and where.

    ``key_id`` names the key, ``method`` and ``path`` are those of the request, ``traceparent`` is
    the trace the client is already in, ``headers`` are those that a flow may see.
    """

    key_id: str
    method: str = "POST"
    path: str = ""
    traceparent: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)


def caller_of(connection: HTTPConnection, key_id: str) -> Caller:
    """Return who asks with a request or over a WebSocket."""
    scope, headers = connection.scope, connection.headers
    return Caller(
        key_id,
        scope.get("method", "GET"),  # a WebSocket begins with a GET
        scope["path"],
        headers.get("traceparent"),
        seen_headers(headers),
    )


class Exchange:
    """One request's answer.

    ``digest`` spares storing the conversation where it is stored already. A ``lasting`` run goes on
    when this process stops: only a client that leaves ends it.
    """

    def __init__(
        self,
        program: Program,
        answers: ResponseEncoder,
        ask: Ask,
        caller: Caller,
        *,
        run_id: str | None = None,
        digest: str | None = None,
        lasting: bool = False,
        follow_after_s: float = _FOLLOW_AFTER_S,
    ) -> None:
        self._program = program
        self._answers = answers
        self._ask = ask
        self._caller = caller
        self._created = int(time.time())
        self._run_id = run_id or new_run_id()
        self._digest = digest
        self._lasting = lasting
        self._follow_after_s = follow_after_s
        self._committed = False
        self._left = False
        self._defect = False
        self._shown: dict[str, int] = {}
        self.refused: ModelError | None = None
        """Why the client was given no answer."""
        self.losses: tuple[str, ...] = ()
        """What the provider's protocol could not carry, as far as the answer's head told it."""

    async def answer(self, sink: Sink) -> None:
        caller = self._caller
        span = self._program.tracing.request_span(
            caller.method, caller.path, traceparent=caller.traceparent
        )
        error: ModelError | None = _interrupted()
        try:
            await self._run(sink, span.traceparent)
            error = None
        except Exception as raised:  # noqa: BLE001 - logged and told by ``_told``
            error = self._told(raised)
            if not self._left and not self._committed:
                await self._refuse(sink, error)
        finally:
            span.end(error.http_status if error else 200, error, run_id=self._run_id)

    async def _run(self, sink: Sink, traceparent: str | None) -> None:
        ask = self._ask
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
        error: ModelError | None = _interrupted()
        with self._program.relay.subscribe(self._run_id, live=ask.stream) as channel:
            run = await self._program.runs.start(request)
            try:
                await self._show(channel, run.handle, sink)
                error = None
            except ModelError as failed:
                error = failed
                raise
            finally:
                run.span.end(RunOutcome(error=error).status, error)

    def _told(self, raised: Exception) -> ModelError:
        """Return what to tell of ``raised``. A defect is logged and recorded as the run's end."""
        if isinstance(raised, ModelError):
            return raised
        self._defect = True
        log.error("Run %s met a defect", self._run_id, exc_info=raised)
        error = defect_error(raised)
        self._program.runs.fail(self._run_id, error)
        return error

    async def _show(self, channel: Channel, handle: RunHandle, sink: Sink) -> None:
        leaving = asyncio.create_task(self._notice_leaving(sink, channel))
        following = asyncio.create_task(self._follow(handle, channel))
        try:
            await (self._stream if self._ask.stream else self._whole)(channel, sink)
        except OSError:
            self._left = True
        except Exception as raised:  # noqa: BLE001 - logged and told by ``_told``
            # Before the run is cancelled, because the ledger keeps the first end of a run.
            raise self._told(raised) from None
        finally:
            leaving.cancel()
            following.cancel()
            if self._left or self._defect or (channel.outcome is None and not self._lasting):
                await self._end_run(handle)
        if self._left:
            raise ModelError("cancelled", "The client has left.")

    async def _notice_leaving(self, sink: Sink, channel: Channel) -> None:
        await sink.left()
        self._left = True
        channel.end(RunOutcome(error=ModelError("cancelled", "The client has left.")))

    async def _follow(self, handle: RunHandle, channel: Channel) -> None:
        """Ask the engine for the run's end, for the case that nobody tells it in process."""
        await asyncio.sleep(self._follow_after_s)
        try:
            outcome = await handle.outcome()
        except Exception as defect:  # noqa: BLE001 - logged and told by ``_told``
            outcome = RunOutcome(error=self._told(defect))
        channel.end(outcome)

    async def _end_run(self, handle: RunHandle) -> None:
        try:
            await handle.cancel()
        except ModelError as error:
            log.warning("Run %s could not be cancelled: %s", self._run_id, error.message)

    async def _whole(self, channel: Channel, sink: Sink) -> None:
        while (outcome := channel.outcome) is None:
            await channel.next(60.0)
        document = self._answers.render(
            self._ask, outcome.result(), run_id=self._run_id, created=self._created
        )
        await sink.whole(outcome, document, self._headers(channel))

    async def _stream(self, channel: Channel, sink: Sink) -> None:
        encoder = self._answers.encoder(self._ask, run_id=self._run_id, created=self._created)
        try:
            frames = await self._relay(channel, encoder, sink)
            if channel.outcome is not None and not self._left:
                frames.append(encoder.finish(channel.outcome.result()))
                await self._commit(channel, sink)
                await sink.finish(channel.outcome, frames)
        except OSError:
            raise
        except Exception as raised:  # noqa: BLE001 - logged and told by ``_told``
            error = self._told(raised)
            if self._committed and not self._left:
                await sink.finish(RunOutcome(error=error), [encoder.fail(error)])
            raise error from None

    async def _relay(self, channel: Channel, encoder: Encoder, sink: Sink) -> list[bytes]:
        """Show events until the run has ended; return frames that were not worth sending yet."""
        keep_alive_s = self._program.keep_alive_s
        pending: list[bytes] = []
        while not self._left:
            batches = await channel.next(keep_alive_s)
            if not batches and channel.outcome is not None:
                break
            for batch in batches:
                self._judge(batch)
                pending += [encoder.feed(event) for event in batch.events]
            if not batches:
                pending.append(encoder.keep_alive())
            if self._shown or not batches:
                await self._commit(channel, sink)
                await sink.frames(pending)
                pending = []
        return pending

    def _judge(self, batch: Batch) -> None:
        """Raise ModelError if ``batch`` begins anew what the client has seen in part."""
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

    async def _commit(self, channel: Channel, sink: Sink) -> None:
        if not self._committed:
            self._committed = True
            await sink.begin(self._headers(channel))

    def _headers(self, channel: Channel | None = None) -> Headers:
        run_id = self._run_id.encode()
        headers = [(b"x-polyvox-run", run_id), (b"x-request-id", run_id), (b"request-id", run_id)]
        if channel is not None and channel.losses:
            self.losses = tuple(sorted(channel.losses))
            headers.append((b"x-polyvox-losses", header_list(self.losses).encode()))
        return headers

    async def _refuse(self, sink: Sink, error: ModelError) -> None:
        self.refused = error
        status, document = self._answers.render_error(error, self._run_id)
        headers = [*self._headers(), *retry_headers(error, status)]
        await sink.refuse(error, status, document, headers)


def _interrupted() -> ModelError:
    return ModelError("cancelled", "The server stopped before the answer was complete.")
