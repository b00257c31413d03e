"""Converts values for Temporal's histories: readable JSON, and a reference if it is large."""

import asyncio
from collections.abc import Sequence
from typing import Any

from temporalio.api.common.v1 import Payload
from temporalio.converter import (
    BinaryNullPayloadConverter,
    CompositePayloadConverter,
    DataConverter,
    EncodingPayloadConverter,
    PayloadCodec,
    value_to_type,
)

from polyvox.activities.recovery.finished_replies import JSON_ENCODING
from polyvox.activities.storage.blobs import BlobStore, digest_of
from polyvox.protocols.decoding.exact_objects import read_whole_numbers, write_whole_numbers
from polyvox.workflows.boundary.failures import failure
from polyvox.workflows.boundary.serialization import dump, load
from polyvox.workflows.errors import ModelError

LARGE_BYTES = 64 * 1024
"""Larger payloads are in the blob store; their history events contain the digest."""

_SDK = "temporalio."
"""Workflow Streams exchange dataclasses of the SDK."""

_REFERENCE = b"binary/polyvox-blob"
_MISSING = b"binary/polyvox-missing-blob"


class ValueConverter(EncodingPayloadConverter):
    """Converts Polyvox's values to documents; see ``boundary/serialization.py``."""

    @property
    def encoding(self) -> str:
        return JSON_ENCODING

    def to_payload(self, value: Any) -> Payload | None:
        return Payload(
            metadata={"encoding": self.encoding.encode()}, data=write_whole_numbers(dump(value))
        )

    def from_payload(self, payload: Payload, type_hint: type | None = None) -> Any:
        document = read_whole_numbers(payload.data)
        if type_hint is not None and getattr(type_hint, "__module__", "").startswith(_SDK):
            return value_to_type(type_hint, document)
        return load(document)


class MissingConverter(EncodingPayloadConverter):
    """Raises the error of a payload that could not be fetched.

    The codec cannot raise it: Temporal fails the workflow if a converter raises, but retries the
    workflow task forever if a codec raises.
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
    """Stores large payloads in the blob store and loads them."""

    def __init__(self, store: BlobStore) -> None:
        self._store = store

    async def encode(self, payloads: Sequence[Payload]) -> list[Payload]:
        return [
            await self._stored(payload) if payload.ByteSize() > LARGE_BYTES else payload
            for payload in payloads
        ]

    async def decode(self, payloads: Sequence[Payload]) -> list[Payload]:
        # In a thread, because an answer may have many MiB, and this loop serves all streams.
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
    """Return the converter for all clients and workers of one deployment."""
    return DataConverter(
        payload_converter_class=ValuePayloadConverter, payload_codec=Offload(store)
    )
