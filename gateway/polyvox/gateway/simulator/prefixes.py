"""Counts cached input tokens: those of a prefix that an earlier request to the same model had.

As at providers, a prefix counts from 1024 tokens on, in steps of 128. A prefix ends with the tools,
the system prompt or a message. Messages requests are cached only if they mark something with
``cache_control``, and report what they write to the cache.
"""

import hashlib
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import replace

from polyvox.gateway.simulator import tokens
from polyvox.workflows.conversation import Conversation
from polyvox.workflows.reply import Usage

LEAST = 1024
STEP = 128
_MOST = 10_000
"""The most prefixes that are remembered; the oldest are forgotten first."""


class Prefixes:
    """The prefixes of the requests so far, by model."""

    def __init__(self) -> None:
        self._known: OrderedDict[bytes, None] = OrderedDict()

    def count(self, usage: Usage, model: str, conversation: Conversation, *, writes: bool) -> Usage:
        """Return ``usage`` with its input divided into new, cached and, with ``writes``, written
        tokens. Remembers the request's prefixes."""
        found = [(d, size) for d, size in _prefixes(model, conversation) if size >= LEAST]
        read = max((size for digest, size in found if digest in self._known), default=0)
        for digest, _ in found:
            self._known[digest] = None
            self._known.move_to_end(digest)
        while len(self._known) > _MOST:
            self._known.popitem(last=False)
        read = read // STEP * STEP
        whole = usage.input or 0
        written = max(size for _, size in found) - read if writes and found else 0
        if not read and not written:
            return usage
        return replace(
            usage,
            input=whole - read - written,
            cache_read=read,
            cache_write=written if writes else None,
        )


def _prefixes(model: str, conversation: Conversation) -> Iterator[tuple[bytes, int]]:
    """Yield the digest and the tokens of each prefix, shortest first."""
    digest = hashlib.sha256(model.encode()).digest()
    size = 0
    tools, system = conversation.tools, conversation.system
    messages = (*([system] if system else []), *conversation.messages)
    pieces = [
        (repr(tools), sum(map(tokens.of_tool, tools))),
        *((repr(message), sum(map(tokens.of_part, message.parts))) for message in messages),
    ]
    for text, length in pieces:
        digest = hashlib.sha256(digest + text.encode("utf-8", "surrogatepass")).digest()
        size += length
        yield digest, size
