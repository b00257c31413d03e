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
    """Run the cluster until a signal ends it, also during its start."""
    program = asyncio.current_task()
    assert program is not None
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, program.cancel)
    given = {name: os.environ[name] for name in FROM_ENVIRONMENT if os.environ.get(name)}
    try:
        async with cluster(
            shape=shape, variables=given, without=frozenset(), report=report
        ) as running:
            show(running)
            await asyncio.Event().wait()
    except asyncio.CancelledError:
        print("\nStopped: all processes have ended, and their data are deleted.")


def report(text: str) -> None:
    print(text, flush=True)


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
