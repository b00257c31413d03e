"""Starts runs; the only module that does.

``start_run`` records a run and starts it in the engine. For a client's request, ``Runs`` first
resolves the model's name, stores the conversation and opens the run's span.
"""

import logging
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

from temporalio.client import Client, WorkflowHandle
from temporalio.service import RPCError

from polyvox.activities.ledger.entries import ANSWERED, RunAnswered, RunEnded, RunStarted
from polyvox.activities.ledger.ledger import Ledger
from polyvox.activities.ledger.requests import LONGEST_RUN, Requests
from polyvox.activities.ledger.tables import NO_FLOW
from polyvox.activities.live.channel import RunOutcome
from polyvox.activities.live.relay import Relay
from polyvox.activities.model_call.provider import Provider
from polyvox.activities.registry.parameters import SIDE, own_params
from polyvox.activities.registry.registry import Registry, ResolvedModel
from polyvox.activities.registry.side_model import side_model
from polyvox.activities.storage.conversation_blobs import Bodies
from polyvox.activities.tracing.spans import RunSpan, Tracing
from polyvox.worker.engine.engine import Engine
from polyvox.worker.engine.trouble import engine_error
from polyvox.worker.runs.handle import RPC_LIMIT, RunHandle
from polyvox.worker.runs.listeners import Listeners
from polyvox.worker.runs.retries import SentRequest
from polyvox.worker.runs.shown import has_shown
from polyvox.worker.runs.side_requests import side_request
from polyvox.worker.runs.uncertain_starts import UncertainStarts, is_uncertain
from polyvox.workflows.boundary.calls import ConversationRef, RunInput
from polyvox.workflows.conversation import Conversation, Json, Protocol
from polyvox.workflows.errors import ModelError
from polyvox.workflows.reply import Reply

log = logging.getLogger(__name__)

TASK_QUEUE = "polyvox"


def new_run_id() -> str:
    """Return a new id; ids sort by the time of their creation."""
    return f"run_{time.time_ns() // 1_000_000:012x}{secrets.token_hex(8)}"


async def start_run(
    client: Client,
    ledger: Ledger,
    run_input: RunInput,
    *,
    run_id: str,
    engine: Engine | None = None,
    eager: bool = True,
    uncertain: UncertainStarts | None = None,
) -> WorkflowHandle[object, Reply]:
    """Start a run that is in the ledger.

    ``engine`` is the engine of this process; without it, or if it is not ``eager``, another process
    hosts the run. A start that is not acknowledged in time goes to ``uncertain``. Raises ModelError
    if the engine does not accept the run, which is then recorded as failed.
    """
    try:
        return await _started(client, run_input, run_id, engine, uncertain, eager=eager)
    except ModelError as error:
        record_failure(ledger, run_id, error, workflow=False)
        raise


async def _started(
    client: Client,
    run_input: RunInput,
    run_id: str,
    engine: Engine | None,
    uncertain: UncertainStarts | None,
    *,
    eager: bool,
) -> WorkflowHandle[object, Reply]:
    if engine is not None and (refusal := engine.refusal()) is not None:
        raise refusal
    try:
        return await client.start_workflow(
            run_input.flow,
            run_input,
            id=run_id,
            task_queue=TASK_QUEUE,
            result_type=Reply,
            execution_timeout=LONGEST_RUN,
            rpc_timeout=RPC_LIMIT,
            request_eager_start=eager and engine is not None,
            static_summary=f"{run_input.model}{', again' if run_input.rerun_of else ''}",
        )
    except RPCError as error:
        if uncertain is not None and is_uncertain(error):
            if (adopted := await uncertain.adopted(run_id)) is not None:
                return adopted
            uncertain.give_up(run_id)
        raise (engine_error(error) if engine is None else await engine.explain(error)) from error


def record_failure(
    ledger: Ledger, run_id: str, error: ModelError, *, workflow: bool = True
) -> None:
    """Record that a run ended with ``error``. A run that has ended keeps its first end.

    ``workflow`` is False if the engine never got the run.
    """
    ledger.record(
        RunEnded(
            run_id=run_id,
            status=RunOutcome(error=error).status,
            ended_at=datetime.now(UTC),
            error_kind=error.kind,
            error_message=error.message,
            workflow=workflow,
        )
    )


@dataclass(frozen=True, slots=True)
class RunRequest:
    """A client's request for a run. ``digest`` is set if the conversation is already stored.

    ``sent`` identifies the request, if it can be sent again. The answer of a ``fetchable`` run
    can be read later, so it goes on without its client. With ``journal`` other processes can follow
    what it emits, from its beginning.
    """

    run_id: str
    model: str
    protocol: Protocol
    conversation: Conversation
    stream: bool
    key_id: str
    headers: Mapping[str, str] = field(default_factory=dict)
    traceparent: str | None = None
    digest: str | None = None
    sent: SentRequest | None = None
    fetchable: bool = False
    journal: bool = False


@dataclass(frozen=True, slots=True)
class StartedRun:
    """A started run and its span, which the caller must end.

    A run that ``begins_here`` makes its first calls in this process.
    """

    handle: RunHandle
    span: RunSpan
    begins_here: bool = True


@dataclass(frozen=True, slots=True)
class Runs:
    """Starts the runs of this process and finds started runs."""

    client: Client
    engine: Engine
    ledger: Ledger
    registry: Registry
    providers: Mapping[str, Provider]
    bodies: Bodies
    relay: Relay
    tracing: Tracing
    requests: Requests
    listeners: Listeners
    uncertain: UncertainStarts
    eager: bool = True
    """Whether this process has a worker, which then runs what it starts."""

    async def start(self, request: RunRequest) -> StartedRun:
        """Start a run. Raises ModelError; a refused run is recorded in the ledger too."""
        model = self._resolve(request)
        side = side_request(request.conversation, request.headers)
        if side:
            model = side_model(self.registry, model, self.providers)
        digest = await self._stored(request, model.flow)
        if request.run_id in self.relay.hang_ups:
            left = ModelError("cancelled", "The client has left.")
            record_failure(self.ledger, request.run_id, left, workflow=False)
            raise left
        span = self.tracing.run_span(
            request.traceparent, run_id=request.run_id, flow=model.flow, model=request.model
        )
        run_input = RunInput(
            model=request.model,
            flow=model.flow,
            digest=model.digest,
            conversation=ConversationRef(base=digest),
            params=self._params_of(model),
            protocol=request.protocol,
            key_id=request.key_id,
            traceparent=span.traceparent or "",
            headers=dict(request.headers),
            limits=model.run_limits,
            side=side,
            emitted_first=True,
            listener=self.listeners.process_id,
            journal=request.journal,
        )
        try:
            handle = await start_run(
                self.client,
                self.ledger,
                run_input,
                run_id=request.run_id,
                engine=self.engine,
                eager=self.eager,
                uncertain=self.uncertain,
            )
        except BaseException as error:
            span.end("failed", error if isinstance(error, ModelError) else None)
            raise
        return StartedRun(self._own(handle), span, begins_here=self.eager)

    def _resolve(self, request: RunRequest) -> ResolvedModel:
        try:
            return self.registry.resolve(request.model, self.providers)
        except ModelError as error:
            self.ledger.record(self._started(request, NO_FLOW))
            record_failure(self.ledger, request.run_id, error, workflow=False)
            raise

    async def _stored(self, request: RunRequest, flow: str) -> str:
        """Store the run's row and its conversation at the same time; return the digest.

        Both are durable on return, so a run that the engine gets can always be found.
        """
        recorded = self.ledger.store(self._started(request, flow))
        try:
            digest = request.digest or await self.bodies.put(request.conversation, request.key_id)
            await recorded
        except ModelError as error:
            record_failure(self.ledger, request.run_id, error, workflow=False)
            raise
        return digest

    def _started(self, request: RunRequest, flow: str) -> RunStarted:
        return RunStarted(
            run_id=request.run_id,
            model=request.model,
            flow=flow,
            protocol=request.protocol,
            stream=request.stream,
            key_id=request.key_id or None,
            started_at=datetime.now(UTC),
            listener=self.listeners.process_id,
            fetchable=request.fetchable,
            request_digest=request.sent.digest if request.sent else None,
            idempotency_key=request.sent.idempotency_key if request.sent else None,
        )

    def _params_of(self, model: ResolvedModel) -> dict[str, Json]:
        if SIDE not in model.params:
            return dict(model.params)
        return own_params(self.registry.load(model.digest).params, model.params)

    def find(self, run_id: str) -> RunHandle:
        """Return the handle of a started run, also of one started by another process."""
        return self._own(self.client.get_workflow_handle(run_id, result_type=Reply))

    async def attach(self, run_id: str) -> None:
        """Record that this process holds the run's client now."""
        await self.ledger.attach(run_id, self.listeners.process_id)

    async def has_shown(self, run_id: str) -> bool:
        """Return whether an earlier client may have been sent a part of the run's answer."""
        return await has_shown(self.client, run_id)

    async def release(self, run_id: str) -> None:
        """Record that the run's client disconnected before it got the complete answer."""
        await self.requests.release(run_id)

    async def has_other_listener(self, run_id: str) -> bool:
        """Return whether another process holds the run's client now."""
        if self.listeners.alone:
            return False
        try:
            listener = await self.ledger.listener_of(run_id)
        except ModelError as error:
            log.warning("Cannot find who waits for run %s: %s", run_id, error.message)
            return False
        return listener not in (None, ANSWERED, self.listeners.process_id)

    def _own(self, handle: WorkflowHandle[object, Reply]) -> RunHandle:
        return RunHandle(handle, relay=self.relay, explain=self.engine.explain)

    def answered(self, run_id: str) -> None:
        """Record that the client has got its whole answer."""
        self.ledger.record(RunAnswered(run_id))

    def fail(self, run_id: str, error: ModelError) -> None:
        """Record that a run failed because of an error outside of it."""
        record_failure(self.ledger, run_id, error)

    async def completed_calls(self, run_id: str) -> set[str]:
        """Return the ids of the calls of a run that have completed, as the ledger has them."""
        run = await self.ledger.run(run_id)
        calls = run.calls if run is not None else ()
        return {call.call_id for call in calls if call.status == "completed" and call.call_id}
