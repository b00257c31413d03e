"""The program in one process tree: simulator, engine, worker and gateway, or one half of it."""

import ipaddress
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from importlib.metadata import version
from typing import Literal

from fastapi import FastAPI

from polyvox.activities.ledger.ledger import Ledger
from polyvox.activities.model_call.provider import EVERY_MODEL, Price, Provider
from polyvox.activities.storage.data_folder import require_writable
from polyvox.gateway.app import create_app
from polyvox.gateway.http.draining import Draining
from polyvox.gateway.http.request_log import RequestLog
from polyvox.gateway.http.serving import (
    FEW_FILES,
    listen,
    most_connections,
    raise_file_limit,
    serving,
)
from polyvox.gateway.own_keys import KEY_VARIABLE, OwnKeys, find_keys, own_keys
from polyvox.gateway.simulator.listening import serve
from polyvox.gateway.web_ui.address import UiAddress, write_ui_address
from polyvox.gateway.web_ui.sign_in import PATH
from polyvox.protocols.dialects.dialect import FULL
from polyvox.protocols.table import PROTOCOLS
from polyvox.protocols.wire_protocol import Protocols
from polyvox.worker.runtime import Runtime, running
from polyvox.worker.server_file import remove_server_file, running_server, write_server_file
from polyvox.worker.settings.settings import Settings

_REACHED = {"0.0.0.0": "127.0.0.1", "::": "::1"}
"""Where a server that listens on all addresses is reached from its own machine."""


class UnsafeHost(ValueError):
    """The program would be open to a network without a key chosen by the operator."""


@dataclass(frozen=True, slots=True)
class Program:
    """A running program and its keys.

    ``ui_address`` is the address of Temporal's Web UI, None without one.
    """

    runtime: Runtime
    app: FastAPI
    base_url: str
    keys: OwnKeys
    ui_address: UiAddress | None = None


@asynccontextmanager
async def started(
    settings: Settings,
    *,
    environ: Mapping[str, str],
    report: Callable[[str], None],
    protocols: Protocols = PROTOCOLS,
    role: Literal["replica", "gateway"] = "replica",
) -> AsyncIterator[Program]:
    """Start everything; stop it in the reverse order, running streams getting ``drain_s``.

    A ``gateway`` has no worker. Clients, providers and the simulator speak ``protocols``.

    Raises what ``running``, ``serving`` and ``own_keys`` raise, DataFolderUnusable and UnsafeHost.
    """
    host = settings.server.host
    exposed = is_exposed(host)
    # First, so that mistakes are reported before an engine is built, which takes minutes.
    require_writable(settings.data)
    find_keys(settings.data, environ, exposed=exposed)
    listener = listen(host, settings.server.port)
    port = listener.getsockname()[1]
    files = raise_file_limit()
    if files < FEW_FILES:
        report(
            f"This process may open only {files} files, so it accepts at most "
            f"{most_connections(files)} connections. Raise the limit: ulimit -n {FEW_FILES}."
        )
    async with AsyncExitStack() as stack:
        stack.callback(listener.close)
        simulator = await serve(protocols=protocols)
        stack.push_async_callback(simulator.stop)
        runtime = await stack.enter_async_context(
            running(
                settings,
                environ=environ,
                simulators=simulated_providers(f"{simulator.url}/v1", protocols),
                report=report,
                protocols=protocols,
                role=role,
            )
        )
        await _refuse_open_host(host, runtime.ledger, environ)
        keys = await own_keys(runtime.ledger, settings.data, environ, exposed=exposed)
        draining = Draining()
        app = create_app(runtime, draining)
        app.state.responses.recordings.open()
        stack.push_async_callback(app.state.responses.recordings.close)
        stack.callback(app.state.admission.close)
        stack.push_async_callback(app.state.ui_sign_in.close)
        await stack.enter_async_context(
            serving(
                RequestLog(app),
                listener,
                settings.server,
                files=files,
                protocols=protocols,
                draining=draining,
                stop=app.state.places.stop,
                cut_off=app.state.places.cut_off,
            )
        )
        ui_url = f"{_url(_REACHED.get(host, host), port)}{PATH}"
        ui_address = UiAddress(ui_url, runtime.engine.namespace) if runtime.engine.ui_url else None
        write_ui_address(settings.data, ui_address)
        running_here = running_server(
            version=version("polyvox"),
            base_url=_url(_REACHED.get(host, host), port),
            port=port,
            config=settings.config,
            environ=environ,
        )
        write_server_file(settings.data, running_here)
        stack.callback(remove_server_file, settings.data)
        yield Program(runtime, app, _url(host, port), keys, ui_address)


@asynccontextmanager
async def worker_started(
    settings: Settings,
    *,
    environ: Mapping[str, str],
    report: Callable[[str], None],
    protocols: Protocols = PROTOCOLS,
) -> AsyncIterator[Runtime]:
    """Start a worker with a simulator of its own; stop it, running calls getting ``drain_s``.

    Raises what ``running`` raises.
    """
    require_writable(settings.data)
    raise_file_limit()
    simulator = await serve(protocols=protocols)
    try:
        async with running(
            settings,
            environ=environ,
            simulators=simulated_providers(f"{simulator.url}/v1", protocols),
            report=report,
            protocols=protocols,
            role="worker",
        ) as runtime:
            yield runtime
    finally:
        await simulator.stop()


def _url(host: str, port: int) -> str:
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"


def simulated_providers(base_url: str, protocols: Protocols) -> dict[str, Provider]:
    """Return the built-in providers: ``simulator`` speaks the first of ``protocols``, the others
    the one that they are named after."""
    named = {f"simulator-{protocol}": protocol for protocol in protocols}
    return {
        name: Provider(
            name,
            protocol,
            base_url,
            prices={EVERY_MODEL: Price(0.0, 0.0)},
            dialect={"server": FULL.server},
        )
        for name, protocol in {"simulator": next(iter(protocols)), **named}.items()
    }


async def _refuse_open_host(host: str, ledger: Ledger, environ: Mapping[str, str]) -> None:
    if not is_exposed(host) or environ.get(KEY_VARIABLE, "").strip():
        return
    if any(key.revoked_at is None for key in await ledger.list_keys()):
        return
    raise UnsafeHost(
        f"--host {host} opens the server to a network, but it has no key yet. Set {KEY_VARIABLE}, "
        "or create a key first: polyvox keys create."
    )


def is_exposed(host: str) -> bool:
    """Return whether other machines can reach a server that listens on ``host``."""
    if host == "localhost":
        return False
    try:
        return not ipaddress.ip_address(host).is_loopback
    except ValueError:
        return True
