"""``polyvox demo`` and ``polyvox simulate``: what works without a model or a key."""

import asyncio
import os
import tempfile
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from polyvox.gateway.cli.commands.up import Stop, run
from polyvox.gateway.cli.input.options import console as standard_output
from polyvox.gateway.cli.input.options import give_up
from polyvox.gateway.cli.output.connecting import show
from polyvox.gateway.cli.output.run_tree import render_tree
from polyvox.gateway.program import Program, started
from polyvox.gateway.simulator.listening import serve
from polyvox.gateway.simulator.plan import GRAMMAR
from polyvox.worker.settings.settings import load_settings

QUESTION = "Should a small team put a cache in front of its database, or tune its queries first?"

MODEL = "simulated-fusion"


def demo(
    keep: Annotated[
        bool, typer.Option("--keep", envvar="DEMO_KEEP", help="Keep running until Ctrl-C.")
    ] = False,
) -> None:
    """Start everything on free ports, ask a simulated panel a question, show the trace."""
    if find_spec("openai") is None:
        give_up("The demo needs the OpenAI SDK: pip install 'polyvox[demo]'.")
    run(lambda: _demo(keep=keep))


def simulate(
    port: Annotated[int, typer.Option(help="Port to listen on; 0: any free one.")] = 8585,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
) -> None:
    run(lambda: _simulate(host, port))


simulate.__doc__ = f"""Run only the simulated provider: three protocols, without a model or a key.

\b
{GRAMMAR}"""


async def _simulate(host: str, port: int) -> None:
    console = Console(highlight=False, soft_wrap=True)
    stop = Stop()
    simulator = await serve(host, port)
    console.print(f"Simulated provider at {simulator.url}/v1 (press Ctrl-C to stop)")
    await stop.wait()
    await simulator.stop()


async def _demo(*, keep: bool) -> None:
    console = Console(highlight=False, soft_wrap=True)
    stop = Stop()
    with tempfile.TemporaryDirectory(prefix="polyvox-demo-") as folder:
        environ = {k: v for k, v in os.environ.items() if k != "TEMPORAL_ADDRESS"}
        empty = Path(folder) / "polyvox.toml"
        empty.touch()
        settings = load_settings(empty, Path(folder), environ=environ, port=0)
        async with started(settings, environ=environ, report=console.print) as program:
            stop.is_running = True
            show(program, console)
            asking = asyncio.create_task(ask(program, console))
            stopping = asyncio.create_task(stop.wait())
            await asyncio.wait({asking, stopping}, return_when=asyncio.FIRST_COMPLETED)
            if asking.done():
                asking.result()
                if keep:
                    console.print("The demo keeps running; press Ctrl-C to stop it.")
                    await stopping
            asking.cancel()
            stopping.cancel()


async def ask(program: Program, console: Console) -> None:
    """Ask the panel over HTTP, print the answer as it arrives, then the trace."""
    # Only this command needs the OpenAI SDK: it is an extra, not a dependency of the server.
    import openai  # noqa: PLC0415

    console.print(f"[bold]{MODEL}[/bold] receives the question: {QUESTION}\n")
    async with openai.AsyncOpenAI(
        base_url=f"{program.base_url}/v1", api_key=program.keys.user or "", max_retries=0
    ) as client:
        answer = await client.chat.completions.with_raw_response.create(
            model=MODEL, messages=[{"role": "user", "content": QUESTION}], stream=True
        )
        async for chunk in answer.parse():
            for choice in chunk.choices:
                console.print(choice.delta.content or "", end="", markup=False)
    console.print("\n")
    await show_trace(program, console, answer.headers["x-polyvox-run"])


async def show_trace(program: Program, console: Console, run_id: str) -> None:
    """Print what ``polyvox runs show`` would, and where else to look."""
    runtime = program.runtime
    run = await runtime.ledger.run(run_id)
    if run is None:
        raise RuntimeError(f"Run {run_id} is not in the ledger.")
    link = program.ui_address.run_link(run_id) if program.ui_address else None
    standard_output().print(render_tree(run, link))
    console.print(f"\nAs JSON: {program.base_url}/api/runs/{run_id}")
