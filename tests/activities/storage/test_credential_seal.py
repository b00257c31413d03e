"""Credentials are stored encrypted, and only their own folder's key opens them for their owner."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from polyvox.activities.storage.backends.sqlite_blobs import SqliteBlobs
from polyvox.activities.storage.conversation_blobs import Bodies
from polyvox.activities.storage.credential_seal import KEY_FILE, CredentialSeal
from polyvox.activities.storage.data_folder import DataFolderUnusable
from polyvox.protocols.requests.credentials import redacted, secrets_in
from polyvox.protocols.table import PROTOCOLS
from polyvox.workflows.conversation import Conversation
from polyvox.workflows.errors import ModelError

OWNER = "key_a"
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
    store = SqliteBlobs(tmp_path / "blobs.db")
    seal = CredentialSeal.in_folder(tmp_path)
    digest = await Bodies(store, seal=seal).put(conversation, OWNER)
    again = Bodies(store, seal=CredentialSeal.in_folder(tmp_path))
    stored = again.get(digest)
    assert SECRET not in str(sent(stored))
    assert sent(again.opened(stored, OWNER)) == sent(conversation)
    assert await again.put(stored, OWNER) == await again.put(conversation, OWNER) == digest
    store.close()


def refused(seal: CredentialSeal, owner: str, **tool: Any) -> None:
    """Expect that nothing opens it, and that it is not taken for one that is encrypted already."""
    conversation = asked(tools=[{"type": "mcp", "server_label": "d", **tool}])
    for change in (seal.opened, seal.sealed):
        with pytest.raises(ModelError, match=r"credentials_key.*from a backup") as error:
            change(conversation, owner)
        assert error.value.kind == "invalid_request"
        assert SECRET not in error.value.message


def test_nobody_else_opens_a_credential() -> None:
    """Not another client who got hold of it, nor a server with another key: it is not sent."""
    seal = CredentialSeal.of_process()
    (tool,) = sent(seal.sealed(asked(tools=[MCP]), OWNER))["tools"]
    stolen, address = tool["authorization"], tool["server_url"]
    for member in ({"authorization": stolen}, {"server_url": address}):
        refused(seal, "key_b", **member)
        refused(CredentialSeal.of_process(), OWNER, **member)
    refused(seal, OWNER, authorization=address.removeprefix("https://h/"))
    refused(seal, OWNER, server_url=f"https://h/{stolen}")
    refused(seal, OWNER, server_url=address.replace("https://h/", "https://thief/"))


def test_a_changed_or_invented_text_is_no_credential() -> None:
    """Every character counts."""
    seal = CredentialSeal.of_process()
    (tool,) = sent(seal.sealed(asked(tools=[MCP]), OWNER))["tools"]
    stolen = tool["authorization"]
    start = len("polyvox-sealed-")
    for at in range(start, len(stolen) - 1):
        other = "A" if stolen[at] != "A" else "B"
        refused(seal, OWNER, authorization=stolen[:at] + other + stolen[at + 1 :])
    for text in ("", "!!", "A", "AAAA", "\u00e9", stolen[start:-4], stolen[start:] + "\n"):
        refused(seal, OWNER, authorization=f"polyvox-sealed-{text}")


@pytest.mark.parametrize(
    "secret", ["x", "\ud800", "\u00e9\U0001f511", "Bearer polyvox-sealed-A", "s" * 9999]
)
def test_any_text_comes_back(secret: str) -> None:
    """Also one that is no valid Unicode."""
    seal = CredentialSeal.of_process()
    conversation = asked(tools=[{**MCP, "authorization": secret}])
    assert seal.opened(seal.sealed(conversation, OWNER), OWNER) == conversation


def test_each_owner_has_an_own_text() -> None:
    """Nobody sees that two clients use the same credential."""
    seal = CredentialSeal.of_process()
    texts = {
        sent(seal.sealed(asked(tools=[MCP]), owner))["tools"][0]["authorization"]
        for owner in (OWNER, OWNER, "key_b")
    }
    assert len(texts) == 2


def test_the_library_is_loaded_by_the_first_credential(tmp_path: Path) -> None:
    """It takes 10 MB, which a server without credentials saves."""
    program = f"""
import sys
from pathlib import Path
import polyvox.gateway.program
from polyvox.activities.storage.credential_seal import CredentialSeal
from polyvox.workflows.conversation import Conversation
seal = CredentialSeal.in_folder(Path({str(tmp_path)!r}))
seal.opened(seal.sealed(Conversation(()), "key"), "key")
assert not [name for name in sys.modules if name.partition(".")[0] in ("cryptography", "cffi")]
"""
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)


def test_the_key_is_its_owners(tmp_path: Path) -> None:
    """Like all files in the folder."""
    CredentialSeal.in_folder(tmp_path)
    assert (tmp_path / KEY_FILE).stat().st_mode & 0o077 == 0
    key = (tmp_path / KEY_FILE).read_bytes()
    assert len(key) == 32
    (tmp_path / KEY_FILE).chmod(0o644)
    CredentialSeal.in_folder(tmp_path)
    assert (tmp_path / KEY_FILE).stat().st_mode & 0o777 == 0o600
    assert [file.name for file in tmp_path.iterdir()] == [KEY_FILE]
    assert (tmp_path / KEY_FILE).read_bytes() == key


@pytest.mark.parametrize("content", [b"", b"short", b"l" * 33])
def test_a_damaged_key_is_not_used(tmp_path: Path, content: bytes) -> None:
    """Nor is it replaced: a backup may have it. The message says what to do."""
    (tmp_path / KEY_FILE).write_bytes(content)
    with pytest.raises(DataFolderUnusable, match=f"has {len(content)} bytes.*backup.*delete it"):
        CredentialSeal.in_folder(tmp_path)
    assert (tmp_path / KEY_FILE).read_bytes() == content


def test_a_key_that_cannot_be_read_is_reported(tmp_path: Path) -> None:
    """With its file."""
    (tmp_path / KEY_FILE).mkdir()
    with pytest.raises(DataFolderUnusable, match=r"credentials_key.*make it readable"):
        CredentialSeal.in_folder(tmp_path)


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
    assert CredentialSeal.of_process().sealed(conversation, OWNER) is conversation


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
    sealed = seal.sealed(conversation, OWNER)
    for each in (conversation, sealed):
        (json,) = sent(each)["tools"]
        assert redacted(json)["server_url"] == shown
    assert sent(seal.opened(sealed, OWNER))["tools"] == [tool]


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
        sealed = CredentialSeal.of_process().sealed(conversation, OWNER)
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
