"""Answers to requests whose run an earlier request has started."""

from dataclasses import dataclass
from typing import Protocol as Interface

from polyvox.activities.live.channel import Batch, Channel
from polyvox.activities.tracing.spans import RunSpan
from polyvox.gateway.generate.caller import Caller
from polyvox.gateway.generate.exchange import Exchange, Program
from polyvox.gateway.generate.places import Place
from polyvox.worker.runs.retries import Retries
from polyvox.worker.runs.start import RunRequest, StartedRun, new_run_id
from polyvox.workflows.events import Started


class RetryingProgram(Program, Interface):
    """A program that finds the runs of requests that are sent again."""

    @property
    def retries(self) -> Retries: ...


@dataclass(frozen=True, slots=True)
class AnsweringRun:
    """The run that answers a request; ``is_joined`` if an earlier request has started it."""

    run_id: str
    is_joined: bool

    @property
    def exchange(self) -> type[Exchange]:
        return JoinedExchange if self.is_joined else Exchange


async def answering_run(program: RetryingProgram, caller: Caller) -> AnsweringRun:
    """Return the run of an earlier attempt at this request, or a new one.

    Raises what ``Retries.join`` raises.
    """
    run_id = new_run_id()
    if caller.sent is None:
        return AnsweringRun(run_id, is_joined=False)
    found = await program.retries.join(caller.sent, run_id)
    return AnsweringRun(found, is_joined=found != run_id)


class JoinedExchange(Exchange):
    """Answers from a run that goes on or has ended.

    A client must not get the middle of an answer as its beginning. In the process of the run's
    first listener the relay has kept all events. In another one, what has been sent is not known:
    then an attempt's events are passed on from its first one, and everything else is taken from
    the Reply; with ``from_reply`` all of it.
    """

    from_reply = False

    async def _begin(self, request: RunRequest, channel: Channel, place: Place) -> StartedRun:
        runs = self._program.runs
        self._follow_after_s = 0.0
        await runs.attach(self._run_id)
        if not self._program.relay.is_shared(self._run_id):
            self._begun: set[tuple[str, int]] = set()
            self._select = self._from_beginning
            channel.keep_nothing()
            if self.from_reply or (channel.live and await runs.has_shown(self._run_id)):
                channel.hold_back()
        return StartedRun(runs.find(self._run_id), RunSpan())

    def _from_beginning(self, channel: Channel, batches: list[Batch]) -> list[Batch]:
        """Return the batches of attempts that began while this channel listened."""
        for place, batch in enumerate(batches):
            if (batch.call, batch.attempt) in self._begun:
                continue
            if not isinstance(batch.events[0], Started):
                channel.hold_back()
                return batches[:place]
            self._begun.add((batch.call, batch.attempt))
        return batches
