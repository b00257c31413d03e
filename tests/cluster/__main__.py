"""Starts the cluster and keeps it running until Ctrl-C: ``make cluster``."""

import argparse
import asyncio
import os
import signal
import sys

from tests.cluster.member import ClusterError
from tests.cluster.programs import ProgramMissing
from tests.cluster.running import TEMPORAL_PORT, UI_PORT, Cluster, Shape, cluster

FROM_ENVIRONMENT = (
    "ANTHROPIC_API_KEY",
    "OPENAI_API_KEY",
    "POLYVOX_ADMIN_KEY",
    "POLYVOX_DEPLOYMENT_KEY",
    "POLYVOX_KEY",
)


async def main(shape: Shape) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    given = {name: os.environ[name] for name in FROM_ENVIRONMENT if os.environ.get(name)}

    async def serve() -> None:
        async with cluster(
            shape=shape,
            variables=given,
            without=frozenset(),
            report=lambda text: print(text, flush=True),
        ) as running:
            show(running)
            await stop.wait()
            print("\nStopping.", flush=True)

    serving = asyncio.create_task(serve())
    stopping = asyncio.create_task(stop.wait())
    await asyncio.wait({serving, stopping}, return_when=asyncio.FIRST_COMPLETED)
    if not serving.done() and not serving.cancelling():
        # During the start there is nothing to wait for; later, `stop` ends it by itself.
        _, late = await asyncio.wait({serving}, timeout=5)
        for task in late:
            task.cancel()
    stopping.cancel()
    try:
        await serving
    except asyncio.CancelledError:
        print("Stopped during the start.")


def show(running: Cluster) -> None:
    """Print how to use the cluster."""
    rows = [("Base URL", f"{running.base_url}  (load balancer)")]
    rows += [
        (name, member.address) for name, member in running.members.items() if member.is_running
    ]
    rows += [
        ("Web UI", running.member("temporal-ui").url(UI_PORT) + "/ui"),
        ("Temporal", f"{running.member('temporal-1').address}:{TEMPORAL_PORT}"),
        ("Database", running.database_url),
        ("Key", running.key),
        ("Admin key", running.admin_key),
        ("Logs", f"{running.folder}/*.log"),
    ]
    print()
    for name, value in rows:
        print(f"  {name:<12} {value}")
    print("\n  Ctrl-C ends all processes and deletes their data.\n", flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="make cluster", description=__doc__)
    parser.add_argument("--shape", choices=("split", "replicas"), default="split")
    try:
        asyncio.run(main(parser.parse_args().shape))
    except (ClusterError, ProgramMissing) as error:
        sys.exit(f"error: {error}")
