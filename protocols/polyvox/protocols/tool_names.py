"""The names under which tools are offered to a provider of another protocol than the client's.

Responses has namespaces, the others do not; Messages allows names of 128 characters, OpenAI 64.
A call comes back under the offered name, and the client side restores the original: both sides
compute the offered name from the client's own, so nothing has to be stored.
"""

from collections.abc import Sequence
from hashlib import sha256
from typing import Final

from polyvox.workflows.conversation import Tool, ToolChoice

JOINT: Final = "__"
"""Separates namespace and name in protocols without namespaces."""

LONGEST: Final = 64
"""Characters that every protocol allows in a name."""

_DIGEST: Final = 8


def flat_name(name: str, namespace: str | None) -> str:
    """Return a single name for a tool that may be in a namespace."""
    return name if namespace is None else f"{namespace}{JOINT}{name}"


def offered_name(name: str, namespace: str | None = None) -> str:
    """Return a single name for a tool that every protocol accepts.

    A name that is too long is cut and ends in a digest of itself, so that it stays unique.
    """
    whole = flat_name(name, namespace)
    if len(whole) <= LONGEST:
        return whole
    digest = sha256(whole.encode()).hexdigest()[:_DIGEST]
    return f"{whole[: LONGEST - _DIGEST - 1]}_{digest}"


def allowed_tools(tools: Sequence[Tool], choice: ToolChoice | None) -> Sequence[Tool]:
    """Return the ``tools`` that may be called; an allowed namespace allows all of its tools."""
    if choice is None or choice.allowed is None:
        return tools
    return [t for t in tools if {t.name, t.name.partition(JOINT)[0]} & set(choice.allowed)]
