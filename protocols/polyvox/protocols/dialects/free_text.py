"""What a free-text tool becomes for a server that knows only functions.

It is offered as a function with the single string property ``input``. ``tool_aliases`` turns a call
of it back into the client's own form.
"""

from typing import Final

import orjson

from polyvox.workflows.conversation import Json

INPUT_SCHEMA: Final[Json] = {
    "type": "object",
    "properties": {"input": {"type": "string"}},
    "required": ["input"],
    "additionalProperties": False,
}
"""The parameters of the function."""


def described(description: str | None, grammar: Json) -> str | None:
    """Return the description, followed by the grammar, ``{"definition": ...}``, if there is one.

    Nothing enforces the grammar there, so the description tells the model about it.
    """
    definition = grammar.get("definition") if isinstance(grammar, dict) else None
    if not isinstance(definition, str):
        return description
    before = f"{description}\n\n" if description else ""
    return f"{before}The input must follow this grammar:\n{definition}"


def wrapped(text: str) -> str:
    """Return the arguments of a call of the function, as JSON."""
    return orjson.dumps({"input": text}).decode()
