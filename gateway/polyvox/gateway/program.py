"""The whole program in one process tree: simulator, engine, worker and gateway."""

import ipaddress
import os
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from polyvox.activities.ledger import Ledger
from polyvox.activities.provider import EVERY_MODEL, Price, Provider
from polyvox.gateway.app import create_app
from polyvox.gateway.serving import listen, serving
from polyvox.gateway.simulator.listening import serve
from polyvox.gateway.ui_address import Door, remember_door
from polyvox.gateway.ui_door import PATH
from polyvox.worker.runtime import Runtime, running
from polyvox.worker.settings import Settings
from polyvox.workflows.conversation import PROTOCOLS

KEY_VARIABLE = "POLYVOX_KEY"

_REACHED = {"0.0.0.0": "127.0.0.1", "::": "::1"}
"""Where a server that listens on all addresses is reached from its own machine."""


class UnsafeHost(ValueError):
    """The program would be open to a network without a key that somebody chose."""


@dataclass(frozen=True, slots=True)
class Program:
    """A running program. ``key`` is None if its keys were all made by hand and only hashes are.

    ``door`` leads to Temporal's Web UI, None if there is none.
    """

    runtime: Runtime
    base_url: str
    key: str | None
    door: Door | None = None


@asynccontextmanager
async def started(
    settings: Settings, *, environ: Mapping[str, str], report: Callable[[str], None]
) -> AsyncIterator[Program]:
    """Start everything; stop it in the reverse order, running streams getting ``drain_s``.

    Raises what ``running`` and ``serving`` raise, and UnsafeHost.
    """
    host = settings.server.host
    # First of all: a taken port shall be told at once, not after an engine was built for minutes.
    listener = listen(host, settings.server.port)
    port = listener.getsockname()[1]
    async with AsyncExitStack() as stack:
        stack.callback(listener.close)
        simulator = await serve()
        stack.push_async_callback(simulator.stop)
        runtime = await stack.enter_async_context(
            running(
                settings,
                environ=environ,
                simulators=simulated_providers(f"{simulator.url}/v1"),
                report=report,
            )
        )
        await _refuse_open_host(host, runtime.ledger, environ)
        key = await first_key(runtime.ledger, settings.data, environ)
        app = create_app(runtime)
        stack.push_async_callback(app.state.responses.close)
        stack.push_async_callback(app.state.ui_door.close)
        server = settings.server
        await stack.enter_async_context(
            serving(app, listener, drain_s=server.drain_s, max_body_mib=server.max_body_mib)
        )
        ui_url = f"{_url(_REACHED.get(host, host), port)}{PATH}"
        door = Door(ui_url, runtime.engine.namespace) if runtime.engine.ui_url else None
        remember_door(settings.data, door)
        yield Program(runtime, _url(host, port), key, door)


def _url(host: str, port: int) -> str:
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"


def simulated_providers(base_url: str) -> dict[str, Provider]:
    """Return the built-in providers: ``simulator`` speaks Chat, the others what they are named."""
    named = {f"simulator-{protocol}": protocol for protocol in PROTOCOLS}
    return {
        name: Provider(name, protocol, base_url, prices={EVERY_MODEL: Price(0.0, 0.0)})
        for name, protocol in {"simulator": PROTOCOLS[0], **named}.items()
    }


async def first_key(ledger: Ledger, data: Path, environ: Mapping[str, str]) -> str | None:
    """Return the key to show: the environment's, or the one made at the first start.

    That one lies in the data folder, readable by its owner only, so that the next start can show it
    again. It is None if keys exist that were made otherwise: of these only hashes are known.
    """
    given = environ.get(KEY_VARIABLE, "").strip()
    if given:
        await ledger.add_key(given, "from the environment", "admin")
        return given
    file = data / "key"
    if file.is_file():
        known = file.read_text().strip()
        if await ledger.find_key(known) is None:
            return None
        await ledger.add_key(known, "first key", "admin")
        return known
    if await ledger.list_keys():
        return None
    _, secret = await ledger.create_key("first key", "admin")
    with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as opened:
        opened.write(secret + "\n")
    return secret


async def _refuse_open_host(host: str, ledger: Ledger, environ: Mapping[str, str]) -> None:
    if _is_loopback(host) or environ.get(KEY_VARIABLE, "").strip():
        return
    if any(key.revoked_at is None for key in await ledger.list_keys()):
        return
    raise UnsafeHost(
        f"--host {host} opens the server to a network, and it has no key yet. Set {KEY_VARIABLE}, "
        "or make a key first: polyvox keys create."
    )


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
