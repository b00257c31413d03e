"""Conversations in the blob store: each element is stored once, even if many turns repeat it.

A conversation is stored as a manifest: the digests of its elements (messages, tools, system,
options) in order. The lists of digests are blobs too, split into chunks of a fixed length, so a
turn that adds two messages to hundreds stores only the last chunk again. An element parsed from a
client's request is stored as its wire document and parsed again when loaded, so its typed form is
not stored too. Each long string in an element (a file's text, an image's base64) is a separate
blob: an agent that only moves a cache marker to an old message stores a few bytes, not the message.

Credentials in tools and options are encrypted (``credential_seal``).

Loaded conversations are cached by digest, limited in bytes.
"""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from threading import Lock
from typing import Any, Generic, TypeVar

import orjson

from polyvox.activities.storage.blobs import RENEWED_S, BlobStore, digest_of
from polyvox.activities.storage.credential_seal import CredentialSeal
from polyvox.protocols.decoding.exact_objects import ExactObject, exact_object
from polyvox.protocols.table import PROTOCOLS
from polyvox.protocols.wire_protocol import Protocols
from polyvox.workflows.boundary.serialization import dump, load
from polyvox.workflows.conversation import Conversation, Json, Message, Options, Tool

T = TypeVar("T")

_LONG = 1024
"""The least characters of a string in an element that is stored as a separate blob."""

_REF = "$polyvox.blob"

_RUN = 16
"""The digests in one chunk of a list."""

_DIGEST_BYTES = 32

_ELEMENT_BYTES = 1024
"""The memory of a message, part or tool besides its text: typed form, wire document, dicts."""

Element = Message | Tool | Options

GetAll = Callable[[Iterable[str]], dict[str, bytes]]
"""Returns bodies by digest, as ``BlobStore.get_all`` does."""


class Recent(Generic[T]):
    """The most recently used values by digest, bounded by the sum of their sizes in bytes.

    It is used on the event loop, in the blob writer and in the workflows' threads.
    """

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._held = 0
        self._values: OrderedDict[str, tuple[T, int]] = OrderedDict()
        self._lock = Lock()

    def get(self, digest: str) -> T | None:
        with self._lock:
            found = self._values.get(digest)
            if found is None:
                return None
            self._values.move_to_end(digest)
            return found[0]

    def keep(self, digest: str, value: T, size: int) -> None:
        with self._lock:
            if (known := self._values.pop(digest, None)) is not None:
                self._held -= known[1]
            self._values[digest] = (value, size)
            self._held += size
            while self._held > self._capacity and len(self._values) > 1:
                _, (_, dropped) = self._values.popitem(last=False)
                self._held -= dropped


@dataclass(frozen=True, slots=True)
class _Packed:
    """A conversation ready to be stored: its manifest's digest and every blob it needs."""

    digest: str
    blobs: dict[str, bytes]
    size: int


class Bodies:
    """Stores and loads conversations."""

    def __init__(
        self,
        store: BlobStore,
        *,
        protocols: Protocols = PROTOCOLS,
        cache_bytes: int = 64 * 1024 * 1024,
        seal: CredentialSeal | None = None,
    ) -> None:
        self._seal = seal or CredentialSeal.of_process()
        self._protocols = protocols
        self._store = store
        self._conversations: Recent[Conversation] = Recent(cache_bytes)
        # When this process last put each blob.
        self._stored: Recent[float] = Recent(100_000)

    async def put(self, conversation: Conversation, owner: str) -> str:
        """Store a conversation of the key ``owner`` and return its digest; durable on return.

        Its credentials are stored encrypted, and what ``fetch`` returns has them so; ``opened``
        decrypts them. Raises ModelError("invalid_request") if one is encrypted for another owner.
        """
        put_at = time.monotonic()
        sealed, packed = await self._store.on_writer(lambda: self._put(conversation, owner))
        for digest in packed.blobs:
            self._stored.keep(digest, put_at, 1)
        self._conversations.keep(packed.digest, sealed, _weight(sealed, packed.size))
        return packed.digest

    def opened(self, conversation: Conversation, owner: str) -> Conversation:
        """Return the conversation with its credentials as its ``owner`` sent them.

        Raises ModelError("invalid_request") if they are another owner's or the key was replaced.
        """
        return self._seal.opened(conversation, owner)

    async def fetch(self, digest: str) -> Conversation:
        """Return what ``get`` returns; read the store in a thread if that is necessary.

        A megabyte takes some 60 ms to read and parse, which would delay all streams.
        """
        known = self._conversations.get(digest)
        return known if known is not None else await asyncio.to_thread(self.get, digest)

    def get(self, digest: str) -> Conversation:
        """Return a stored conversation; the same object that was put while it is cached.

        Blocks. Raises ModelError("not_found") if a part of it is not stored.
        """
        known = self._conversations.get(digest)
        if known is None:
            known, size = self._load(digest)
            self._conversations.keep(digest, known, _weight(known, size))
        return known

    def _put(self, conversation: Conversation, owner: str) -> tuple[Conversation, _Packed]:
        sealed = self._seal.sealed(conversation, owner)
        packed = pack(sealed, self._is_stored)
        self._store.put(packed.blobs)
        return sealed, packed

    def _is_stored(self, digest: str) -> bool:
        """Return whether this process put a blob not long ago, so that no collection deletes it."""
        put_at = self._stored.get(digest)
        return put_at is not None and time.monotonic() - put_at < RENEWED_S

    def _load(self, digest: str) -> tuple[Conversation, int]:
        """Read a conversation: four queries of a database server, however long it is."""
        manifest, documents, bodies = _read(digest, self._store.get_all)

        def element(address: str) -> Any:
            return _element(_joined(documents[address], bodies.__getitem__), self._protocols)

        def all_of(runs: list[str]) -> tuple[Any, ...]:
            return tuple(element(address) for run in runs for address in _digests(bodies[run]))

        return Conversation(
            messages=all_of(manifest["messages"]),
            system=element(manifest["system"]) if manifest["system"] else None,
            tools=all_of(manifest["tools"]),
            options=element(manifest["options"]),
            headers=tuple((name, value) for name, value in manifest["headers"]),
        ), sum(map(len, bodies.values()))


def stored_parts(digest: str, get_all: GetAll) -> set[str]:
    """Return the digests of all blobs of a conversation. Raises what ``get_all`` raises."""
    return {*_read(digest, get_all)[2]}


def _read(digest: str, get_all: GetAll) -> tuple[dict[str, Any], dict[str, Json], dict[str, bytes]]:
    """Return a conversation's manifest, the documents of its elements, and all its bodies."""
    bodies = get_all([digest])
    manifest = orjson.loads(bodies[digest])
    runs = [*manifest["messages"], *manifest["tools"]]
    single = [address for address in (manifest["system"], manifest["options"]) if address]
    bodies |= get_all({*runs, *single})
    elements = {*single, *(address for run in runs for address in _digests(bodies[run]))}
    bodies |= get_all(elements - bodies.keys())
    documents = {address: orjson.loads(bodies[address]) for address in elements}
    apart = {address for document in documents.values() for address in _references(document)}
    bodies |= get_all(apart - bodies.keys())
    return manifest, documents, bodies


def pack(conversation: Conversation, stored: Callable[[str], bool] = lambda _: False) -> _Packed:
    """Return the manifest's digest and the blobs of ``conversation`` that are not ``stored``."""
    blobs: dict[str, bytes] = {}
    size = 0

    def keep(body: bytes) -> str:
        nonlocal size
        size += len(body)
        digest = digest_of(body)
        if not stored(digest):
            blobs[digest] = body
        return digest

    def address(element: Element, sort: str) -> str:
        return keep(orjson.dumps(_split(_document(element, sort), keep)))

    def runs(elements: Sequence[Element], sort: str) -> list[str]:
        found = [bytes.fromhex(address(element, sort)) for element in elements]
        return [keep(b"".join(found[at : at + _RUN])) for at in range(0, len(found), _RUN)]

    system = conversation.system
    manifest = {
        "messages": runs(conversation.messages, "message"),
        "system": address(system, "system") if system is not None else None,
        "tools": runs(conversation.tools, "tool"),
        "options": address(conversation.options, "options"),
        "headers": conversation.headers,
    }
    return _Packed(keep(orjson.dumps(manifest)), blobs, size)


def _weight(conversation: Conversation, size: int) -> int:
    """Return the approximate memory of a conversation in bytes; ``size`` is that of its JSON."""
    parts = sum(len(message.parts) for message in conversation.messages)
    elements = len(conversation.messages) + parts + len(conversation.tools)
    return size + elements * _ELEMENT_BYTES


def _digests(run: bytes) -> list[str]:
    return [run[at : at + _DIGEST_BYTES].hex() for at in range(0, len(run), _DIGEST_BYTES)]


def _document(element: Element, sort: str) -> Json:
    wire = element.wire
    if wire is None:
        return {"value": dump(element)}
    # The typed fields of Options may have been edited; those of other elements equal their wire.
    edits = {"value": dump(element.edited(wire=None))} if isinstance(element, Options) else {}
    return {"wire": wire.json, "protocol": wire.protocol, "sort": sort, **edits}


def _element(document: Json, protocols: Protocols) -> Any:
    if "wire" not in document:
        return load(document["value"])
    parsed = protocols[document["protocol"]].elements[document["sort"]](document["wire"])
    return load(document["value"]).edited(wire=parsed.wire) if "value" in document else parsed


def _split(document: Json, keep: Callable[[bytes], str]) -> Json:
    """Return ``document`` with each long string replaced by the digest of its blob."""
    if isinstance(document, str):
        return {_REF: keep(document.encode())} if len(document) >= _LONG else document
    if isinstance(document, dict):
        if isinstance(document, ExactObject):
            return {_REF: keep(document.text.encode()), "whole": True}
        if _REF in document:  # a client uses the name too: store its dict whole
            return {_REF: keep(orjson.dumps(document)), "whole": True}
        return {name: _split(value, keep) for name, value in document.items()}
    if isinstance(document, list | tuple):
        return [_split(value, keep) for value in document]
    return document


def _references(document: Json) -> Iterator[str]:
    """Yield the digests of the strings that ``_split`` has replaced."""
    if isinstance(document, dict):
        if _REF in document:
            yield document[_REF]
            return
        for value in document.values():
            yield from _references(value)
    elif isinstance(document, list):
        for value in document:
            yield from _references(value)


def _joined(document: Json, body: Callable[[str], bytes]) -> Json:
    if isinstance(document, dict):
        if _REF in document:
            found = body(document[_REF])
            if "whole" not in document:
                return found.decode()
            whole: dict[str, Json] = orjson.loads(found)
            return exact_object(whole, found.decode())
        return {name: _joined(value, body) for name, value in document.items()}
    if isinstance(document, list):
        return [_joined(value, body) for value in document]
    return document
