"""Translates tool calls of a model behind another protocol back to the client's own tools.

A protocol without namespaces is offered ``namespace__name``, one without free-text tools a
function with one string, ``input``, and a name that is too long for it is shortened. All three are
undone here, because the client knows its tools only by their original names and forms.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace

import orjson

from polyvox.protocols.client_side import Ask
from polyvox.protocols.neutral import neutral_of
from polyvox.protocols.tool_names import offered_name
from polyvox.workflows.conversation import Part, Tool, ToolCall
from polyvox.workflows.events import Event, PartDelta, PartEnded, PartStarted
from polyvox.workflows.reply import Reply


@dataclass(frozen=True, slots=True)
class _Own:
    name: str
    namespace: str | None
    is_custom: bool


class OwnCalls:
    """The client's tools by the names under which a model may call them."""

    __slots__ = ("_holds", "_own")

    def __init__(self, tools: Iterable[Tool]) -> None:
        self._holds = False
        self._own: dict[str, _Own] = {}
        for tool in tools:
            own = _own_name(tool)
            offered = offered_name(tool.name)
            if own.is_custom or own.namespace is not None or offered != own.name:
                self._own[offered] = self._own[tool.name] = own

    @property
    def renames(self) -> bool:
        """Whether any call may need a change."""
        return bool(self._own)

    def event(self, event: Event) -> Event | None:
        """Return ``event`` in terms of the client's own tools, or None if it must be dropped.

        The text of a wrapped call is known only when its JSON is complete, so it has no deltas.
        """
        match event:
            case PartDelta():
                return None if self._holds else event
            case PartStarted(part):
                self._holds = self._is_wrapped(part)
                return PartStarted(self.call(part))
            case PartEnded(part):
                self._holds = False
                return PartEnded(self.call(part))
            case _:
                return event

    def call(self, part: Part) -> Part:
        """Return ``part`` as a call of the client's own tool; other parts unchanged."""
        if not isinstance(part, ToolCall) or part.namespace is not None:
            return part
        own = self._own.get(part.name)
        if own is None:
            return part
        named = (
            part
            if (own.name, own.namespace) == (part.name, part.namespace)
            else part.edited(name=own.name, namespace=own.namespace)
        )
        if not self._is_wrapped(part):
            return named
        return named.edited(kind="custom", arguments=_unwrapped(part.arguments))

    def _is_wrapped(self, part: Part) -> bool:
        """Whether ``part`` is a function call that stands for a call of a free-text tool."""
        if not isinstance(part, ToolCall) or part.kind == "custom" or part.namespace is not None:
            return False
        own = self._own.get(part.name)
        return own is not None and own.is_custom

    def reply(self, reply: Reply) -> Reply:
        """Return ``reply`` with calls of the client's own tools."""
        if not self._own:
            return reply
        return replace(reply, parts=tuple(self.call(part) for part in reply.parts))


def _own_name(tool: Tool) -> _Own:
    spaced = neutral_of(tool.wire).namespace(tool.wire.json) if tool.wire is not None else None
    if spaced is not None:
        namespace, name = spaced
        return _Own(name, namespace, tool.kind == "custom")
    return _Own(tool.name, None, tool.kind == "custom")


def _unwrapped(arguments: str) -> str:
    """Return the free text inside ``{"input": ...}``; other text as it is."""
    try:
        json = orjson.loads(arguments)
    except orjson.JSONDecodeError:
        return arguments
    text = json.get("input") if isinstance(json, dict) else None
    return text if isinstance(text, str) else arguments


def own_calls(ask: Ask) -> OwnCalls | None:
    """Return the translator for the client of ``ask``, or None if no call needs a change."""
    calls = OwnCalls(ask.conversation.tools)
    return calls if calls.renames else None


def restored(reply: Reply, ask: Ask) -> Reply:
    """Return ``reply`` with calls of the client's own tools."""
    return OwnCalls(ask.conversation.tools).reply(reply)
