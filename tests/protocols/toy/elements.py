"""The toy protocol's elements: turns of plain text, in both directions.

A request is ``{"model", "turns": [{"by": "user", "say": "Hi"}], "limit", "stream"}``.
"""

from polyvox.workflows.conversation import Json, Message, Options, Role, Text, Tool
from polyvox.workflows.errors import ModelError

_ROLES: dict[str, Role] = {"user": "user", "model": "assistant", "rule": "system"}
_SPEAKERS = {"assistant": "model", "system": "rule", "developer": "rule"}


def parse_message(json: Json) -> Message:
    if not isinstance(json, dict) or json.get("by") not in _ROLES:
        raise ModelError("invalid_request", "A turn is by user, model or rule.", param="by")
    return Message(_ROLES[json["by"]], (Text(str(json.get("say", ""))),))


def render_message(message: Message, losses: list[str]) -> Json:
    losses += [type(part).__name__.lower() for part in message.parts if type(part) is not Text]
    return {"by": _SPEAKERS.get(message.role, "user"), "say": message.text}


def parse_options(json: Json) -> Options:
    return Options(max_tokens=json.get("limit"))


def parse_tool(json: Json) -> Tool:
    raise ModelError("unsupported", "The toy protocol has no tools.", param="tools")
