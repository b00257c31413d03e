"""The activity that sends progress to the client before the answer begins."""

from temporalio import activity

from polyvox.activities.live.channel import Batch
from polyvox.activities.live.journal import Journal
from polyvox.activities.live.relay import Relay
from polyvox.workflows.boundary.backend import SHOW
from polyvox.workflows.boundary.calls import ProgressPart
from polyvox.workflows.events import Event, PartDelta, PartEnded, PartStarted, opened, written


class Progress:
    """Publishes whole parts to the relay; ``show`` is the activity."""

    def __init__(self, relay: Relay, journal: Journal) -> None:
        self._relay = relay
        self._journal = journal

    @activity.defn(name=SHOW)
    async def show(self, shown: ProgressPart) -> None:
        """Publish a part that will also be in the Reply; without a listener it is only there."""
        info = activity.info()
        part = shown.part
        events: list[Event] = [
            PartStarted(opened(part)),
            PartDelta(written(part)),
            PartEnded(part),
        ]
        batch = Batch(info.activity_id, info.attempt, events)
        self._relay.publish(shown.run_id, batch, shown.listener)
        self._journal.publish(shown.run_id, batch)
