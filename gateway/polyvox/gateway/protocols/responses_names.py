"""Which of the client's tools a call means, when the model behind speaks another protocol.

A protocol without namespaces is offered ``namespace__name``; one without free-text tools is
offered a function with one string, ``input``. Both are undone here, or the client would not know
its own tool again.
"""

from collections.abc import Iterable

import orjson

from polyvox.workflows.conversation import Tool


class Names:
    """The client's tools by the names under which models were offered them."""

    __slots__ = ("_custom", "_spaced")

    def __init__(self, tools: Iterable[Tool]) -> None:
        self._custom: set[str] = set()
        self._spaced: dict[str, tuple[str, str]] = {}
        for tool in tools:
            if tool.kind == "custom":
                self._custom.add(tool.name)
            own = tool.on_wire("responses")
            if own is not None and "namespace" in own and "tool" in own:
                name = own["tool"].get("name")
                if name is not None:
                    self._spaced[tool.name] = (own["namespace"]["name"], name)

    def is_custom(self, name: str) -> bool:
        """Whether the tool offered under ``name`` takes free text."""
        return name in self._custom

    def own(self, name: str, namespace: str | None) -> tuple[str, str | None]:
        """Return the client's own name and namespace for a call of ``name``."""
        if namespace is None and name in self._spaced:
            namespace, name = self._spaced[name]
        return name, namespace


def unwrapped(arguments: str) -> str:
    """Return the free text inside ``{"input": ...}``; other text as it is."""
    try:
        json = orjson.loads(arguments)
    except orjson.JSONDecodeError:
        return arguments
    text = json.get("input") if isinstance(json, dict) else None
    return text if isinstance(text, str) else arguments
