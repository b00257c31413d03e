"""The Runtime: everything a process needs to run flows, started and stopped together.

``running`` is the only place where stores are opened, the engine is started and the Temporal
worker is built. The gateway uses a Runtime to serve requests.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from importlib import import_module
from importlib.metadata import version

from sqlalchemy import Engine as Database
from temporalio.client import Client
from temporalio.service import GrpcCompression, RPCError, RPCStatusCode
from temporalio.worker import Worker

from polyvox.activities.ledger.entries import RunEnded
from polyvox.activities.ledger.ledger import Ledger
from polyvox.activities.ledger.processes import Processes, ProcessRole
from polyvox.activities.ledger.requests import Requests
from polyvox.activities.ledger.ui_sessions import UiSessions
from polyvox.activities.ledger.unfinished import Unfinished
from polyvox.activities.limits.circuits import Circuits
from polyvox.activities.limits.fair_queue import Bounds
from polyvox.activities.limits.provider_gates import ProviderGates
from polyvox.activities.live.channel import RunOutcome
from polyvox.activities.live.journal import Journal, JournalInterceptor
from polyvox.activities.live.progress import Progress
from polyvox.activities.live.relay import FOLLOW_ELSEWHERE_AFTER_S, Relay
from polyvox.activities.media.inlining import MediaFetcher
from polyvox.activities.model_call.attempt import ModelCaller
from polyvox.activities.model_call.directory import Directory
from polyvox.activities.model_call.estimates import estimating
from polyvox.activities.model_call.provider import Provider
from polyvox.activities.model_call.recorded_replies import Recorded
from polyvox.activities.model_call.redaction import Secrets
from polyvox.activities.model_call.token_counting import TokenCounter
from polyvox.activities.model_call.upstream import Upstream
from polyvox.activities.recovery.orphans import Orphans
from polyvox.activities.registry.registry import Registry
from polyvox.activities.storage.backends.opened_blobs import open_blobs
from polyvox.activities.storage.backends.postgresql import one_at_a_time
from polyvox.activities.storage.blobs import BlobStore
from polyvox.activities.storage.call_states import CallStateStore
from polyvox.activities.storage.conversation_blobs import Bodies
from polyvox.activities.storage.credential_seal import CredentialSeal
from polyvox.activities.storage.data_folder import open_to_others, require_writable
from polyvox.activities.storage.database import (
    errors_explained,
    open_database,
)
from polyvox.activities.storage.deployment_key import DeploymentKey
from polyvox.activities.storage.flow_memory import Memos
from polyvox.activities.storage.hidden_transcripts import Memory
from polyvox.activities.storage.private_files import tighten
from polyvox.activities.storage.responses import ResponsesStore
from polyvox.activities.storage.threads import ConversationsStore
from polyvox.activities.tools.run_tool import TOOLS, Toolbox
from polyvox.activities.tracing.environment import tracing_of
from polyvox.activities.tracing.spans import Tracing
from polyvox.protocols.coverage.answer_losses import answer_losses
from polyvox.protocols.table import PROTOCOLS
from polyvox.protocols.wire_protocol import Protocols
from polyvox.worker.engine.engine import Engine
from polyvox.worker.hosting.host import HostServices, flow_host
from polyvox.worker.hosting.lane_port import LanePort
from polyvox.worker.hosting.payloads import data_converter
from polyvox.worker.hosting.roles import Readiness, connect, shared_key
from polyvox.worker.hosting.stopping import GoOnElsewhere
from polyvox.worker.hosting.watchdog import Watchdog
from polyvox.worker.readiness import Stores
from polyvox.worker.recovery.sweep import Sweep
from polyvox.worker.runs.listeners import Listeners
from polyvox.worker.runs.retries import Retries
from polyvox.worker.runs.start import TASK_QUEUE, Runs
from polyvox.worker.runs.uncertain_starts import UncertainStarts
from polyvox.worker.settings.settings import Settings
from polyvox.worker.settings.shipped_templates import (
    apply_models,
    apply_simulated,
    register_templates,
)
from polyvox.worker.stores.expiry import expire_hourly
from polyvox.workflows.boundary.calls import RunInput
from polyvox.workflows.errors import ModelError

log = logging.getLogger(__name__)

_STARTING = 0x706F6C79766F79
"""The number of the advisory lock under which one process after the other registers what ships."""


@dataclass(frozen=True)
class Runtime:
    """A running process's stores and worker; valid while ``running``'s context is open."""

    settings: Settings
    protocols: Protocols
    providers: Mapping[str, Provider]
    engine: Engine
    client: Client
    ledger: Ledger
    processes: Processes
    registry: Registry
    bodies: Bodies
    counter: TokenCounter
    responses: ResponsesStore
    conversations: ConversationsStore
    relay: Relay
    tracing: Tracing
    runs: Runs
    retries: Retries
    ui_sessions: UiSessions
    gates: ProviderGates
    database: Database
    store: BlobStore
    lane_address: str | None = None
    """The URL of this process's port for other processes and probes."""

    @property
    def process_id(self) -> str:
        """The id of this process in the register of processes, new at each start."""
        return self.processes.process_id

    @property
    def keep_alive_s(self) -> float:
        """Seconds of silence after which a keep-alive message is sent to the client."""
        return self.settings.server.keep_alive_s


@asynccontextmanager
async def running(
    settings: Settings,
    *,
    environ: Mapping[str, str],
    simulators: Mapping[str, Provider],
    report: Callable[[str], None],
    protocols: Protocols = PROTOCOLS,
    role: ProcessRole = "replica",
) -> AsyncIterator[Runtime]:
    """Start engine, stores and worker; stop them in the reverse order.

    A ``gateway`` has no worker, and a ``worker`` does not change the models (``roles.py``).
    ``simulators`` are the built-in providers, ``protocols`` those that clients and providers may
    use. Raises EngineError, DataFolderUnusable, DataFolderInUse, DatabaseError, DeploymentKeyError
    or FlowError (a model in the settings has parameters its flow rejects). Each message names the
    remedy.
    """
    require_writable(settings.data)
    if opened := tighten(settings.data):
        report(f"Removed other users' read access to {len(opened)} files in {settings.data}.")
    if mode := open_to_others(settings.data):
        report(
            f"Other users can list the data folder (mode {mode}). Its files are private; to close "
            f"the folder too: chmod 700 {settings.data}"
        )
    key = DeploymentKey.of(environ)
    if settings.stores.is_shared and key is None:
        key = DeploymentKey.required(environ, "A database that several processes can share")
    seal = CredentialSeal.of_deployment(key) if key else CredentialSeal.in_folder(settings.data)
    shared = shared_key(settings, environ, role)
    # Imported here, because the first check would import it in a workflow's time-limited thread.
    import_module("polyvox.workflows.steps.json_schema")
    providers = {**settings.providers, **simulators}
    async with AsyncExitStack() as stack:
        engine = await stack.enter_async_context(Engine(settings, environ=environ, report=report))
        ledger = Ledger.open(settings.stores.database)
        stack.push_async_callback(ledger.close)
        database = open_database(settings.stores.database)
        stack.callback(database.dispose)
        port = LanePort(settings.cluster, engine.address) if shared is not None else None
        if port is not None:
            stack.push_async_callback(port.close)
        # The data folder's lock is held, so no other process uses a database in it.
        processes = Processes(
            database,
            version=version("polyvox"),
            role=role,
            address=port.address if port is not None else None,
            alone=shared is None and not settings.stores.is_shared,
        )
        await processes.register()
        stack.push_async_callback(processes.leave)
        store = open_blobs(settings.stores)
        stack.callback(store.close)
        bodies = Bodies(store, protocols=protocols, seal=seal)
        with errors_explained(database), one_at_a_time(database, _STARTING):
            registry = Registry(database)
            register_templates(registry)
            registry.know_providers(providers)
            if role != "worker":
                plan = apply_models(registry, settings)
                for change in (*plan, *apply_simulated(registry, settings)):
                    if change.action != "unchanged":
                        report(f"Model {change.model} is {change.action}: {change.flow}.")
            responses = ResponsesStore(database, store, days=settings.server.keep_responses_days)
            conversations = ConversationsStore(database, bodies)
            memory = Memory(database, store, bodies)
            memos = Memos(database)
        stack.push_async_callback(responses.close)
        stack.push_async_callback(conversations.close)
        stack.enter_context(registry.followed())
        tracing = tracing_of(environ)
        stack.push_async_callback(asyncio.to_thread, tracing.shutdown)
        secrets = Secrets(providers, environ)
        upstream = Upstream(secrets)
        stack.push_async_callback(upstream.close)
        directory = Directory(providers, environ, protocols)
        media = MediaFetcher()
        stack.callback(media.close)
        relay, journal = Relay(), Journal()
        client = await Client.connect(
            engine.address,
            namespace=engine.namespace,
            # Pending activities name the process that has them.
            identity=processes.process_id,
            data_converter=data_converter(store),
            # On loopback and for small payloads, compression costs more than it saves.
            grpc_compression=GrpcCompression.NONE,
        )
        receiver = None
        if shared is not None and port is not None:
            lane, receiver = connect(relay, ledger, processes, shared, port)
            stack.push_async_callback(lane.stop)
            stack.push_async_callback(receiver.close)
            if role == "gateway":
                relay.follow_after_s = FOLLOW_ELSEWHERE_AFTER_S
        unfinished = Unfinished(database)
        sweep = Sweep(client, ledger, unfinished, processes, orphans_s=settings.server.orphans_s)
        if processes.alone:  # the predecessor is dead, without a silence to wait for
            await sweep.once()
        gates = ProviderGates(
            providers,
            Circuits(settings.server.breaker_failures, settings.server.breaker_open_s),
            Bounds(0, settings.server.max_queued, settings.server.queue_s),
        )
        caller = ModelCaller(
            directory=directory,
            upstream=upstream,
            gates=gates,
            bodies=bodies,
            memory=memory,
            call_states=CallStateStore(database, store),
            recorded=Recorded(store),
            media=media,
            secrets=secrets,
            relay=relay,
            journal=journal,
            ledger=ledger,
            unfinished=unfinished,
            tracing=tracing,
            orphans=Orphans(unfinished, processes, settings.server.orphans_s),
            process_id=processes.process_id,
            max_answer_mib=settings.server.max_answer_mib,
        )
        loop = asyncio.get_running_loop()
        ended = _Ended(ledger, relay)
        services = HostServices(
            load_flow=registry.load,
            open_conversation=bodies.get,
            tell=lambda *ending: loop.call_soon_threadsafe(partial(ended, *ending)),
            watch=lambda run_id: loop.call_soon_threadsafe(journal.watch, run_id),
        )
        watchdog = Watchdog(
            lambda run_id, error: loop.call_soon_threadsafe(
                partial(_end_blocked, client, ended, run_id, error)
            )
        )
        stack.callback(watchdog.close)
        worker = Worker(
            client,
            task_queue=TASK_QUEUE,
            # Without a build id the SDK hashes every loaded module, 0.5 s of each start.
            build_id=f"polyvox-{version('polyvox')}",
            workflows=[flow_host(services)],
            activities=[
                caller.call_model,
                memory.remember,
                memos.remember,
                memos.recall,
                Toolbox(bodies, {**TOOLS, "estimate_cost": estimating(directory)}).run_tool,
                Progress(relay, journal).show,
            ],
            # Flows are checked at registration; the sandbox would take 3 ms per run.
            workflow_runner=watchdog.runner(),
            max_concurrent_activities=2000,
            max_cached_workflows=4000,
            max_heartbeat_throttle_interval=timedelta(seconds=1),
            # All branches of a panel start with the workflow task that schedules them.
            max_eager_activity_reservations_per_workflow_task=16,
            sticky_queue_schedule_to_start_timeout=timedelta(seconds=2),
            # With others to go on, its calls may end; without, the engine stops with this process.
            graceful_shutdown_timeout=timedelta(seconds=settings.server.drain_s if shared else 2),
            interceptors=[JournalInterceptor(journal), GoOnElsewhere()],
        )
        if role != "gateway":
            await stack.enter_async_context(worker)
            sweeping = asyncio.create_task(sweep.run(), name="sweep")
            stack.callback(sweeping.cancel)
            expiring = asyncio.create_task(expire_hourly(database, settings.retention))
            stack.callback(expiring.cancel)
        if port is not None and receiver is not None:
            stores = Stores(database, store, engine)
            readiness = Readiness(engine, stores, worker if role != "gateway" else None)
            await port.serve(receiver, readiness)
            stack.callback(readiness.stop)
        requests, listeners = Requests(database), Listeners(processes)
        uncertain = UncertainStarts(client, relay)
        stack.push_async_callback(uncertain.close)
        runs = Runs(
            client=client,
            engine=engine,
            ledger=ledger,
            registry=registry,
            providers=providers,
            bodies=bodies,
            relay=relay,
            tracing=tracing,
            requests=requests,
            listeners=listeners,
            uncertain=uncertain,
            eager=role != "gateway",
        )
        retries = Retries(
            requests, runs.find, listeners, ledger.flush, window_s=settings.server.retry_window_s
        )
        await retries.load()
        yield Runtime(
            settings=settings,
            protocols=protocols,
            providers=providers,
            engine=engine,
            client=client,
            ledger=ledger,
            processes=processes,
            registry=registry,
            bodies=bodies,
            counter=TokenCounter(directory, upstream, bodies),
            responses=responses,
            conversations=conversations,
            relay=relay,
            tracing=tracing,
            runs=runs,
            retries=retries,
            ui_sessions=UiSessions(database),
            gates=gates,
            database=database,
            store=store,
            lane_address=port.address if port is not None else None,
        )


class _Ended:
    """Receives the end of every run, records it in the ledger and notifies listeners."""

    def __init__(self, ledger: Ledger, relay: Relay) -> None:
        self._ledger = ledger
        self._relay = relay

    def __call__(self, run_id: str, run_input: RunInput | None, outcome: RunOutcome) -> None:
        error, reply = outcome.error, outcome.reply
        listener = run_input.listener if run_input is not None else ""
        if reply is not None and run_input is not None:
            self._relay.lose(run_id, answer_losses(reply, run_input.protocol), listener)
        self._ledger.record(
            RunEnded(
                run_id=run_id,
                status=outcome.status,
                ended_at=datetime.now(UTC),
                error_kind=error.kind if error else None,
                error_message=error.message if error else None,
                error_trace=error.body if error and error.kind == "flow_error" else None,
                finish=reply.finish if reply else None,
                usage=outcome.usage,
                notes=outcome.notes,
                losses=self._relay.losses(run_id),
            )
        )
        self._relay.close(run_id, outcome, listener)


def _end_blocked(
    client: Client, ended: "_Ended", run_id: str, error: ModelError
) -> "asyncio.Task[None]":
    """End a run whose flow is blocked: notify its listeners, then terminate it in the engine."""

    async def terminate() -> None:
        try:
            await client.get_workflow_handle(run_id).terminate(reason=error.message)
        except RPCError as refused:
            if refused.status is not RPCStatusCode.NOT_FOUND:  # it has just ended by itself
                log.warning("Run %s could not be terminated: %s", run_id, refused)

    ended(run_id, None, RunOutcome(error=error))
    return asyncio.get_running_loop().create_task(terminate())
