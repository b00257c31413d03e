"""Checks an answer against the format that the client asked for.

A renderer that has to weaken a schema for its provider returns the original (``Rendered.wanted``).
"""

from polyvox.workflows.checks import schema_complaints
from polyvox.workflows.conversation import OutputFormat
from polyvox.workflows.errors import ModelError
from polyvox.workflows.reply import Reply


def broken_format(reply: Reply, wanted: OutputFormat | None) -> str:
    """Return why ``reply`` is not in the ``wanted`` format, an empty text if it is.

    Only a complete answer without calls is checked. A schema that cannot be checked is a reason.
    """
    if wanted is None or reply.finish != "stop" or reply.tool_calls:
        return ""
    try:
        complaints = schema_complaints(reply.text, wanted.schema, "The answer")
    except ModelError as error:
        return f"The answer was not checked: {error.message}"
    return " ".join(complaints[:3])
