"""The topology of the Compose file, running: requests, kills and restarts.

Not part of ``make test``: run it with ``make cluster-test``.
"""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable

import httpx
import pytest
import pytest_asyncio

from polyvox.gateway.simulator.listening import serve
from tests.cluster.clients import PROTOCOLS, Answer, Protocol, ask, check, load, new_client
from tests.cluster.running import UI_PORT, Cluster, Shape, cluster

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.timeout(600),
]

QUICK = "sim:main-n30-itl5"
SLOW = "sim:main-n200-itl50"
"""Ten seconds: a member can be killed while it streams."""

PER_SECOND = 20.0
STREAMS = 20
RECOVERY_S = 60.0
POLL_S = 0.2


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=["split", "replicas"])
async def running(request: pytest.FixtureRequest) -> AsyncIterator[Cluster]:
    """A cluster of each shape, whose provider is a simulator in this process."""
    shape: Shape = request.param
    simulator = await serve()
    config = (
        f'[providers.sim]\nprotocol = "chat"\nbase_url = "{simulator.url}/v1"\n'
        'dialect = { server = "polyvox" }\n'
        "[server]\ndrain_s = 30\n"
    )
    try:
        async with cluster(shape=shape, config=config, without=frozenset()) as started:
            yield started
    finally:
        await simulator.stop()


@pytest_asyncio.fixture(loop_scope="module", autouse=True)
async def whole(running: Cluster) -> AsyncIterator[None]:
    """Every member runs again after a test, so that the next one does not depend on it."""
    yield
    for member in running.members.values():
        if not member.service.is_job and not member.is_running:
            await member.start()
    for member in running.gateways:
        await running.in_rotation(member.name)


async def one(running: Cluster, protocol: Protocol = "chat", *, streamed: bool = False) -> Answer:
    async with new_client() as client:
        return await ask(
            client,
            running.base_url,
            running.key,
            model=QUICK,
            protocol=protocol,
            streamed=streamed,
        )


async def eventually(condition: Callable[[], Awaitable[bool]], what: str) -> None:
    """Return when ``condition`` holds, looking often."""
    loop = asyncio.get_running_loop()
    end = loop.time() + RECOVERY_S
    while not await condition():
        assert loop.time() < end, what
        await asyncio.sleep(POLL_S)


@contextlib.asynccontextmanager
async def streams_in_flight(running: Cluster) -> AsyncIterator[list["asyncio.Task[Answer]"]]:
    """Start slow streams of all protocols; open when each has sent its first event."""
    async with new_client() as client, asyncio.TaskGroup() as group:
        tasks = []
        first = []
        for number in range(STREAMS):
            first.append(asyncio.Event())
            asking = ask(
                client,
                running.base_url,
                running.key,
                model=SLOW,
                protocol=PROTOCOLS[number % len(PROTOCOLS)],
                streamed=True,
                started=first[-1],
            )
            tasks.append(group.create_task(asking))
        async with asyncio.timeout(RECOVERY_S):
            await asyncio.gather(*(event.wait() for event in first))
        yield tasks


async def test_every_member_is_healthy(running: Cluster) -> None:
    """By the health checks of the Compose file, and each has its own address."""
    members = [member for member in running.members.values() if not member.service.is_job]
    assert len({member.address for member in members}) == len(members)
    for member in members:
        assert member.is_running, member.name
        assert await member.is_healthy(), member.name


async def test_the_web_ui_shows_the_cluster(running: Cluster) -> None:
    """It reaches the Temporal nodes through the load balancer."""
    url = running.member("temporal-ui").url(UI_PORT)
    async with new_client() as client:
        answer = await client.get(f"{url}/ui/api/v1/namespaces/default")
    assert answer.json()["namespaceInfo"]["name"] == "default"


@pytest.mark.parametrize("streamed", [True, False])
@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_the_load_balancer_serves_every_protocol(
    running: Cluster, protocol: Protocol, streamed: bool
) -> None:
    """Twice, so that both gateways answer."""
    for _ in range(2):
        answer = await one(running, protocol, streamed=streamed)
        assert not answer.failure
        assert answer.headers["x-polyvox-run"].startswith("run_")


async def test_every_gateway_sees_every_run(running: Cluster) -> None:
    """They share one ledger."""
    answer = await one(running)
    assert not answer.failure
    run_id = answer.headers["x-polyvox-run"]
    async with new_client() as client:
        for url in running.gateway_urls:

            async def is_listed(url: str = url) -> bool:
                found = await client.get(
                    f"{url}/api/runs/{run_id}", headers={"x-api-key": running.key}
                )
                return found.is_success and found.json()["status"] == "completed"

            await eventually(is_listed, f"{url} does not list {run_id}")


@pytest.mark.parametrize("node", ["temporal-1", "temporal-2"])
async def test_the_death_of_a_temporal_node_costs_no_stream(running: Cluster, node: str) -> None:
    """The other node takes its runs over; clients only wait."""
    async with streams_in_flight(running) as tasks:
        await running.member(node).kill()
    check([task.result() for task in tasks])
    assert not (await one(running)).failure


async def test_temporal_nodes_restart_under_load(running: Cluster) -> None:
    """One after the other, as an upgrade does."""
    async with load(
        running.base_url, running.key, model=QUICK, per_second=PER_SECOND / 4
    ) as answers:
        for node in ("temporal-1", "temporal-2"):
            await running.member(node).restart()
    assert answers
    check(answers)


async def test_without_postgresql_requests_are_refused_until_it_is_back(running: Cluster) -> None:
    """Each with an error of its protocol that says when to try again, never with a broken one."""
    postgres = running.member("postgres")
    await postgres.stop()
    refused: dict[Protocol, Answer] = {}
    async with asyncio.timeout(RECOVERY_S):
        while len(refused) < len(PROTOCOLS):
            for protocol in PROTOCOLS:
                answer = await one(running, protocol)
                if answer.failure:
                    refused[protocol] = answer
    for answer in refused.values():
        assert answer.status == (529 if answer.protocol == "messages" else 503), answer.failure
        assert int(answer.headers["retry-after"]) >= 1
    assert json.loads(refused["messages"].body)["type"] == "error"
    assert json.loads(refused["chat"].body)["error"]["message"]

    await postgres.start()

    async def serves() -> bool:
        return not (await one(running)).failure

    await eventually(serves, "no request succeeds after PostgreSQL is back")
    # Both gateways, not only the first that recovers.
    async with new_client() as client:
        for url in running.gateway_urls:

            async def is_ready(url: str = url) -> bool:
                with contextlib.suppress(httpx.TransportError):
                    return (await client.get(f"{url}/readyz")).is_success
                return False

            await eventually(is_ready, f"{url} is not ready")
    assert not (await one(running)).failure


@pytest.mark.parametrize("role", ["gateway", "worker"])
async def test_a_rolling_restart_fails_no_request(running: Cluster, role: str) -> None:
    """At 20 requests a second, in all protocols, streamed and whole."""
    members = running.gateways if role == "gateway" else running.workers
    if not members:
        pytest.skip(f"replicas have no {role} of their own")
    async with load(running.base_url, running.key, model=QUICK, per_second=PER_SECOND) as answers:
        for member in members:
            status = await member.stop()
            assert status == 0, member.printed()[-2000:]
            await member.start()
            if role == "gateway":
                await running.in_rotation(member.name)
    assert len(answers) > PER_SECOND
    check(answers)


async def test_streams_outlive_the_stop_of_their_gateway(running: Cluster) -> None:
    """A gateway that is stopped finishes its answers first."""
    async with streams_in_flight(running) as tasks:
        await asyncio.gather(*(member.stop() for member in running.gateways))
    check([task.result() for task in tasks])
