"""One real program in a thread of its own, over a simulator that can be looked into."""

import asyncio
import threading
from collections.abc import Callable, Coroutine, Iterator, Mapping
from concurrent.futures import Future
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import httpx
import uvloop
from temporalio.client import WorkflowHandle

from polyvox.gateway.program import Program, started
from polyvox.gateway.simulator.listening import Listening, serve
from polyvox.protocols import table
from polyvox.protocols.wire_protocol import Protocols
from polyvox.worker.settings.settings import load_settings

T = TypeVar("T")

KEY = "test-key"
ADMIN_KEY = "test-admin-key"
ENVIRON = {"POLYVOX_KEY": KEY, "POLYVOX_ADMIN_KEY": ADMIN_KEY, "REFUSED_KEY": "wrong-key"}

PROTOCOLS = ("chat", "responses", "messages")
PATHS = {"chat": "/v1/chat/completions", "responses": "/v1/responses", "messages": "/v1/messages"}

MAX_BODY_MIB = 9
LIMIT_S = 60.0
POLL_S = 0.02


@dataclass(frozen=True, slots=True)
class Live:
    """The running program, and the simulator its providers lead to."""

    program: Program
    simulator: Listening
    loop: asyncio.AbstractEventLoop
    data: Path

    @property
    def base_url(self) -> str:
        return self.program.base_url

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run ``work`` on the program's own loop and return what it returns."""
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(LIMIT_S)

    def ask(self, path: str, **headers: str) -> httpx.Response:
        """GET ``path`` with the key."""
        url = f"{self.base_url}{path}"
        return httpx.get(url, headers={"x-api-key": KEY, **headers}, trust_env=False)

    def post(self, protocol: str, document: Any, **options: Any) -> httpx.Response:
        """Send ``document`` in ``protocol`` and return the whole answer."""
        headers = {"x-api-key": KEY, **options.pop("headers", {})}
        return httpx.post(
            self.base_url + PATHS[protocol],
            json=document,
            headers=headers,
            timeout=LIMIT_S,
            trust_env=False,
            **options,
        )

    def ended(self, run_id: str, calls: int = 1) -> dict[str, Any]:
        """Return the run's document once it has ended and ``calls`` of its calls have too."""

        def look() -> dict[str, Any] | None:
            answer = self.ask(f"/api/runs/{run_id}")
            if answer.status_code == 404:  # its first row is still on the way
                return None
            run: dict[str, Any] = answer.json()
            over = [call for call in run["calls"] if call["status"] != "running"]
            return run if run["status"] != "running" and len(over) >= calls else None

        return until(look, f"run {run_id} has not ended with {calls} calls in the ledger")

    def newest_run(self, model: str) -> str | None:
        """Return the id of the newest run of ``model``, None if there is none."""
        answer = self.ask(f"/api/runs?limit=1&model={model}")
        runs = answer.json()["runs"]
        return str(runs[0]["run_id"]) if runs else None

    def handle(self, run_id: str) -> WorkflowHandle[Any, Any]:
        return self.program.runtime.client.get_workflow_handle(run_id)

    def seen(self) -> dict[str, Any]:
        """Return what the simulator has seen: ``requests`` and ``disconnects`` by model name."""
        stats: dict[str, Any] = httpx.get(f"{self.simulator.url}/stats", trust_env=False).json()
        return stats


def until(condition: Callable[[], T | None], what: str) -> T:
    """Return the condition's first true value, looking often; fail with ``what`` in the end."""
    waiting = threading.Event()
    for _ in range(int(LIMIT_S / POLL_S)):
        if found := condition():
            return found
        waiting.wait(POLL_S)
    raise AssertionError(what)


def _prices(prices: Mapping[str, tuple[int, int]]) -> str:
    return "\n".join(
        f'prices."{model}" = {{ input = {read}, output = {written} }}'
        for model, (read, written) in prices.items()
    )


def _fusion(name: str, **params: str) -> str:
    known = {
        "main": '"sim-chat:main"',
        "panel": '["sim-chat:optimist", "sim-responses:skeptic", "sim-messages:engineer"]',
        "judge": '"sim-chat:judge"',
        **params,
    }
    lines = "\n".join(f"{key} = {value}" for key, value in known.items())
    return f'[models.{name}]\nflow = "fusion"\n[models.{name}.params]\n{lines}\n'


def config(simulator_url: str, dead_url: str, server: str = "") -> str:
    """Return a ``polyvox.toml``: providers of all protocols, good and bad, and panels of them."""
    providers = {
        **{f"sim-{p}": (p, f"{simulator_url}/v1", "") for p in PROTOCOLS},
        **{f"hasty-{p}": (p, f"{simulator_url}/v1", "timeout_s = 3") for p in PROTOCOLS},
        **{
            f"refused-{p}": (p, f"{simulator_url}/v1", 'api_key_env = "REFUSED_KEY"')
            for p in PROTOCOLS
        },
        "keyless": ("chat", f"{simulator_url}/v1", 'api_key_env = "NO_SUCH_KEY"'),
        "dead": ("chat", dead_url, ""),
        "priced": (
            "chat",
            f"{simulator_url}/v1",
            _prices({"main-idfree": (0, 0), "*": (100, 1000)}),
        ),
    }
    tables = [
        f"[server]\nmax_body_mib = {MAX_BODY_MIB}\nkeep_alive_s = 10.0\nregister_over_http = true",
        # Tests ask the same failing providers many times.
        "" if "breaker_failures" in server else "breaker_failures = 0",
        f"{server}\n",
    ]
    # All but the dead one are simulators, which take the whole protocol.
    tables += [
        f'[providers.{name}]\nprotocol = "{protocol}"\nbase_url = "{url}"\n'
        f'dialect = {{ server = "polyvox" }}\n{more}\n'
        for name, (protocol, url, more) in providers.items()
    ]
    tables += [
        f'[models.plain-{p}]\nflow = "direct"\nparams = {{ model = "sim-{p}:main" }}\n'
        for p in PROTOCOLS
    ]
    tables.append(
        '[models.told-claude]\nflow = "direct"\ndescription = "Says what it is"\n'
        'params = { model = "sim-messages:main" }\n[models.told-claude.card]\n'
        "context_window = 200_000\nmax_output_tokens = 32_000\n"
        'capabilities = ["tools", "images", "thinking"]\nefforts = ["low", "high"]\n'
    )
    tables += [
        _fusion("panel-auto"),
        _fusion("panel-required", mode='"required"'),
        _fusion("panel-off", mode='"off"'),
        *(_fusion(f"panel-main-{p}", main=f'"sim-{p}:main"') for p in PROTOCOLS),
        _fusion(
            "panel-one-fails",
            panel='["sim-chat:optimist-err400", "sim-chat:skeptic", "sim-chat:engineer"]',
        ),
        _fusion(
            "panel-one-stalls",
            panel='["sim-chat:optimist", "sim-chat:skeptic", "sim-chat:engineer-stall2-idslow"]',
            quorum="2",
            grace_s="0.1",
        ),
        _fusion("panel-all-fail", panel='["sim-chat:optimist-err400", "sim-chat:skeptic-err400"]'),
        _fusion("panel-judge-fails", judge='"sim-chat:judge-err400"'),
        _fusion("panel-main-fails", main='"sim-chat:main-err400"', mode='"required"'),
        _fusion(
            "panel-slow",
            panel='["sim-chat:optimist-stall1-idleft", "sim-messages:skeptic-stall1-idleft"]',
            mode='"required"',
        ),
    ]
    return "\n".join(tables)


@contextmanager
def live_program(
    folder: Path,
    dead_url: str,
    environ: Mapping[str, str] = ENVIRON,
    more: str = "",
    server: str = "",
    protocols: Protocols = table.PROTOCOLS,
) -> Iterator[Live]:
    """Run the program in a thread with its own loop until the context is left.

    ``more`` are further tables of its configuration, ``server`` lines of the table of that name.
    """
    ready: Future[Live] = Future()
    stop: Future[asyncio.Event] = Future()

    async def serve_all() -> None:
        asked_to_stop = asyncio.Event()
        stop.set_result(asked_to_stop)
        async with AsyncExitStack() as stack:
            simulator = await serve()
            stack.push_async_callback(simulator.stop)
            file = folder / "polyvox.toml"
            file.write_text(config(simulator.url, dead_url, server) + more, "utf-8")
            data = folder / "data"
            settings = load_settings(file, data, environ=environ, port=0)
            program = await stack.enter_async_context(
                started(settings, environ=environ, report=print, protocols=protocols)
            )
            ready.set_result(Live(program, simulator, asyncio.get_running_loop(), data))
            await asked_to_stop.wait()

    def main() -> None:
        try:
            with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                runner.run(serve_all())
        except BaseException as error:
            if ready.done():
                raise
            ready.set_exception(error)

    thread = threading.Thread(target=main, name="program")
    thread.start()
    try:
        live = ready.result()
        yield live
        live.loop.call_soon_threadsafe(stop.result().set)
    finally:
        thread.join(LIMIT_S)
