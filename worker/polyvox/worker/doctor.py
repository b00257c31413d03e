"""Checks everything that Polyvox needs to run, with a remedy for each problem found."""

import asyncio
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import httpx
import psutil

from polyvox.activities.failures.base_urls import shown
from polyvox.activities.model_call.provider import Provider, api_key
from polyvox.activities.storage.data_folder import data_folder_mistake, open_to_others
from polyvox.worker.engine.binary import find_engine
from polyvox.worker.engine.data_lock import lock_holder
from polyvox.worker.engine.frontend import EngineError, Frontend
from polyvox.worker.engine.install import ways_to_install
from polyvox.worker.engine.ports import is_free, read_ports
from polyvox.worker.provider_check import check_provider
from polyvox.worker.server_file import RunningServer, read_server_file
from polyvox.worker.settings.settings import WELL_KNOWN_PROVIDERS, Settings, SettingsError

Status = Literal["ok", "warn", "fail"]

NEEDED_PYTHON = (3, 11)
NEEDED_BYTES = 1 << 30
REACH_LIMIT_S = 5.0


@dataclass(frozen=True, slots=True)
class Finding:
    """The result of one check. ``remedy`` is empty if there is nothing to fix.

    "warn" means that Polyvox starts, but a part of it will not work; "fail" that it does not start.
    """

    check: str
    status: Status
    detail: str
    remedy: str = ""


async def examine(
    settings: Settings, environ: Mapping[str, str], mistake: SettingsError | None = None
) -> list[Finding]:
    """Run all checks and return their findings, in the order in which to fix them.

    Changes nothing. ``mistake`` has what is wrong with the configuration; ``settings`` is what
    could be read of it. Takes about five seconds if the engine or a provider does not answer.
    """
    holder = lock_holder(settings.data)
    server = read_server_file(settings.data, holder)
    running = await _server(settings, server)
    reached = await asyncio.gather(
        _engine(settings, environ), *(_reach(p, environ) for p in settings.providers.values())
    )
    return [
        _python(),
        _config(settings, mistake),
        _data(settings.data, holder),
        _disk(settings.data),
        *running,
        reached[0],
        *_ports(settings, holder, server),
        *_keys(settings, environ, mistake, server),
        *reached[1:],
    ]


def _python() -> Finding:
    version = ".".join(map(str, sys.version_info[:3]))
    if sys.version_info >= NEEDED_PYTHON:
        return Finding("python", "ok", version)
    needed = ".".join(map(str, NEEDED_PYTHON))
    return Finding("python", "fail", version, f"Install Python {needed} or newer.")


def _config(settings: Settings, mistake: SettingsError | None) -> Finding:
    if mistake is not None:
        return Finding("config", "fail", str(mistake), "Fix the lines listed above.")
    if settings.config is None:
        return Finding("config", "ok", "no polyvox.toml; using defaults and environment variables")
    return Finding(
        "config",
        "ok",
        f"{settings.config}: providers {', '.join(settings.providers) or 'none'}; "
        f"models {', '.join(settings.models) or 'none'}",
    )


def _data(data: Path, holder: int | None) -> Finding:
    check = "data folder"
    if mistake := data_folder_mistake(data):
        return Finding(
            check,
            "fail",
            f"{data} cannot be used: {mistake}",
            "Make the folder writable for your user, or choose another one with --data.",
        )
    detail = str(data) if data.exists() else f"{data} (created at the first start)"
    detail += f"; in use by process {holder}" if holder else ""
    if data.exists() and (mode := open_to_others(data)):
        detail += f"; other users can list it (mode {mode})"
        return Finding(check, "warn", detail, f"chmod 700 {data}")
    return Finding(check, "ok", detail)


async def _server(settings: Settings, server: RunningServer | None) -> list[Finding]:
    """Ask the running server whether it is ready, and whether it has the present configuration."""
    if server is None:
        return []
    detail = f"process {server.pid}, Polyvox {server.version}, {server.base_url}"
    if trouble := await _readiness(server):
        remedy = "See its log. If its disk is full, free some space."
        return [Finding("server", "warn", f"{detail}: {trouble}", remedy)]
    read = server.config or "no polyvox.toml"
    if server.config != str(settings.config or ""):
        found = f"{detail}: it has read {read}, this command {settings.config or 'none'}"
        return [Finding("server", "warn", found, "Name the same file with --config, or restart.")]
    if server.config_changed:
        found = f"{detail}: {read} was changed after it was read"
        return [Finding("server", "warn", found, "Restart the server to use the changes.")]
    return [Finding("server", "ok", f"{detail}: ready, has read {read}")]


async def _readiness(server: RunningServer) -> str:
    """Return "" if the server is ready, else what it says, or that it does not answer."""
    try:
        async with httpx.AsyncClient(timeout=REACH_LIMIT_S, trust_env=False) as client:
            answer = await client.get(f"{server.base_url}/readyz")
            document = answer.json()
    except (httpx.HTTPError, ValueError) as error:
        return f"does not answer: {str(error) or type(error).__name__}"
    if answer.is_success:
        return ""
    stores = document.get("stores", {})
    troubles = [f"{name}: {state}" for name, state in stores.items() if state != "ok"]
    return "; ".join(troubles) or f"not ready: the engine is {document.get('engine')}"


def _disk(data: Path) -> Finding:
    free = shutil.disk_usage(_existing(data)).free
    detail = f"{free / NEEDED_BYTES:.1f} GiB free"
    if free >= NEEDED_BYTES:
        return Finding("disk", "ok", detail)
    return Finding(
        "disk", "warn", detail, "Free at least 1 GiB, or choose another folder with --data."
    )


async def _engine(settings: Settings, environ: Mapping[str, str]) -> Finding:
    address, namespace = settings.engine.address, settings.engine.namespace
    if address is not None:
        frontend = Frontend(address, namespace)
        try:
            async with asyncio.timeout(REACH_LIMIT_S):
                retention = await frontend.retention()
                version = await frontend.version()
        except TimeoutError:
            return Finding(
                "engine",
                "fail",
                f"{address} did not answer within {REACH_LIMIT_S:.0f} s",
                "Start the cluster, correct the address, or omit it to use the built-in engine.",
            )
        except EngineError as error:
            return Finding("engine", "fail", f"{address} is not usable", str(error))
        return Finding(
            "engine",
            "ok",
            f"{address}: server {version}, namespace {namespace}, retention {retention}",
        )
    binary, attempts = await find_engine(settings.data, environ)
    if binary is not None:
        return Finding("engine", "ok", f"{binary.path}: CLI {binary.cli}, server {binary.server}")
    looked = "; ".join(f"{attempt.place}: {attempt.outcome}" for attempt in attempts)
    return Finding(
        "engine",
        "warn",
        f"no Temporal CLI found ({looked})",
        f"The first start installs one: {ways_to_install(environ)}. "
        "Or install it yourself: https://docs.temporal.io/cli#install",
    )


def _ports(settings: Settings, holder: int | None, running: RunningServer | None) -> list[Finding]:
    """Check the gateway's port, and the engine's ports if an earlier start has chosen them."""
    server = settings.server
    port = running.port if running else server.port
    wanted = {f"port {port} (gateway)": (server.host, port)} if port else {}
    chosen = read_ports(settings.data / "engine" / "ports.json")
    if settings.engine.address is None and chosen is not None:
        wanted[f"port {chosen.frontend} (engine)"] = ("127.0.0.1", chosen.frontend)
        if chosen.ui is not None:
            check = f"port {chosen.ui} (engine's Web UI, behind the gateway)"
            wanted[check] = (chosen.ui_host, chosen.ui)
    found = []
    for check, (host, port) in wanted.items():
        if is_free(port, host):
            found.append(Finding(check, "ok", "free"))
            continue
        taker = _port_holder(port)
        detail = f"in use by process {taker[0]} ({taker[1]})" if taker else f"not free on {host}"
        if holder is not None:
            found.append(Finding(check, "ok", f"{detail}; process {holder} uses this data folder"))
        elif check.endswith("(gateway)"):
            found.append(
                Finding(
                    check, "fail", detail, "Stop that program, or choose another port with --port."
                )
            )
        else:
            found.append(
                Finding(
                    check,
                    "warn",
                    detail,
                    "Nothing to do: the next start chooses another port.",
                )
            )
    return found


def _keys(
    settings: Settings,
    environ: Mapping[str, str],
    mistake: SettingsError | None,
    server: RunningServer | None,
) -> list[Finding]:
    if not settings.providers:
        if mistake is not None:
            return []
        names = " or ".join(p.api_key_env for p in WELL_KNOWN_PROVIDERS if p.api_key_env)
        return [
            Finding(
                "providers",
                "warn",
                "none; only the built-in simulator is available",
                f"Set {names}, or declare a provider in polyvox.toml.",
            )
        ]
    found = []
    for provider in settings.providers.values():
        check = f"key of {provider.name}"
        if provider.api_key_env is None:
            found.append(Finding(check, "ok", "not needed"))
        elif server is not None and provider.api_key_env not in server.variables:
            here = ", although it is set here" if api_key(provider, environ) else ""
            found.append(
                Finding(
                    check,
                    "warn",
                    f"{provider.api_key_env} is not set in the environment of the server "
                    f"(process {server.pid}){here}",
                    f"Restart the server with {provider.api_key_env}.",
                )
            )
        elif server is not None:
            found.append(
                Finding(check, "ok", f"set in {provider.api_key_env} of process {server.pid}")
            )
        elif api_key(provider, environ):
            found.append(Finding(check, "ok", f"set in {provider.api_key_env}"))
        else:
            found.append(
                Finding(
                    check,
                    "warn",
                    f"{provider.api_key_env} is not set",
                    f"export {provider.api_key_env}=... and restart.",
                )
            )
    return found


async def _reach(provider: Provider, environ: Mapping[str, str]) -> Finding:
    """Ask the provider for its models, and report which of key, URL and protocol is wrong."""
    check = f"{provider.name} reachable"
    try:
        async with (
            asyncio.timeout(3 * REACH_LIMIT_S),
            httpx.AsyncClient(timeout=REACH_LIMIT_S) as client,
        ):
            verdict = await check_provider(provider, environ, client)
    except (httpx.HTTPError, TimeoutError) as error:
        reason = str(error) or f"no response within {REACH_LIMIT_S:.0f} s"
        return Finding(
            check,
            "warn",
            f"{shown(provider.base_url)}: {reason}",
            f"Check providers.{provider.name}.base_url, the network and the proxy settings.",
        )
    return Finding(check, "warn" if verdict.remedy else "ok", verdict.detail, verdict.remedy)


def _existing(path: Path) -> Path:
    """Return the path, or its nearest existing ancestor."""
    return next(place for place in (path, *path.parents) if place.exists())


def _port_holder(port: int) -> tuple[int, str] | None:
    """Return process id and name of the port's listener, None if the system does not show it."""
    try:
        listening = [c for c in psutil.net_connections("tcp") if c.status == psutil.CONN_LISTEN]
        holders = (c.pid for c in listening if c.laddr[1:] == (port,) and c.pid)
        return next(((pid, psutil.Process(pid).name()) for pid in holders), None)
    except psutil.Error:
        return None
