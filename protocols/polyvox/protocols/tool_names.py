"""The names under which tools are offered to a provider of another protocol than the client's.

Responses has namespaces, the others do not; Messages allows names of 128 characters, OpenAI 64, and
both only ASCII letters, digits, ``_`` and ``-`` (their API references). A call comes back under the
offered name, and the original is restored: both sides compute the offered name from the original,
so nothing has to be stored.
"""

import re
from collections.abc import Sequence
from hashlib import sha256
from typing import Final

from polyvox.workflows.conversation import Tool, ToolChoice

JOINT: Final = "__"
"""Separates namespace and name in protocols without namespaces."""

LONGEST: Final = 64
"""Characters that every protocol allows in a name."""

_DIGEST: Final = 8

_PLAIN: Final = re.compile(r"[a-zA-Z0-9_-]{1,64}")
_REFUSED: Final = re.compile(r"[^a-zA-Z0-9_-]+")
_REPLACED: Final = re.compile(r"_x[0-9a-f]{8}$")
"""The end of the names that replace others. An original name that ends like this is replaced too,
so no replacement is the name of another tool."""


def flat_name(name: str, namespace: str | None) -> str:
    """Return a single name for a tool that may be in a namespace."""
    return name if namespace is None else f"{namespace}{JOINT}{name}"


def offered_name(name: str, namespace: str | None = None) -> str:
    """Return a single name for a tool that every protocol accepts, another for each tool.

    In a name that is too long or has other characters these are replaced, and it ends in a digest
    of the original.
    """
    whole = flat_name(name, namespace)
    if _PLAIN.fullmatch(whole) and not _REPLACED.search(whole):
        return whole
    digest = sha256(whole.encode(errors="surrogatepass")).hexdigest()[:_DIGEST]
    end = f"_x{digest}"
    return f"{_REFUSED.sub('_', whole)[: LONGEST - len(end)]}{end}"


def allowed_tools(tools: Sequence[Tool], choice: ToolChoice | None) -> Sequence[Tool]:
    """Return the ``tools`` that may be called; an allowed namespace allows all of its tools."""
    if choice is None or choice.allowed is None:
        return tools
    return [t for t in tools if {t.name, t.name.partition(JOINT)[0]} & set(choice.allowed)]
