"""``polyvox simulate``: the simulator without the rest of the program."""

from typing import Annotated

import typer
from rich.console import Console

from polyvox.gateway.cli.commands.up import run, stop_signal
from polyvox.gateway.simulator.listening import serve
from polyvox.gateway.simulator.plan import GRAMMAR


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
    stop = stop_signal(console)
    simulator = await serve(host, port)
    console.print(f"Simulated provider at {simulator.url}/v1 (press Ctrl-C to stop)")
    await stop.wait()
    await simulator.stop()
