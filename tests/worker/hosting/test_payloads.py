"""Values as Temporal's payloads: readable when small, by reference when large."""

from collections.abc import Iterator
from pathlib import Path

import orjson
import pytest
from temporalio.exceptions import ApplicationError

from polyvox.activities.storage.backends.sqlite_blobs import SqliteBlobs
from polyvox.activities.storage.blobs import BlobStore
from polyvox.worker.hosting.payloads import LARGE_BYTES, data_converter
from polyvox.workflows.boundary.calls import ConversationRef, ModelCall
from polyvox.workflows.conversation import Text, Wire
from polyvox.workflows.reply import Reply, Usage


@pytest.fixture
def store(tmp_path: Path) -> Iterator[BlobStore]:
    store = SqliteBlobs(tmp_path / "blobs.db")
    yield store
    store.close()


CALL = ModelCall("run_1", "judge", "openai:gpt-5", ConversationRef("digest"), hidden=("review",))
SHORT = Reply((Text("x"),), usage=Usage(1, output=2), wire=Wire("chat", {"id": "1"}))
LONG = Reply((Text("y" * LARGE_BYTES),))


@pytest.mark.parametrize("value", [CALL, SHORT, LONG, None, {"plain": [1]}])
async def test_values_come_back(store: BlobStore, value: object) -> None:
    """Whatever a workflow and an activity tell each other."""
    converter = data_converter(store)
    assert await converter.decode(await converter.encode([value])) == [value]


async def test_a_small_value_is_readable_in_the_web_ui(store: BlobStore) -> None:
    """Plain JSON, and nothing in the blob store."""
    (payload,) = await data_converter(store).encode([CALL])
    assert payload.metadata["encoding"] == b"json/plain"
    assert orjson.loads(payload.data)["step"] == "judge"
    assert store.stored_bytes() == 0


async def test_a_large_value_travels_as_its_address(store: BlobStore) -> None:
    """The history holds a hundred bytes; another process finds the rest in the store."""
    (payload,) = await data_converter(store).encode([LONG])
    assert payload.ByteSize() < 200
    assert await data_converter(store).decode([payload]) == [LONG]


async def test_a_value_whose_body_is_lost_is_a_failure(store: BlobStore, tmp_path: Path) -> None:
    """One that ends a workflow: what a codec raises would be repeated for ever."""
    payloads = await data_converter(store).encode([LONG])
    emptied = SqliteBlobs(tmp_path / "empty.db")
    with pytest.raises(ApplicationError, match="missing on the server") as lost:
        await data_converter(emptied).decode(payloads)
    assert (lost.value.type, lost.value.non_retryable) == ("not_found", True)
    emptied.close()
