"""The path of one request: a parsed Ask becomes a durable run, its Events become the answer.

The exchange subscribes to the run before it starts it, encodes Events as they arrive, and completes
the stream from the Reply, which is authoritative. The frames go to a ``Sink``. Only the exchange
knows what the client has received, so it decides about retries: when an attempt starts again after
text of an earlier one was sent, the stream ends with an error. When the client disconnects, the run
is cancelled, so that it causes no further cost.

No status is sent before there is content, so an early failure is a plain HTTP error. A flow that
sends nothing for ``keep_alive_s`` commits the stream, which gets keep-alives from then on.
"""

import asyncio
import logging
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import Protocol as Interface

from polyvox.activities.live.channel import Batch, Channel, RunOutcome
from polyvox.activities.live.relay import Relay
from polyvox.activities.tracing.spans import Tracing
from polyvox.gateway.generate.caller import Caller
from polyvox.gateway.generate.outcomes import (
    begun_anew,
    interrupted,
    usage_of,
    without_parts,
)
from polyvox.gateway.generate.places import Place
from polyvox.gateway.generate.sinks import Sink, run_headers
from polyvox.gateway.http.errors import Headers, defect_error, error_for, retry_headers
from polyvox.protocols.client_side import Ask, Encoder, ResponseEncoder
from polyvox.worker.runs.handle import RunHandle
from polyvox.worker.runs.start import RunRequest, StartedRun, new_run_id
from polyvox.workflows.errors import ModelError
from polyvox.workflows.events import PartDelta, PartEnded, PartStarted

log = logging.getLogger(__name__)

_COMPLETIONS_S = 0.25
"""How long the end of a run waits for the completion of calls that other processes made."""

_LOOKS = 25

_BEGUN_WITHIN_S = 2.0
"""A started run whose first call does not begin here makes room for the next start."""


class RunStarter(Interface):
    """Starts runs; see ``runs.start.Runs``."""

    async def start(self, request: RunRequest) -> StartedRun: ...

    def find(self, run_id: str) -> RunHandle: ...

    async def attach(self, run_id: str) -> None: ...

    async def has_shown(self, run_id: str) -> bool: ...

    async def has_other_listener(self, run_id: str) -> bool: ...

    async def release(self, run_id: str) -> None: ...

    def answered(self, run_id: str) -> None: ...

    def fail(self, run_id: str, error: ModelError) -> None: ...

    async def completed_calls(self, run_id: str) -> set[str]: ...


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


class Exchange:
    """One request's answer.

    ``digest`` is the conversation's, if it is stored already. A ``lasting`` run continues when this
    process stops; only a client that disconnects ends it. The answer of a ``fetchable`` run can be
    read later, so the run goes on if this process dies; a lasting one is fetchable. ``losses`` are
    those that do not depend on a call's provider.
    """

    def __init__(
        self,
        program: Program,
        answers: ResponseEncoder,
        ask: Ask,
        caller: Caller,
        *,
        run_id: str | None = None,
        created: int | None = None,
        digest: str | None = None,
        lasting: bool = False,
        fetchable: bool = False,
        losses: tuple[str, ...] = (),
        follow_after_s: float | None = None,
    ) -> None:
        self._program = program
        self._answers = answers
        self._ask = ask
        self._caller = caller
        self._created = created or int(time.time())
        self._run_id = run_id or new_run_id()
        self._digest = digest
        self._lasting = lasting
        self._fetchable = fetchable or lasting
        self._own_losses = losses
        self._follow_after_s = (
            program.relay.follow_after_s if follow_after_s is None else follow_after_s
        )
        self._committed = False
        self._left = False
        self._defect = False
        self._was_cut = False
        self._sent_attempts: dict[str, int] = {}
        self._select: Callable[[Channel, list[Batch]], list[Batch]] | None = None
        """Returns the batches that the client may get, if not all."""
        self.started = asyncio.Event()
        """Set when the engine has the run."""
        self.refused: ModelError | None = None
        """Why the client got an error document."""
        self.losses: tuple[str, ...] = ()
        """What the provider's protocol could not carry, as reported in the answer's headers."""

    async def answer(self, sink: Sink) -> None:
        caller = self._caller
        caller.facts.model = self._ask.model
        caller.facts.request_id = caller.facts.request_id or self._run_id
        span = self._program.tracing.request_span(
            caller.method, caller.path, traceparent=caller.traceparent
        )
        error: ModelError | None = interrupted()
        try:
            await self._run(sink, span.traceparent)
            error = None
        except Exception as raised:  # noqa: BLE001 - logged by ``_recorded``
            error = self._recorded(raised)
            if not self._left and not self._committed:
                await self._refuse(sink, error)
        finally:
            if error is not None:
                caller.facts.fail(error)
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
            sent=self._caller.sent,
            fetchable=self._fetchable,
            journal=self._lasting,
        )
        relay = self._program.relay
        place = self._caller.places.place(self._caller.key_id)
        kept = self._caller.sent is not None and self._caller.sent.idempotency_key is not None
        with relay.subscribe(self._run_id, live=ask.stream, kept=kept) as channel:
            relay.lose(self._run_id, self._own_losses)
            leaving = asyncio.create_task(self._notice_leaving(sink, channel, place))
            try:
                if not self._lasting:
                    place.on_cut = partial(self._cut, channel)
                await asyncio.sleep(0)  # for a client that has left already
                run = await self._begin(request, channel, place)
                self.started.set()
                await self._answer(channel, run, sink)
            finally:
                leaving.cancel()
                place.leave()

    async def _begin(self, request: RunRequest, channel: Channel, place: Place) -> StartedRun:
        await place.enter()
        channel.on_call = place.begun
        run = await self._program.runs.start(request)
        place.begun_within(_BEGUN_WITHIN_S if run.begins_here else 0.0)
        return run

    async def _answer(self, channel: Channel, run: StartedRun, sink: Sink) -> None:
        error: ModelError | None = interrupted()
        try:
            await self._send(channel, run.handle, sink)
            error = None
        except ModelError as failed:
            error = failed
            raise
        finally:
            if channel.outcome is not None:
                self._caller.facts.usage += usage_of(channel.outcome)
            run.span.end(RunOutcome(error=error).status, error)

    def _recorded(self, raised: Exception) -> ModelError:
        """Return ``raised`` as a ModelError. A defect is logged and recorded as the run's end."""
        if isinstance(raised, ModelError):
            return raised
        self._defect = True
        error = defect_error(raised, f"Run {self._run_id}")
        self._program.runs.fail(self._run_id, error)
        return error

    async def _send(self, channel: Channel, handle: RunHandle, sink: Sink) -> None:
        following = asyncio.create_task(self._follow(handle, channel))
        try:
            await (
                self._stream(channel, handle, sink)
                if self._ask.stream
                else self._whole(channel, sink)
            )
        except OSError:
            self._left = True
        except Exception as raised:  # noqa: BLE001 - logged by ``_recorded``
            # Before the run is cancelled, because the ledger stores the first end of a run.
            raise self._recorded(raised) from None
        finally:
            following.cancel()
            unread = (channel.outcome or channel.postponed) is None and not self._lasting
            if self._left or self._defect or self._was_cut or unread:
                await self._leave(channel, handle)
        if self._left:
            raise ModelError("cancelled", "The client has left.")

    async def _notice_leaving(self, sink: Sink, channel: Channel, place: Place) -> None:
        await sink.left()
        self._left = True
        left = ModelError("cancelled", "The client has left.")
        place.withdraw(left)
        if not await self._is_awaited():
            self._program.relay.hang_up(self._run_id)
        channel.end(RunOutcome(error=left))

    async def _is_awaited(self) -> bool:
        """Return whether another request waits for the run too."""
        return self._program.relay.is_shared(
            self._run_id
        ) or await self._program.runs.has_other_listener(self._run_id)

    def _cut(self, channel: Channel, error: ModelError) -> None:
        if channel.outcome is None:
            self._was_cut = True
            channel.end(RunOutcome(error=error))

    async def _follow(self, handle: RunHandle, channel: Channel) -> None:
        """Ask the engine for the run's end, in case it is not reported."""
        if self._program.relay.is_connected:
            with suppress(TimeoutError):
                await asyncio.wait_for(channel.ending.wait(), self._follow_after_s)
        else:
            await asyncio.sleep(self._follow_after_s)
        if (channel.outcome or channel.postponed) is not None:
            return
        try:
            outcome = await handle.outcome()
        except Exception as defect:  # noqa: BLE001 - logged by ``_recorded``
            outcome = RunOutcome(error=self._recorded(defect))
        channel.end(outcome)

    async def _leave(self, channel: Channel, handle: RunHandle) -> None:
        """End the run, unless another request waits for it too."""
        if not self._defect and await self._is_awaited():
            return
        await self._end_run(handle)
        if channel.outcome is not None and channel.outcome.reply is not None:
            await self._program.runs.release(self._run_id)

    async def _end_run(self, handle: RunHandle) -> None:
        try:
            await handle.cancel()
        except ModelError as error:
            log.warning("Run %s could not be cancelled: %s", self._run_id, error.message)

    async def _whole(self, channel: Channel, sink: Sink) -> None:
        while (outcome := channel.outcome) is None:
            await channel.next(60.0)
        render = partial(
            self._answers.render, self._ask, run_id=self._run_id, created=self._created
        )
        headers = self._headers(channel)
        ended = channel.outcome = without_parts(outcome)
        # The client may read slowly; neither the reply nor the document is held meanwhile.
        rendered = [render(outcome.result())]
        del outcome
        await sink.whole(ended, rendered.pop(), headers)
        self._program.runs.answered(self._run_id)

    async def _stream(self, channel: Channel, handle: RunHandle, sink: Sink) -> None:
        encoder = self._answers.encoder(self._ask, run_id=self._run_id, created=self._created)
        try:
            frames = await self._relay(channel, encoder, sink)
            if channel.outcome is None and channel.postponed is not None and not self._left:
                found = await handle.outcome()
                channel.outcome = replace(channel.postponed, reply=found.reply, error=found.error)
            if channel.outcome is not None and not self._left:
                channel.outcome.result()  # raises the run's own error first
                await self._await_completions(channel)
                self._refuse_rest_of_cut(channel)
                frames.append(encoder.finish(channel.outcome.result()))
                await self._commit(channel, sink)
                # The client may read slowly; the reply is not held meanwhile.
                channel.outcome = without_parts(channel.outcome)
                await sink.finish(channel.outcome, frames)
                self._program.runs.answered(self._run_id)
        except OSError:
            raise
        except Exception as raised:  # noqa: BLE001 - logged by ``_recorded``
            error = self._recorded(raised)
            if self._committed and not self._left:
                await sink.finish(RunOutcome(error=error), [encoder.fail(error)])
            raise error from None

    async def _relay(self, channel: Channel, encoder: Encoder, sink: Sink) -> list[bytes]:
        """Send events until the run has ended; return the frames that are not sent yet."""
        keep_alive_s = self._program.keep_alive_s
        pending: list[bytes] = []
        while not self._left:
            batches = await channel.next(keep_alive_s)
            if not batches and (channel.outcome or channel.postponed) is not None:
                break
            if self._select is not None:
                batches = self._select(channel, batches)
            for batch in batches:
                self._refuse_rest_of_cut(channel, batch.call)
                self._refuse_restart(batch)
                pending += [encoder.feed(event) for event in batch.events]
            if not batches:
                pending.append(encoder.keep_alive())
            if self._sent_attempts or not batches:
                await self._commit(channel, sink)
                await sink.frames(pending)
                pending = []
        return pending

    def _refuse_restart(self, batch: Batch) -> None:
        """Raise ModelError if ``batch`` restarts a call of which the client has a part."""
        sent = self._sent_attempts.get(batch.call)
        if sent is not None and batch.attempt > sent:
            raise begun_anew()
        if sent is None and any(
            isinstance(event, PartStarted | PartDelta | PartEnded) for event in batch.events
        ):
            self._sent_attempts[batch.call] = batch.attempt

    def _refuse_rest_of_cut(self, channel: Channel, call: str = "") -> None:
        """Raise ModelError if the client has a part of a call, other than ``call``, that was cut.

        The flow handled the failure and goes on, but the rest would not fit what was sent.
        """
        if channel.unfinished & (self._sent_attempts.keys() - {call}):
            raise begun_anew()

    async def _await_completions(self, channel: Channel) -> None:
        """Wait for calls of other processes: the run's end may arrive before their completion."""
        sent = channel.elsewhere & self._sent_attempts.keys()
        for _ in range(_LOOKS):
            if not sent & channel.unfinished:
                return
            await asyncio.sleep(_COMPLETIONS_S / _LOOKS)
        channel.unfinished -= await self._program.runs.completed_calls(self._run_id)

    async def _commit(self, channel: Channel, sink: Sink) -> None:
        if not self._committed:
            self._committed = True
            await sink.begin(self._headers(channel))

    def _headers(self, channel: Channel) -> Headers:
        self.losses = tuple(sorted(channel.losses))
        return run_headers(self._run_id, self.losses)

    async def _refuse(self, sink: Sink, error: ModelError) -> None:
        self.refused = error
        error = error_for(error, self._caller.headers)
        status, document = self._answers.render_error(error, self._run_id)
        headers = [*run_headers(self._run_id, ()), *retry_headers(error, status)]
        await sink.refuse(error, status, document, headers)
