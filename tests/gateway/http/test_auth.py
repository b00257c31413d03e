"""Keys of requests, looked up in a real ledger."""

from collections.abc import AsyncIterator, Mapping
from pathlib import Path

import pytest

from polyvox.activities.ledger.ledger import Ledger
from polyvox.activities.storage.database import database_file, file_url
from polyvox.gateway.http.auth import authenticate
from polyvox.protocols.table import PROTOCOLS
from polyvox.workflows.errors import ModelError
from tests.protocols.toy.protocol import TOY


@pytest.fixture
async def ledger(tmp_path: Path) -> AsyncIterator[Ledger]:
    async with Ledger.open(file_url(database_file(tmp_path))) as ledger:
        yield ledger


@pytest.mark.parametrize(
    "headers",
    [
        {"authorization": "Bearer test-key"},
        {"authorization": "bearer  test-key "},
        {"x-api-key": "test-key"},
        {"x-api-key": " test-key", "authorization": "Basic dXNlcjpwYXNz"},
        {"x-api-key": "test-key", "authorization": "Bearer of-another-service"},
        {"x-api-key": "of-another-service", "authorization": "Bearer test-key"},
    ],
)
async def test_a_key_opens_in_either_header(headers: Mapping[str, str], ledger: Ledger) -> None:
    """Every client's way of sending a key works on every route."""
    key_id = await ledger.add_key("test-key", "test")
    assert await authenticate(headers, ledger, PROTOCOLS) == key_id


async def test_a_protocol_s_own_key_header_opens_too(ledger: Ledger) -> None:
    """The header is the one that the protocol's record names."""
    key_id = await ledger.add_key("test-key", "test")
    protocols = {**PROTOCOLS, "toy": TOY}
    assert await authenticate({"x-toy-key": "test-key"}, ledger, protocols) == key_id


@pytest.mark.parametrize(
    ("headers", "what"),
    [
        ({}, "has no key"),
        ({"authorization": ""}, "has no key"),
        ({"authorization": "Bearer "}, "has no key"),
        ({"authorization": "test-key"}, "has no key"),
        ({"authorization": "Basic dXNlcjpwYXNz"}, "has no key"),
        ({"x-api-key": "  "}, "has no key"),
        ({"x-api-key": "wrong-key"}, "unknown or was revoked"),
        ({"authorization": "Bearer wrong-key"}, "unknown or was revoked"),
    ],
)
async def test_without_a_good_key_nobody_gets_in(
    headers: Mapping[str, str], what: str, ledger: Ledger
) -> None:
    """The refusal says what is missing and how to send it, and repeats nothing that was sent."""
    await ledger.add_key("test-key", "test")
    with pytest.raises(ModelError, match=what) as caught:
        await authenticate(headers, ledger, PROTOCOLS)
    assert caught.value.http_status == 401
    assert "Authorization: Bearer KEY" in caught.value.message
    assert "x-api-key" not in caught.value.message  # or Claude Code shows none of it
    assert "wrong-key" not in caught.value.message


async def test_a_revoked_key_is_like_an_unknown_one(ledger: Ledger) -> None:
    """Whoever holds a revoked key learns nothing from the refusal."""
    await ledger.revoke_key(await ledger.add_key("test-key", "test"))
    with pytest.raises(ModelError, match="unknown or was revoked"):
        await authenticate({"x-api-key": "test-key"}, ledger, PROTOCOLS)
