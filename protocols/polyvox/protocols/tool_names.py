"""The names under which tools are offered to a provider of another protocol than the client's.

Responses has namespaces, the others do not; Messages allows names of 128 characters, OpenAI 64.
What is offered under another name comes back under that name, and the client side undoes it: both
sides compute the offered name from the client's own, so nothing has to be remembered.
"""

from collections.abc import Sequence
from hashlib import sha256
from typing import Final

from polyvox.workflows.conversation import Tool, ToolChoice

JOINT: Final = "__"
"""Stands between namespace and name where a protocol has no namespaces."""

LONGEST: Final = 64
"""Characters that every protocol allows in a name."""

_DIGEST: Final = 8


def flat_name(name: str, namespace: str | None) -> str:
    """Return the one name, without a namespace, of a tool that may live in one."""
    return name if namespace is None else f"{namespace}{JOINT}{name}"


def offered_name(name: str, namespace: str | None = None) -> str:
    """Return the one name of a tool that every protocol takes.

    A name that is too long is cut and ends in a digest of itself, so that two of them stay two.
    """
    whole = flat_name(name, namespace)
    if len(whole) <= LONGEST:
        return whole
    digest = sha256(whole.encode()).hexdigest()[:_DIGEST]
    return f"{whole[: LONGEST - _DIGEST - 1]}_{digest}"


def allowed_tools(tools: Sequence[Tool], choice: ToolChoice | None) -> Sequence[Tool]:
    """Return those of ``tools`` that may be called; a namespace allows all that it holds."""
    if choice is None or choice.allowed is None:
        return tools
    return [t for t in tools if {t.name, t.name.partition(JOINT)[0]} & set(choice.allowed)]
