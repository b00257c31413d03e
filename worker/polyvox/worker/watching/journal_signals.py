"""Reads the journal of a run from the signals in its history."""

import base64
from typing import Any

from temporalio.api.common.v1 import Payload
from temporalio.api.history.v1 import HistoryEvent
from temporalio.contrib.workflow_streams import PublishInput
from temporalio.converter import DataConverter

from polyvox.activities.live.journal_entries import TOPIC, Entry

PUBLISH = "__temporal_workflow_stream_publish"
"""The signal of Temporal's Workflow Streams that carries what is published."""


class JournalSignals:
    """Reads the entries of one run. A signal that was sent twice is read once."""

    def __init__(self, converter: DataConverter) -> None:
        self._converter = converter
        self._seen: dict[str, int] = {}

    async def entries(self, event: HistoryEvent) -> list[Entry]:
        """Return the entries in a signal; none if it is another one, or known."""
        signal = event.workflow_execution_signaled_event_attributes
        if signal.signal_name != PUBLISH:
            return []
        values: list[Any] = await self._converter.decode(signal.input.payloads, [PublishInput])
        published: PublishInput = values[0]
        if published.sequence <= self._seen.get(published.publisher_id, 0):
            return []
        self._seen[published.publisher_id] = published.sequence
        from_payload = self._converter.payload_converter.from_payload
        return [
            from_payload(Payload.FromString(base64.b64decode(item.data)))
            for item in published.items
            if item.topic == TOPIC
        ]
