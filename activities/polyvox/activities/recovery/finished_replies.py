"""Finished Replies as they are stored: before the engine gets them, so that none is bought twice.

The text of a Reply is written once: the ledger stores it, and the engine gets the same text.
"""

import zstandard
from temporalio.api.common.v1 import Payload
from temporalio.common import RawValue

from polyvox.protocols.decoding.exact_objects import read_whole_numbers, write_whole_numbers
from polyvox.workflows.boundary.serialization import dump, load
from polyvox.workflows.reply import Reply

JSON_ENCODING = "json/plain"
"""The encoding of values in histories; see ``hosting/payloads.py``."""

_LEVEL = 1


def text_of(reply: Reply) -> bytes:
    """Return a Reply as JSON."""
    return write_whole_numbers(dump(reply))


def as_result(text: bytes) -> RawValue:
    """Return the text of a Reply as an activity's result."""
    return RawValue(Payload(metadata={"encoding": JSON_ENCODING.encode()}, data=text))


def packed(text: bytes) -> bytes:
    """Return the text of a Reply as the ledger stores it."""
    return zstandard.ZstdCompressor(level=_LEVEL).compress(text)


def unpacked(stored: bytes) -> Reply:
    """Return the Reply that ``packed`` stored."""
    text = zstandard.ZstdDecompressor().decompress(stored)
    reply: Reply = load(read_whole_numbers(text))
    return reply
