"""Gives the calls of a provider's answer the names of the conversation's tools, and unique ids.

A provider may have been offered a tool under another name (``tool_names``). Flows and clients know
tools by their original names. Some servers give two calls of one answer the same id; clients pair
a call with its result by the id.
"""

from collections.abc import Iterable
from dataclasses import replace
from typing import Final

from polyvox.protocols.history.pairing import UniqueIds
from polyvox.protocols.tool_names import offered_name
from polyvox.workflows.conversation import Part, Tool, ToolCall
from polyvox.workflows.events import Event, PartEnded, PartStarted

_LONGEST_ID: Final = 200
_BOUNDS: Final = (PartStarted, PartEnded)


class AnsweredCalls:
    """The calls of one answer."""

    __slots__ = ("_id", "_ids", "_names")

    def __init__(self, tools: Iterable[Tool]) -> None:
        offered = ((offered_name(tool.name), tool.name) for tool in tools)
        self._names = {offer: name for offer, name in offered if offer != name}
        self._ids = UniqueIds(_LONGEST_ID)
        self._id = ""

    def feed(self, events: list[Event]) -> list[Event]:
        """Return ``events`` with the calls as the conversation knows them."""
        for event in events:
            if isinstance(event, _BOUNDS) and isinstance(event.part, ToolCall):
                return [self._event(event) for event in events]
        return events

    def _event(self, event: Event) -> Event:
        match event:
            case PartStarted(ToolCall() as call):
                self._id = self._ids.take(call.id)
                return PartStarted(self._known(call))
            case PartEnded(ToolCall() as call):
                return PartEnded(self._known(call))
            case _:
                return event

    def _known(self, call: ToolCall) -> Part:
        # The element keeps the provider's name of the tool: the provider gets it back.
        name = self._names.get(call.name)
        if name is not None and call.namespace is None:
            call = replace(call, name=name)
        return call if call.id == self._id else call.edited(id=self._id)
