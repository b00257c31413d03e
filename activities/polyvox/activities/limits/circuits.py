"""Circuit breakers: a provider that keeps failing is not asked for a while.

After several failures in a row the circuit is open: calls fail at once, with the last failure's
kind, so that a flow's fallback comes now instead of after a minute. When the time is over, a single
call probes the provider; its success closes the circuit. A provider that asked for a pause with
status 429 gets one.

That a provider cannot be reached counts for all its models; time-outs and statuses of 500 and above
count for the model, because a provider's models fail separately. Every other answer shows that the
provider works, including one that refuses the request or the key.
"""

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass

from polyvox.workflows.boundary.failures import LONGEST_RETRY_WAIT_S
from polyvox.workflows.errors import ErrorKind, ModelError

log = logging.getLogger(__name__)

LONGEST_OPEN_S = 60.0
LONGEST_PAUSE_S = 60.0

_OF_MODEL: tuple[ErrorKind, ...] = ("timeout", "provider_error", "overloaded")
_NEITHER: tuple[ErrorKind, ...] = ("cancelled", "stream_cut", "bad_stream", "internal", "too_large")
_MOST_CIRCUITS = 10_000


@dataclass(slots=True)
class _Circuit:
    failures: int = 0
    opened: int = 0
    open_until: float = 0.0
    paused_until: float = 0.0
    is_probing: bool = False
    error: ModelError | None = None


class Circuits:
    """The circuits of a process. Used on the event loop only.

    A circuit opens after ``failures`` in a row (0: never) for ``open_s`` seconds, and for twice as
    long after each failed probe, up to a minute.
    """

    def __init__(
        self, failures: int, open_s: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._failures = failures
        self._open_s = open_s
        self._clock = clock
        self._circuits: dict[tuple[str, str], _Circuit] = {}

    async def enter(self, provider: str, model: str) -> "Passage":
        """Return the passage of a call, after a short pause if the provider asked for one.

        Raises the ModelError of the last failure if the circuit is open, and
        ModelError("rate_limit") during a longer pause.
        """
        if not self._failures:
            return Passage(self, provider, {})
        circuits = {name: self._circuit(provider, name) for name in ("", model)}
        while (wait_s := circuits[model].paused_until - self._clock()) > 0:
            if wait_s > LONGEST_RETRY_WAIT_S:
                raise _paused(provider, wait_s)
            await asyncio.sleep(wait_s)
        for circuit in circuits.values():
            self._require_closed(circuit, provider)
        for circuit in circuits.values():
            circuit.is_probing = circuit.failures >= self._failures
        return Passage(self, provider, circuits)

    def _circuit(self, provider: str, model: str) -> _Circuit:
        if len(self._circuits) >= _MOST_CIRCUITS:  # clients choose the models' names
            self._circuits.clear()
        return self._circuits.setdefault((provider, model), _Circuit())

    def _require_closed(self, circuit: _Circuit, provider: str) -> None:
        if circuit.failures < self._failures or circuit.error is None:
            return
        wait_s = circuit.open_until - self._clock()
        if wait_s > 0 or circuit.is_probing:
            raise _open(circuit.error, provider, circuit.failures, wait_s)

    def fail(self, circuit: _Circuit, provider: str, error: ModelError) -> None:
        """Count a failure; open the circuit if it is one too many, or a probe's."""
        circuit.failures += 1
        circuit.error = error
        if circuit.failures < self._failures or self._clock() < circuit.open_until:
            return
        open_s = min(self._open_s * 2**circuit.opened, LONGEST_OPEN_S)
        circuit.open_until = self._clock() + open_s
        circuit.opened = min(circuit.opened + 1, 10)
        log.warning(
            "Provider %s has failed %d times in a row (%s); it is not asked for %.0f s.",
            *(provider, circuit.failures, error.kind, open_s),
        )

    def succeed(self, circuit: _Circuit, provider: str) -> None:
        """Close the circuit."""
        if circuit.failures >= self._failures:
            log.warning("Provider %s answers again.", provider)
        circuit.failures = circuit.opened = 0
        circuit.open_until = 0.0
        circuit.error = None

    def pause(self, circuit: _Circuit, pause_s: float) -> None:
        """Do not ask for ``pause_s`` seconds, at most a minute."""
        circuit.paused_until = self._clock() + min(pause_s, LONGEST_PAUSE_S)


class Passage:
    """One call to a provider; it counts how the call ended."""

    def __init__(self, of: Circuits, provider: str, circuits: dict[str, _Circuit]) -> None:
        self._of = of
        self._provider = provider
        self._circuits = circuits

    def ended(self, error: BaseException | None) -> None:
        """Count the end of the call: with ``error``, or with an answer."""
        circuits = self._circuits
        if not circuits:
            return
        self._circuits = {}
        for circuit in circuits.values():
            circuit.is_probing = False
        whole, of_model = circuits.values()
        if error is None:
            self._succeed(circuits)
        elif not isinstance(error, ModelError) or error.kind in _NEITHER:
            return
        elif error.kind == "unreachable":
            self._of.fail(whole, self._provider, error)
        elif error.kind in _OF_MODEL:
            self._of.fail(of_model, self._provider, error)
        else:
            self._succeed(circuits)
            if error.kind == "rate_limit" and error.retry_after_s:
                self._of.pause(of_model, error.retry_after_s)

    def answers(self) -> None:
        """Count the call as a success now: the provider has begun its answer."""
        circuits, self._circuits = self._circuits, {}
        for circuit in circuits.values():
            circuit.is_probing = False
        self._succeed(circuits)

    def _succeed(self, circuits: dict[str, _Circuit]) -> None:
        for circuit in circuits.values():
            self._of.succeed(circuit, self._provider)


def _open(last: ModelError, provider: str, failures: int, wait_s: float) -> ModelError:
    wait_s = max(wait_s, 0.0)
    return ModelError(
        last.kind,
        f"{last.message} Provider {provider!r} has failed {failures} times in a row, so it was not "
        f"asked; it will be asked again in {wait_s:.0f} s.",
        status=last.status,
        # Longer than Temporal waits, so that a flow's fallback comes at once.
        retry_after_s=max(wait_s, LONGEST_RETRY_WAIT_S + 1),
        provider=provider,
        code=last.code,
        cost_usd=0.0,
    )


def _paused(provider: str, wait_s: float) -> ModelError:
    return ModelError(
        "rate_limit",
        f"Provider {provider!r} asked for a pause, which lasts for {wait_s:.0f} s more.",
        retry_after_s=wait_s,
        provider=provider,
        cost_usd=0.0,
    )
