"""The activity that calls a model: one upstream attempt, from reference to Reply.

Temporal makes the retries. The kind of a failed attempt's error determines whether another attempt
may help. Once the client has received text of an attempt there is no other, because the text could
not be withdrawn.
"""

import asyncio
from contextlib import aclosing, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from temporalio import activity
from temporalio.common import RawValue
from temporalio.exceptions import ApplicationError

from polyvox.activities.failures.explained import explain
from polyvox.activities.failures.stopped_process import stopped_process
from polyvox.activities.ledger.entries import CallFinished
from polyvox.activities.ledger.ledger import Ledger
from polyvox.activities.ledger.unfinished import Unfinished
from polyvox.activities.limits.provider_gates import ProviderGates
from polyvox.activities.live.channel import Batch
from polyvox.activities.live.journal import Journal
from polyvox.activities.live.relay import Relay
from polyvox.activities.media.inlining import MediaFetcher
from polyvox.activities.model_call.answer_format import broken_format
from polyvox.activities.model_call.attempt_state import Attempt
from polyvox.activities.model_call.directory import Destination, Directory
from polyvox.activities.model_call.large_conversations import without_delay
from polyvox.activities.model_call.pricing import cost_of_reply, knows_price
from polyvox.activities.model_call.recorded_replies import Recorded
from polyvox.activities.model_call.redaction import RedactedEvents, Secrets
from polyvox.activities.model_call.stop_sequences import Stopping
from polyvox.activities.model_call.upstream import Answer, Upstream
from polyvox.activities.recovery.finished_replies import as_result, packed, text_of, unpacked
from polyvox.activities.recovery.orphans import Orphans
from polyvox.activities.storage.call_states import CallStateStore, Place
from polyvox.activities.storage.conversation_blobs import Bodies
from polyvox.activities.storage.hidden_transcripts import Memory
from polyvox.activities.tracing.spans import Tracing
from polyvox.protocols.history.answered_calls import AnsweredCalls
from polyvox.protocols.provider_side import Decoder, ProviderProtocol, Rendered
from polyvox.protocols.requests.credentials import secrets_in
from polyvox.protocols.sse import Frame
from polyvox.workflows.boundary.backend import CALL_MODEL
from polyvox.workflows.boundary.calls import ModelCall, resolve
from polyvox.workflows.boundary.failures import as_json, failure, from_json
from polyvox.workflows.conversation import Conversation
from polyvox.workflows.errors import ModelError, most_actionable
from polyvox.workflows.events import (
    Event,
    PartDelta,
    PartEnded,
    PartStarted,
    UsageReported,
)
from polyvox.workflows.reply import Reply, Usage

_HEARTBEAT_S = 2.0
"""Heartbeats only deliver cancellations from other processes, and each costs the engine a write. A
client that disconnects cancels its calls immediately."""

_ENVELOPE_BYTES = 500
_LEAST_FRAME_BYTES = 16
"""The bytes of an event that do not count towards the answer's size, and the least that counts: a
token of four characters arrives in 250 bytes."""

_FRAMES_AT_ONCE = 64
"""One read from a fast provider may contain a thousand events."""

_MOST_PARTS = 5_000
"""The most texts, thoughts and tool calls in one answer."""


@dataclass(frozen=True)
class ModelCaller:
    """Calls models; its ``call_model`` is the activity."""

    directory: Directory
    upstream: Upstream
    gates: ProviderGates
    bodies: Bodies
    memory: Memory
    call_states: CallStateStore
    recorded: Recorded
    media: MediaFetcher
    secrets: Secrets
    relay: Relay
    journal: Journal
    ledger: Ledger
    unfinished: Unfinished
    tracing: Tracing
    orphans: Orphans
    process_id: str = ""
    max_answer_mib: int = 32

    @property
    def _most_bytes(self) -> int:
        return self.max_answer_mib * 1024 * 1024

    @activity.defn(name=CALL_MODEL)
    async def call_model(self, call: ModelCall) -> RawValue:
        """Call the model and return its whole Reply; emit its events if ``call`` requests it.

        A Reply is durable before it is returned. The next attempt finds it if this process dies.
        """
        info = activity.info()
        attempt = Attempt(
            call,
            flow=info.workflow_type or "",
            call_id=info.activity_id,
            number=info.attempt,
            process=self.process_id,
        )
        started = self.ledger.store(attempt.started())
        earlier = [from_json(stored) for stored in info.heartbeat_details]
        asking = asyncio.create_task(self._ask(attempt, started))
        beating = asyncio.create_task(_beat(earlier))
        try:
            with self.relay.calling(call.run_id, asking, call.listener):
                reply = await asking
        except asyncio.CancelledError:
            # Either Temporal cancels this activity, or the exchange cancelled only this call.
            this = asyncio.current_task()
            hung_up = this is not None and not this.cancelling()
            asking.cancel()
            await asyncio.wait([asking])
            stopped = stopped_process(shown=attempt.emitted)
            left = stopped or ModelError("cancelled", "The call was cancelled.")
            left.cost_usd, left.shown = attempt.cost_usd(), attempt.emitted or None
            self._record(attempt, error=left)
            if stopped is not None:
                raise _failed(left, earlier, retryable=not attempt.emitted) from None
            if hung_up:
                await self.relay.hang_ups.until_cancelled(call.run_id)
                raise failure(
                    ModelError("cancelled", "The client has left."), retryable=False
                ) from None
            raise
        except ModelError as error:
            error = self.secrets.all.error(error)
            error.shown = attempt.emitted or None
            if error.cost_usd is None:
                error.cost_usd = attempt.cost_usd()
            await self._recorded(attempt, error)
            raise _failed(error, earlier, retryable=not attempt.emitted) from error
        except Exception as defect:  # noqa: BLE001 - raised again with a redacted message
            internal = ModelError(
                "internal", f"{type(defect).__name__}: {defect}", cost_usd=attempt.cost_usd()
            )
            # The history and the log get the defect's stack, but not its original message.
            internal = self.secrets.all.error(internal).with_traceback(defect.__traceback__)
            self._record(attempt, error=internal)
            raise failure(internal, retryable=False) from internal
        finally:
            beating.cancel()
        self.relay.complete(call.run_id, attempt.call_id)
        text = text_of(reply)
        with suppress(ModelError):  # the Reply was bought, so it is returned in any case
            await self._record(attempt, reply=reply, text=text)
        return as_result(text)

    async def _ask(self, attempt: Attempt, started: "asyncio.Future[None]") -> Reply:
        """Ask the provider, as soon as the start of the attempt is durable."""
        call = attempt.call
        if call.recorded and (known := self.recorded.find(call)) is not None:
            attempt.recorded = True
            return known
        if attempt.number > 1:
            finished = await self.unfinished.finished_reply(call.run_id, attempt.call_id)
            if finished is not None:
                attempt.reused = True
                return unpacked(finished)
        await self.orphans.wait(call.run_id, call.listener)
        destination = self._destination(call)
        provider, protocol = destination.provider, destination.protocol.provider
        attempt.provider = provider
        if call.priced and not knows_price(provider, destination.model):
            raise ModelError(
                "flow_error",
                f"Step {call.step!r} asks {call.model!r}, whose price is not known, in a run with "
                "a limit cost_usd. Set the price in polyvox.toml: "
                f'[providers.{provider.name}.prices."{destination.model}"] input and output.',
            )
        digest = call.conversation.base
        base = await self.bodies.fetch(digest) if digest else _EMPTY
        conversation = resolve(call.conversation, base)
        if call.owner:
            conversation = await self.memory.restored(conversation, base.messages, call.owner)
        states, place = destination.protocol.call_states, Place(call.key_id, provider.name)
        if states is not None:
            conversation = await self.call_states.restored(conversation, states, place)
        conversation = await self.media.inlined(conversation, destination.inlined)
        stored = conversation

        def prepare() -> tuple[Conversation, Rendered, frozenset[str]]:
            opened = self.bodies.opened(stored, call.key_id)
            return opened, destination.render(opened), secrets_in(opened)

        conversation, request, credentials = await without_delay(stored, prepare)
        self.relay.lose(call.run_id, request.losses)
        attempt.losses = request.losses
        attempt.calls = AnsweredCalls(conversation.tools)
        attempt.stopping = Stopping(request.stop) if request.stop else None
        authorization = self.directory.authorization(destination)
        if redaction := self.secrets.sent_to(provider, credentials):
            attempt.redacted = RedactedEvents(redaction)
        # The row is written while the request is prepared. Without it nothing is sent.
        await started
        attempt.entry = await self.gates.enter(provider, destination.model, call.key_id)
        attempt.asked = True
        post = self.upstream.post(provider, request, authorization, credentials)
        async with attempt.entry, post as answer:
            attempt.http_status = answer.status
            try:
                if answer.status >= 400:
                    beginning = await answer.beginning()
                    raise protocol.parse_error(answer.status, answer.headers, beginning)
                reply = await self._listen(answer, protocol, attempt)
                if states is not None:
                    await self.call_states.remember(reply.parts, states, place)
                self._check_format(reply, request, attempt)
                cost_usd = cost_of_reply(provider, destination.model, reply)
                return replace(reply, cost_usd=cost_usd)
            except ModelError as error:
                explain(
                    error,
                    provider,
                    destination.model,
                    path=request.path,
                    status=answer.status,
                    headers=answer.headers,
                )
                raise

    def _destination(self, call: ModelCall) -> Destination:
        try:
            return self.directory.find(call.model)
        except ModelError as unknown:
            # The client's model was resolved before the run, so this name comes from the flow.
            raise ModelError(
                "flow_error",
                f"Step {call.step!r}: {unknown.message} Set the flow's parameter to a model of one "
                "of these.",
            ) from None

    async def _listen(self, answer: Answer, protocol: ProviderProtocol, attempt: Attempt) -> Reply:
        decoder = protocol.decoder()
        received = answer.frames(decoder, protocol.parse_error, self._most_bytes)
        try:
            async with aclosing(received):
                async for frames in received:
                    self._decode(attempt, decoder, frames[:_FRAMES_AT_ONCE])
                    for at in range(_FRAMES_AT_ONCE, len(frames), _FRAMES_AT_ONCE):
                        await asyncio.sleep(0)  # let other streams run
                        self._decode(attempt, decoder, frames[at : at + _FRAMES_AT_ONCE])
                    if pause_s := self.relay.pause_s:
                        await asyncio.sleep(pause_s)
            self._process(attempt, decoder.finish())
            return attempt.folding.reply()
        except ModelError:
            # The failed answer costs what the provider has counted so far.
            if (usage := decoder.usage) != Usage():
                attempt.folding.feed([UsageReported(usage)])
            raise

    def _check_format(self, reply: Reply, request: Rendered, attempt: Attempt) -> None:
        """Check an answer whose format the provider was not asked for in full."""
        broken = broken_format(reply, request.wanted)
        if not broken:
            return
        if request.wanted is not None and request.wanted.strict:
            raise ModelError("bad_stream", broken)
        self.relay.lose(attempt.call.run_id, (f"response_format: {broken}",))

    def _decode(self, attempt: Attempt, decoder: Decoder, frames: list[Frame]) -> None:
        """Process the events of one read, also those before an error: they may report usage."""
        events: list[Event] = []
        most_bytes = self._most_bytes
        try:
            for name, data in frames:
                attempt.answer_bytes += max(_LEAST_FRAME_BYTES, len(data) - _ENVELOPE_BYTES)
                if attempt.answer_bytes > most_bytes:
                    raise _too_large(f"more than {self.max_answer_mib} MiB")
                events += decoder.feed(name, data)
        finally:
            self._process(attempt, events)

    def _process(self, attempt: Attempt, events: list[Event]) -> None:
        """Add the events of one read to the Reply, and publish those that the client may see."""
        events = attempt.calls.feed(events)
        if attempt.redacted is not None:
            events = attempt.redacted.feed(events)
        if attempt.stopping is not None:
            events = attempt.stopping.feed(events)
        if not events:
            return
        if attempt.first_token_at is None and any(
            isinstance(event, PartDelta | PartEnded) for event in events
        ):
            attempt.first_token_at = datetime.now(UTC)
            attempt.entry.answers()
        attempt.parts += len([event for event in events if isinstance(event, PartStarted)])
        if attempt.parts > _MOST_PARTS:
            raise _too_large(f"more than {_MOST_PARTS} parts")
        attempt.folding.feed(events)
        if attempt.emission is not None and (shown := attempt.emission.feed(events)):
            self._publish(attempt, shown)

    def _publish(self, attempt: Attempt, shown: list[Event]) -> None:
        """Publish events to the relay, and note whether a listener received parts of the answer."""
        call = attempt.call
        batch = Batch(attempt.call_id, attempt.number, shown)
        self.relay.publish(call.run_id, batch)
        self.journal.publish(call.run_id, batch)
        if not attempt.emitted and any(
            isinstance(e, PartStarted | PartDelta | PartEnded) for e in shown
        ):
            attempt.emitted = self.relay.listening(call.run_id)
            self.relay.begin(call.run_id, attempt.call_id)

    async def _recorded(self, attempt: Attempt, error: ModelError) -> None:
        """Record a failed attempt; durable on return if the database can be written."""
        recorded = self._record(attempt, error=error)
        with suppress(ModelError):
            await recorded

    def _record(
        self,
        attempt: Attempt,
        *,
        reply: Reply | None = None,
        text: bytes = b"",
        error: ModelError | None = None,
    ) -> "asyncio.Future[None]":
        ended = attempt.ended(reply, error)
        self.tracing.call_span(attempt.call.traceparent or None, ended, flow=attempt.flow)
        if text and not ended.recorded:
            return self.ledger.store(CallFinished(ended, packed(text)))
        return self.ledger.store(ended)


_EMPTY = Conversation(())


def _too_large(what: str) -> ModelError:
    return ModelError(
        "too_large",
        f"The provider's answer was cut off, because it has {what}. Request a shorter one; "
        "server.max_answer_mib in polyvox.toml limits its size.",
        status=502,
    )


def _failed(error: ModelError, earlier: list[ModelError], *, retryable: bool) -> ApplicationError:
    """Return the failure of an attempt; the last one reports what helps the client most.

    The next attempt learns of it through the heartbeat's details, also in another process.
    """
    reported = most_actionable([*earlier, error])
    reported.shown, reported.cost_usd = error.shown, error.cost_usd
    activity.heartbeat(as_json(reported))
    return failure(error, retryable=retryable, reported=reported)


async def _beat(earlier: list[ModelError]) -> None:
    """Send heartbeats; through their responses the activity learns of a cancellation."""
    while True:
        await asyncio.sleep(_HEARTBEAT_S)
        activity.heartbeat(*map(as_json, earlier))
