"""Circuits: opened by a provider's failures in a row, closed by a probe, never by a client."""

import asyncio

import pytest

from polyvox.activities.limits.circuits import Circuits
from polyvox.workflows.errors import ErrorKind, ModelError

OPEN_S = 10.0


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def circuits(clock: Clock) -> Circuits:
    return Circuits(3, OPEN_S, clock)


async def call(
    circuits: Circuits, error: BaseException | None, model: str = "m", provider: str = "p"
) -> None:
    (await circuits.enter(provider, model)).ended(error)


async def fails(circuits: Circuits, kind: ErrorKind, times: int = 3, model: str = "m") -> None:
    for _ in range(times):
        await call(circuits, ModelError(kind, "It is broken.", status=None), model)


@pytest.mark.parametrize("kind", ["timeout", "provider_error", "overloaded", "unreachable"])
async def test_failures_in_a_row_open_it_with_their_own_kind(
    circuits: Circuits, kind: ErrorKind
) -> None:
    await fails(circuits, kind)
    with pytest.raises(ModelError, match="3 times in a row") as refused:
        await circuits.enter("p", "m")
    error = refused.value
    assert (error.kind, error.retry_after_s, error.cost_usd) == (kind, OPEN_S, 0.0)


async def test_only_an_unreachable_provider_is_closed_to_its_other_models(
    circuits: Circuits,
) -> None:
    await fails(circuits, "timeout")
    await call(circuits, None, "other")
    await fails(circuits, "unreachable", model="third")
    with pytest.raises(ModelError):
        await circuits.enter("p", "other")
    await call(circuits, None, provider="another")


@pytest.mark.parametrize(
    "kind",
    ["invalid_request", "context_length", "provider_authentication", "permission", "not_found"],
)
async def test_a_client_s_mistakes_never_open_it(circuits: Circuits, kind: ErrorKind) -> None:
    await fails(circuits, kind, 10)
    await call(circuits, None)


async def test_cancellations_and_cut_streams_never_open_it(circuits: Circuits) -> None:
    for _ in range(10):
        await call(circuits, asyncio.CancelledError())
        await call(circuits, ModelError("stream_cut", "It broke."))
    await call(circuits, None)


async def test_a_success_between_failures_keeps_it_closed(circuits: Circuits) -> None:
    for _ in range(5):
        await fails(circuits, "provider_error", 2)
        (await circuits.enter("p", "m")).answers()


async def test_one_probe_at_a_time_closes_it(circuits: Circuits, clock: Clock) -> None:
    await fails(circuits, "provider_error")
    clock.now += OPEN_S
    probe = await circuits.enter("p", "m")
    with pytest.raises(ModelError):
        await circuits.enter("p", "m")
    probe.answers()
    await call(circuits, None)


async def test_a_failed_probe_opens_it_for_twice_as_long(circuits: Circuits, clock: Clock) -> None:
    await fails(circuits, "provider_error")
    clock.now += OPEN_S
    await fails(circuits, "provider_error", 1)
    clock.now += OPEN_S
    with pytest.raises(ModelError):
        await circuits.enter("p", "m")
    clock.now += OPEN_S
    await call(circuits, None)


async def test_a_cancelled_probe_leaves_the_next_one_to_another_call(
    circuits: Circuits, clock: Clock
) -> None:
    await fails(circuits, "provider_error")
    clock.now += OPEN_S
    await call(circuits, asyncio.CancelledError())
    await call(circuits, None)


async def test_a_rate_limit_pauses_instead(circuits: Circuits, clock: Clock) -> None:
    await call(circuits, ModelError("rate_limit", "Slow down.", retry_after_s=30.0))
    with pytest.raises(ModelError) as refused:
        await circuits.enter("p", "m")
    assert (refused.value.kind, refused.value.retry_after_s) == ("rate_limit", 30.0)
    await call(circuits, None, "other")
    clock.now += 30.0
    await call(circuits, None)


async def test_a_breaker_that_is_off_never_refuses(clock: Clock) -> None:
    circuits = Circuits(0, OPEN_S, clock)
    await fails(circuits, "unreachable", 20)
    await call(circuits, ModelError("rate_limit", "Slow down.", retry_after_s=30.0))
    await call(circuits, None)
