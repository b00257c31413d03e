"""Credentials are stored encrypted, and only their own folder's key opens them."""

from pathlib import Path
from typing import Any

import pytest

from polyvox.activities.storage.blobs import BlobStore
from polyvox.activities.storage.conversation_blobs import Bodies
from polyvox.activities.storage.credential_seal import KEY_FILE, CredentialSeal
from polyvox.protocols.requests.credentials import redacted, secrets_in
from polyvox.protocols.table import PROTOCOLS
from polyvox.workflows.conversation import Conversation

SECRET = "s3cret-of-the-client"
MCP: dict[str, Any] = {
    "type": "mcp",
    "server_label": "d",
    "server_url": f"https://h/{SECRET}",
    "authorization": SECRET,
    "headers": {"k": "H", "n": {"inner": [SECRET]}},
    "allowed_tools": ["read_token"],
}


def asked(**members: Any) -> Conversation:
    body = {"model": "m", "input": "hi", **members}
    return PROTOCOLS["responses"].parser.parse(body, {}).conversation


def sent(conversation: Conversation) -> Any:
    return PROTOCOLS["responses"].provider.render(conversation, "m").body


async def test_a_later_process_sends_the_original(tmp_path: Path) -> None:
    """After a restart, from what is stored."""
    conversation = asked(tools=[MCP])
    store = BlobStore(tmp_path / "blobs.db")
    seal = CredentialSeal.in_folder(tmp_path)
    digest = await Bodies(store, seal=seal).put(conversation)
    again = Bodies(store, seal=CredentialSeal.in_folder(tmp_path))
    stored = again.get(digest)
    assert SECRET not in str(sent(stored))
    assert sent(again.opened(stored)) == sent(conversation)
    assert await again.put(stored) == await again.put(conversation) == digest
    store.close()


def test_another_key_opens_nothing() -> None:
    """Nor is a changed or invented text taken for one."""
    sealed = CredentialSeal.of_process().sealed(asked(tools=[MCP]))
    other = CredentialSeal.of_process()
    assert other.opened(sealed) == sealed
    assert sent(other.opened(sealed)) == sent(sealed)
    invented = asked(tools=[{**MCP, "authorization": "polyvox-sealed-!!"}])
    assert sent(other.opened(invented)) == sent(invented)


def test_the_key_is_its_owners(tmp_path: Path) -> None:
    """Like all files in the folder."""
    CredentialSeal.in_folder(tmp_path)
    assert (tmp_path / KEY_FILE).stat().st_mode & 0o077 == 0
    assert len((tmp_path / KEY_FILE).read_bytes()) == 32


def test_a_conversation_without_credentials_is_the_same_object() -> None:
    """A function's schema may have members of any name."""
    schema = {"type": "object", "properties": {"token": {"type": "string", "default": "x"}}}
    tool = {"type": "function", "name": "f", "parameters": schema}
    conversation = asked(
        tools=[tool, {"type": "web_search"}, {**MCP, "server_url": "https://h"} | PLAIN],
        prompt_cache_key="k",
        metadata={"token": "t"},
        text={"format": {"type": "json_schema", "name": "n", "schema": schema}},
    )
    assert CredentialSeal.of_process().sealed(conversation) is conversation


PLAIN: dict[str, Any] = {"authorization": None, "headers": {}}


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://h/mcp", "https://h/<redacted>"),
        ("https://h:8443/a/b?c=d#e", "https://h:8443/<redacted>"),
        ("https://u:p@h", "https://h/<redacted>"),
        ("https://h?token=t", "https://h/<redacted>"),
        ("http://[::1]:9/x", "http://[::1]:9/<redacted>"),
        ("https://u:[redacted]@h:1/x", "https://h:1/<redacted>"),
        ("https://h/<redacted>", "https://h/<redacted>"),
        ("https://h", "https://h"),
        ("https://h/", "https://h/"),
    ],
)
def test_only_the_host_of_an_address_is_shown(url: str, shown: str) -> None:
    """Before it is stored and after."""
    tool = {"type": "mcp", "server_label": "d", "server_url": url}
    seal = CredentialSeal.of_process()
    conversation = asked(tools=[tool])
    sealed = seal.sealed(conversation)
    for each in (conversation, sealed):
        (json,) = sent(each)["tools"]
        assert redacted(json)["server_url"] == shown
    assert sent(seal.opened(sealed))["tools"] == [tool]


@pytest.mark.parametrize(
    "member",
    [
        *("authorization", "authorization_token", "api_key", "apiKey", "accessToken", "password"),
        *("client_secret", "x-api-key", "credentials", "extra_headers", "env", "key", "oauth"),
        *("domain_secrets", "connection_string", "cookie"),
    ],
)
def test_a_credential_of_any_tool_is_found(member: str) -> None:
    """Whatever the vendor, as a text or inside."""
    for value in (SECRET, {"name": "n", "value": SECRET}, [{"value": SECRET}]):
        tool = {"type": "vendor_tool", "nested": {"deep": [{member: value}]}}
        assert SECRET not in str(redacted(tool))
        conversation = asked(tools=[tool], vendor_option={member: value})
        sealed = CredentialSeal.of_process().sealed(conversation)
        assert SECRET not in str(sent(sealed))
        assert SECRET in secrets_in(conversation)


def test_what_a_provider_may_repeat_is_known() -> None:
    """A scheme, a password and a token in an address are told apart from names."""
    tool = {
        **MCP,
        "authorization": f"Bearer {SECRET}",
        "server_url": "https://u:passw0rd@h/mcp/0123456789abcdef?key=abcdefgh",
    }
    found = secrets_in(asked(tools=[tool]))
    assert {SECRET, "passw0rd", "0123456789abcdef", "abcdefgh"} <= found
    assert "mcp" not in found
