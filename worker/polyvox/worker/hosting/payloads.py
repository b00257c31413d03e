"""How values lie in Temporal's histories: as readable JSON, and by reference when large."""

import asyncio
from collections.abc import Sequence
from typing import Any

import orjson
from temporalio.api.common.v1 import Payload
from temporalio.converter import (
    BinaryNullPayloadConverter,
    CompositePayloadConverter,
    DataConverter,
    EncodingPayloadConverter,
    PayloadCodec,
)

from polyvox.activities.storage.blobs import BlobStore, digest_of
from polyvox.workflows.boundary.failures import failure
from polyvox.workflows.boundary.serialization import dump, load
from polyvox.workflows.errors import ModelError

LARGE_BYTES = 64 * 1024
"""A larger payload lies in the blob store; its history event holds the address."""

_REFERENCE = b"binary/polyvox-blob"
_MISSING = b"binary/polyvox-missing-blob"


class ValueConverter(EncodingPayloadConverter):
    """Our values as documents; see ``documents.py``."""

    @property
    def encoding(self) -> str:
        return "json/plain"

    def to_payload(self, value: Any) -> Payload | None:
        return Payload(
            metadata={"encoding": self.encoding.encode()}, data=orjson.dumps(dump(value))
        )

    def from_payload(self, payload: Payload, type_hint: type | None = None) -> Any:
        return load(orjson.loads(payload.data))


class MissingConverter(EncodingPayloadConverter):
    """Raises the error that a payload could not be fetched with.

    Here and not in the codec: Temporal fails a workflow for what a converter raises, but repeats
    the workflow task for ever when the codec raises.
    """

    @property
    def encoding(self) -> str:
        return _MISSING.decode()

    def to_payload(self, value: Any) -> Payload | None:
        return None

    def from_payload(self, payload: Payload, type_hint: type | None = None) -> Any:
        raise failure(ModelError("not_found", payload.data.decode()), retryable=False)


class ValuePayloadConverter(CompositePayloadConverter):
    """The payload converter of every client and worker."""

    def __init__(self) -> None:
        super().__init__(BinaryNullPayloadConverter(), MissingConverter(), ValueConverter())


class Offload(PayloadCodec):
    """Puts large payloads into the blob store and gets them back."""

    def __init__(self, store: BlobStore) -> None:
        self._store = store

    async def encode(self, payloads: Sequence[Payload]) -> list[Payload]:
        return [
            await self._stored(payload) if payload.ByteSize() > LARGE_BYTES else payload
            for payload in payloads
        ]

    async def decode(self, payloads: Sequence[Payload]) -> list[Payload]:
        # In a thread: an answer may have many MiB, and every stream waits for this loop.
        return [
            await asyncio.to_thread(self._loaded, payload)
            if payload.metadata.get("encoding") == _REFERENCE
            else payload
            for payload in payloads
        ]

    async def _stored(self, payload: Payload) -> Payload:
        def store() -> str:
            body = payload.SerializeToString()
            digest = digest_of(body)
            self._store.put({digest: body})
            return digest

        digest = await self._store.on_writer(store)
        return Payload(metadata={"encoding": _REFERENCE}, data=digest.encode())

    def _loaded(self, payload: Payload) -> Payload:
        try:
            return Payload.FromString(self._store.get(payload.data.decode()))
        except ModelError as missing:
            if missing.kind != "not_found":
                raise
            return Payload(metadata={"encoding": _MISSING}, data=missing.message.encode())


def data_converter(store: BlobStore) -> DataConverter:
    """Return the converter that clients and workers of one deployment share."""
    return DataConverter(
        payload_converter_class=ValuePayloadConverter, payload_codec=Offload(store)
    )
