"""Stores the opaque state of tool calls that clients cannot carry, by the id of the call.

See ``polyvox.protocols.chat.call_states``. The states are in the blob store and their digests in
the table of hidden transcripts, under keys of their own. If a state is lost, the call is sent
without it.
"""

import asyncio
import hashlib
import re
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

import orjson
from sqlalchemy import Engine
from sqlmodel import Session, col, select

from polyvox.activities.storage.blobs import BlobStore, digest_of
from polyvox.activities.storage.hidden_transcripts import TranscriptRow, keep_transcripts
from polyvox.protocols.wire_protocol import CallStates
from polyvox.workflows.conversation import Conversation, Json, Part
from polyvox.workflows.errors import ModelError

_NOT_COMPARED: Final = re.compile(r"[^a-zA-Z0-9]")
"""A client may have got the id in the alphabet of its own protocol."""

_MOST_ABSENT: Final = 50_000
"""Keys without a state that are not looked up again. A state is stored before its call's id can
come back, so a call without one never gets one."""

_MOST_KEYS: Final = 500
"""Keys of one query; databases limit the number of variables."""


@dataclass(frozen=True, slots=True)
class Place:
    """Whose calls: those of an API key's requests to one provider."""

    key_id: str
    provider: str

    def key(self, call_id: str) -> str:
        plain = _NOT_COMPARED.sub("", call_id)
        said = f"call state\0{self.key_id}\0{self.provider}\0{plain}"
        return hashlib.sha256(said.encode(errors="surrogatepass")).hexdigest()


class CallStateStore:
    """States by the id of their call."""

    def __init__(self, engine: Engine, store: BlobStore) -> None:
        self._engine = engine
        self._store = store
        self._absent: set[str] = set()

    async def remember(self, parts: Iterable[Part], states: CallStates, place: Place) -> None:
        """Store the states of a reply's calls, durable on return."""
        found = states.of(parts)
        if not found:
            return
        bodies = {place.key(call_id): orjson.dumps(state) for call_id, state in found.items()}

        def write() -> None:
            self._store.put({digest_of(body): body for body in bodies.values()})
            keep_transcripts(self._engine, {k: digest_of(body) for k, body in bodies.items()})

        await self._store.on_writer(write)
        self._absent.difference_update(bodies)

    async def restored(
        self, conversation: Conversation, states: CallStates, place: Place
    ) -> Conversation:
        """Return ``conversation`` with the states of the calls that came without them."""
        lacking = states.lacking(conversation)
        if not lacking:
            return conversation
        keys = {call_id: place.key(call_id) for call_id in lacking}
        asked = {call_id: key for call_id, key in keys.items() if key not in self._absent}
        if not asked:
            return conversation
        found = await asyncio.to_thread(self._find, asked)
        if len(self._absent) > _MOST_ABSENT:
            self._absent.clear()
        self._absent.update(key for call_id, key in asked.items() if call_id not in found)
        return states.restored(conversation, found) if found else conversation

    def _find(self, keys: Mapping[str, str]) -> dict[str, Json]:
        digests: dict[str, str] = {}
        with Session(self._engine) as session:
            for some in _in_groups(list(keys.values())):
                asked = select(TranscriptRow).where(col(TranscriptRow.key).in_(some))
                digests |= {row.key: row.digest for row in session.exec(asked)}
        found: dict[str, Json] = {}
        for call_id, key in keys.items():
            # A missing blob is already logged; the call goes without its state.
            with suppress(ModelError):
                if key in digests:
                    found[call_id] = orjson.loads(self._store.get(digests[key]))
        return found


def _in_groups(keys: list[str]) -> Iterable[list[str]]:
    return (keys[at : at + _MOST_KEYS] for at in range(0, len(keys), _MOST_KEYS))
