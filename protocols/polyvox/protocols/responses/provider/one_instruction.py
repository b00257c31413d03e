"""Joins the instructions of a Responses request, for servers that apply a chat template.

Such a template takes one system message, at the beginning.
"""

from typing import Final

from polyvox.protocols.history.later_instructions import LATER_INSTRUCTIONS, in_system_tags
from polyvox.workflows.conversation import Json

_INSTRUCTING: Final = ("system", "developer")
_RESULTS: Final = ("function_call_output", "custom_tool_call_output")


def one_instruction(body: dict[str, Json], losses: list[str]) -> None:
    """Move leading instructions into ``instructions``; later ones become user text.

    A later instruction keeps its place, but never stands between the results of one reply.
    """
    items = body.get("input")
    if not isinstance(items, list):
        return
    texts: list[str] = [body["instructions"]] if body.get("instructions") else []
    rest: list[Json] = []
    held: list[Json] = []
    for item in items:
        text = _instruction(item)
        if text is None:
            if item.get("type") not in _RESULTS:
                rest += held
                held = []
            rest.append(item)
        elif rest:
            losses.append(LATER_INSTRUCTIONS)
            held.append({"role": "user", "content": in_system_tags(text)})
        else:
            texts.append(text)
    body["input"] = rest + held
    if texts:
        body["instructions"] = "\n\n".join(texts)


def _instruction(item: Json) -> str | None:
    """Return the text of an instruction, None for another item or one that is not only text."""
    if item.get("type", "message") != "message" or item.get("role") not in _INSTRUCTING:
        return None
    content = item.get("content")
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        return None
    texts = [part.get("text") for part in content if isinstance(part, dict)]
    if not all(isinstance(text, str) for text in texts):
        return None
    return "\n\n".join(str(text) for text in texts)
