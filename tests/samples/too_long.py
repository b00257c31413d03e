"""What servers answer to a prompt that is too long, and what only sounds like it.

Sources and dates of the wordings are in ``protocols/provider_failures/too_long.py``.
"""

from pathlib import Path

import orjson

from polyvox.workflows.conversation import Json

_FILE = Path(__file__).parents[1] / "fixtures" / "provider_errors" / "too_long.json"
_FOUND = orjson.loads(_FILE.read_bytes())

TOO_LONG: list[tuple[str, int, Json]] = [
    (answer["server"], answer["status"], answer["body"]) for answer in _FOUND["too_long"]
]
"""Server, status and body of refusals because of the prompt's length."""

SOMETHING_ELSE: list[tuple[str, int, str, str]] = [
    (answer["server"], answer["status"], answer["kind"], answer["message"])
    for answer in _FOUND["something_else"]
]
"""Server, status, kind and message of refusals for another reason."""
