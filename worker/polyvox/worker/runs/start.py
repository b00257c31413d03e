"""Starts runs; the only module that does.

``start_run`` records a run and starts it in the engine. For a client's request, ``Runs`` first
resolves the model's name, stores the conversation and opens the run's span.
"""

import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from temporalio.client import Client, WorkflowHandle
from temporalio.service import RPCError

from polyvox.activities.ledger.entries import RunEnded, RunStarted
from polyvox.activities.ledger.ledger import Ledger
from polyvox.activities.ledger.tables import NO_FLOW
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
from polyvox.worker.runs.side_requests import side_request
from polyvox.worker.runs.uncertain_starts import UncertainStarts, is_uncertain
from polyvox.workflows.boundary.calls import ConversationRef, RunInput
from polyvox.workflows.conversation import Conversation, Json, Protocol
from polyvox.workflows.errors import ModelError
from polyvox.workflows.reply import Reply

TASK_QUEUE = "polyvox"

RUN_LIMIT = timedelta(hours=2)
"""The engine ends a run that takes longer."""


def new_run_id() -> str:
    """Return a new id; ids sort by the time of their creation."""
    return f"run_{time.time_ns() // 1_000_000:012x}{secrets.token_hex(8)}"


async def start_run(
    client: Client,
    ledger: Ledger,
    run_input: RunInput,
    *,
    run_id: str,
    stream: bool = False,
    engine: Engine | None = None,
    uncertain: UncertainStarts | None = None,
) -> WorkflowHandle[object, Reply]:
    """Record a run and start it.

    ``engine`` is the engine of this process; without it another process hosts the run. A start that
    is not acknowledged in time goes to ``uncertain``. Raises
    ModelError if the engine does not accept the run, which is then recorded as failed.
    """
    started = RunStarted(
        run_id=run_id,
        model=run_input.model,
        flow=run_input.flow,
        protocol=run_input.protocol,
        stream=stream,
        key_id=run_input.key_id or None,
        started_at=datetime.now(UTC),
        rerun_of=run_input.rerun_of or None,
    )
    ledger.record(started)
    if engine is None:
        await ledger.flush()  # before the other process records the run's end
    try:
        return await _started(client, run_input, run_id, engine, uncertain)
    except ModelError as error:
        record_failure(ledger, run_id, error, workflow=False)
        raise


async def _started(
    client: Client,
    run_input: RunInput,
    run_id: str,
    engine: Engine | None,
    uncertain: UncertainStarts | None,
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
            execution_timeout=RUN_LIMIT,
            rpc_timeout=RPC_LIMIT,
            request_eager_start=engine is not None,
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
    """Record that a run failed with ``error``. A run that has ended keeps its first end.

    ``workflow`` is False if the engine never got the run.
    """
    ledger.record(
        RunEnded(
            run_id=run_id,
            status="failed",
            ended_at=datetime.now(UTC),
            error_kind=error.kind,
            error_message=error.message,
            workflow=workflow,
        )
    )


@dataclass(frozen=True, slots=True)
class RunRequest:
    """A client's request for a run. ``digest`` is set if the conversation is already stored."""

    run_id: str
    model: str
    protocol: Protocol
    conversation: Conversation
    stream: bool
    key_id: str
    headers: Mapping[str, str] = field(default_factory=dict)
    traceparent: str | None = None
    digest: str | None = None


@dataclass(frozen=True, slots=True)
class StartedRun:
    """A started run and its span, which the caller must end."""

    handle: RunHandle
    span: RunSpan


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
    uncertain: UncertainStarts

    async def start(self, request: RunRequest) -> StartedRun:
        """Start a run. Raises ModelError; a refused run is recorded in the ledger too."""
        model = self._resolve(request)
        side = side_request(request.conversation, request.headers)
        if side:
            model = side_model(self.registry, model, self.providers)
        digest = request.digest or await self.bodies.put(request.conversation, request.key_id)
        if self.relay.has_left(request.run_id):
            raise ModelError("cancelled", "The client has left.")
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
        )
        try:
            handle = await start_run(
                self.client,
                self.ledger,
                run_input,
                run_id=request.run_id,
                stream=request.stream,
                engine=self.engine,
                uncertain=self.uncertain,
            )
        except BaseException as error:
            span.end("failed", error if isinstance(error, ModelError) else None)
            raise
        return StartedRun(self._own(handle), span)

    def _resolve(self, request: RunRequest) -> ResolvedModel:
        try:
            return self.registry.resolve(request.model, self.providers)
        except ModelError as error:
            self.ledger.record(
                RunStarted(
                    run_id=request.run_id,
                    model=request.model,
                    flow=NO_FLOW,
                    protocol=request.protocol,
                    stream=request.stream,
                    key_id=request.key_id,
                    started_at=datetime.now(UTC),
                )
            )
            record_failure(self.ledger, request.run_id, error, workflow=False)
            raise

    def _params_of(self, model: ResolvedModel) -> dict[str, Json]:
        if SIDE not in model.params:
            return dict(model.params)
        return own_params(self.registry.load(model.digest).params, model.params)

    def find(self, run_id: str) -> RunHandle:
        """Return the handle of a started run, also of one started by another process."""
        return self._own(self.client.get_workflow_handle(run_id, result_type=Reply))

    def _own(self, handle: WorkflowHandle[object, Reply]) -> RunHandle:
        return RunHandle(handle, relay=self.relay, explain=self.engine.explain)

    def fail(self, run_id: str, error: ModelError) -> None:
        """Record that a run failed because of an error outside of it."""
        record_failure(self.ledger, run_id, error)
