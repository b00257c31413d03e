"""Finds the credentials in a request: those of MCP servers, connectors and data sources.

Clients send them in the tools that a provider runs, and in options such as ``mcp_servers``. They
are found by the names of members, so that a vendor's tool that is not known here is covered too.
The path of an MCP server's address counts as a credential, because many servers put a token there;
OpenAI discards it from the Response object for the same reason (guide "Connectors and MCP servers",
November 2026).
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Final
from urllib.parse import parse_qsl, unquote, urlsplit

from polyvox.workflows.conversation import Conversation, Json, Message, Options, Tool, Wire

MARK: Final = "<redacted>"

_SECRET: Final = (
    *("authorization", "authentication", "auth", "token", "secret", "secrets", "password"),
    *("passwd", "passphrase", "credential", "credentials", "cookie", "apikey", "accesskey"),
    *("secretkey", "subscriptionkey", "connectionstring"),
)
"""Ends of the names, without separators, of members that carry a credential."""

_ALL_SECRET: Final = frozenset(
    ("headers", "extraheaders", "httpheaders", "requestheaders", "env", "domainsecrets", "key")
)
"""Names of members in which every text is a credential."""

_ADDRESS: Final = ("url", "uri", "endpoint")

_CONTENT: Final = frozenset(
    (
        *("response_format", "text", "tool_choice", "metadata", "logit_bias", "prediction"),
        *("output_config", "output_format", "prompt", "reasoning", "thinking", "include", "stop"),
        *("stop_sequences", "stream_options", "modalities", "audio", "functions"),
        *("function_call", "prompt_cache_key", "safety_identifier", "user", "context_management"),
    )
)
"""Options that hold content or settings, whose members may have any names."""

_HOLDERS: Final = (str, dict, list)

_LONG_SEGMENT: Final = 16
_SEGMENT_WITH_DIGIT: Final = 8
"""The characters of a part of a path that is taken for a token, not for a name."""


@dataclass(frozen=True, slots=True)
class Change:
    """How credentials are replaced: a ``secret``, and the ``address`` of a server."""

    secret: Callable[[str], str]
    address: Callable[[str], str]


def redacted(json: Json) -> Json:
    """Return a tool, or an item with tools in it, as it is shown to a client."""
    return in_element(json, _REDACTION)


def in_conversation(conversation: Conversation, change: Change) -> Conversation:
    """Return the conversation with its credentials changed; the same object if it has none."""
    tools = tuple(_in_tool(tool, change) for tool in conversation.tools)
    messages = tuple(_in_message(message, change) for message in conversation.messages)
    options = _in_options(conversation.options, change)
    if (
        all(new is old for new, old in zip(tools, conversation.tools, strict=True))
        and all(new is old for new, old in zip(messages, conversation.messages, strict=True))
        and options is conversation.options
    ):
        return conversation
    return replace(conversation, tools=tools, messages=messages, options=options)


def secrets_in(conversation: Conversation) -> frozenset[str]:
    """Return the credentials of a conversation, as a provider might repeat them."""
    found: set[str] = set()

    def note(secret: str) -> str:
        found.add(secret)
        bare = secret.partition(" ")[2]
        found.update({bare} if bare else ())
        return secret

    def note_address(url: str) -> str:
        found.update(_secrets_of(url))
        return url

    in_conversation(conversation, Change(note, note_address))
    return frozenset(found)


def in_element(json: Json, change: Change) -> Json:
    """Return a tool, or an item that brings tools, with its credentials changed."""
    if not isinstance(json, dict):
        return json
    if isinstance(json.get("tools"), list):
        tools = [in_element(tool, change) for tool in json["tools"]]
        same = all(new is old for new, old in zip(tools, json["tools"], strict=True))
        return json if same else {**json, "tools": tools}
    return json if json.get("type") in ("function", "custom") else _in_members(json, change)


def _in_tool(tool: Tool, change: Change) -> Tool:
    if tool.kind != "server" or tool.wire is None:
        return tool
    json = in_element(tool.wire.json, change)
    return tool if json is tool.wire.json else replace(tool, wire=Wire(tool.wire.protocol, json))


def _in_message(message: Message, change: Change) -> Message:
    """Change the tools that an item of Responses brings (``additional_tools``)."""
    wire = message.wire
    if wire is None or not isinstance(wire.json, dict) or not wire.json.get("tools"):
        return message
    json = in_element(wire.json, change)
    if json is wire.json:
        return message
    changed = Wire(wire.protocol, json)
    parts = tuple(
        replace(part, wire=changed)
        if part.wire is not None and part.wire.json is wire.json
        else part
        for part in message.parts
    )
    return replace(message, wire=changed, parts=parts)


def _in_options(options: Options, change: Change) -> Options:
    if options.wire is None or not isinstance(options.wire.json, dict):
        return options
    own = {name: value for name, value in options.wire.json.items() if name not in _CONTENT}
    json = _in_members(own, change)
    if json is own:
        return options
    return replace(options, wire=Wire(options.wire.protocol, {**options.wire.json, **json}))


def _in_members(json: dict[str, Json], change: Change) -> dict[str, Json]:
    changed: dict[str, Json] = {}
    for name, value in json.items():
        # A number is no credential, and a request may have a quarter of a million of them.
        if isinstance(value, _HOLDERS) and (new := _in_member(name, value, change)) is not value:
            changed[name] = new
    return {**json, **changed} if changed else json


def _in_member(name: str, value: Json, change: Change) -> Json:
    plain = name.lower().replace("_", "").replace("-", "")
    if plain in _ALL_SECRET or plain.endswith(_SECRET):
        return _everywhere(value, change.secret)
    if isinstance(value, str):
        is_address = plain.endswith(_ADDRESS) and "://" in value
        return change.address(value) if is_address else value
    if isinstance(value, dict):
        return _in_members(value, change)
    if isinstance(value, list):
        entries = [_in_members(e, change) if isinstance(e, dict) else e for e in value]
        return (
            value if all(new is old for new, old in zip(entries, value, strict=True)) else entries
        )
    return value


def _everywhere(value: Json, secret: Callable[[str], str]) -> Json:
    """Change every text in a member that carries credentials."""
    if isinstance(value, str):
        return secret(value) if value else value
    if isinstance(value, dict) and value:
        return {name: _everywhere(inner, secret) for name, inner in value.items()}
    if isinstance(value, list) and value:
        return [_everywhere(inner, secret) for inner in value]
    return value


def origin_of(url: str) -> str | None:
    """Return the address without what may be a credential; None if it is nothing more."""
    scheme, _, rest = url.partition("://")
    end = min((at for mark in "/?#" if (at := rest.find(mark)) >= 0), default=len(rest))
    user, _, host = rest[:end].rpartition("@")
    return f"{scheme}://{host}" if user or rest[end:].strip("/") else None


def _redact_address(url: str) -> str:
    origin = origin_of(url)
    return url if origin is None else f"{origin}/{MARK}"


def _secrets_of(url: str) -> Iterator[str]:
    try:
        parts = urlsplit(url)
        password = parts.password
    except ValueError:
        return
    if password:
        yield unquote(password)
    yield from (value for _, value in parse_qsl(parts.query))
    for part in parts.path.split("/"):
        has_digit = any(character.isdigit() for character in part)
        if len(part) >= (_SEGMENT_WITH_DIGIT if has_digit else _LONG_SEGMENT):
            yield part


_REDACTION: Final = Change(lambda _: MARK, _redact_address)
