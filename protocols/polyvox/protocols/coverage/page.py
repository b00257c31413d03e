"""Writes the coverage table as the page ``docs/protocols.md``; ``make docs`` runs it."""

import sys
from collections.abc import Iterable, Iterator

from polyvox.protocols.coverage.row import Fate, Place, Row
from polyvox.protocols.table import PROTOCOLS
from polyvox.protocols.wire_protocol import WireProtocol

_HEAD = """\
# What carries over between protocols

A client speaks one protocol, the model behind its name may be reached over another. Where both
speak the same, everything passes unchanged, also fields and blocks that Polyvox does not know.
Otherwise each field meets one of four fates:

- **`field`**: it becomes that field of the other protocol.
- **no loss**: leaving it out changes nothing, or Polyvox does itself what it asks for.
- **lost**: it is left out. The answer's header `x-polyvox-losses` names it, and so does the run
  (`polyvox runs show`). What is found out only while an answer is streamed stands in the run alone,
  because headers go out first.
- **400**: the request is refused with an error that names the field, because the answer would be
  another one than the one asked for.

A field that is not listed is lost under its own name. A field at its default asks for nothing and
is never a loss.

Some things hold for all combinations:

- **Reasoning** stays with the provider that wrote it. Clients see its text, and carry its sealed
  signature from turn to turn; it is unsealed when the conversation returns to that provider, and
  left out (a named loss) for any other.
- **Instructions** at the head of a conversation become the instructions of the other protocol.
  Those inside it stay where they are. Messages gets them as messages of the role `system` where
  the model takes them (Claude from 4.8 on) and the assistant speaks next; elsewhere as the user's
  text in `<system>` tags (a named loss, `role`). An older Claude refuses that role, so there even a
  Messages client's own become such text.
- **Tool arguments** keep their text, calls keep their ids, and the order of messages never changes.
- **Names of tools** come back as the client knows them: out of namespaces, longer than 64
  characters, and free-form tools that a provider was offered as a function.
- **Spellings of another protocol** are understood in a request: content parts (`input_text`,
  `input_image`, an Anthropic `image` in a Chat message ...), the three shapes of a tool and of a
  tool choice, `input` sent to `/v1/chat/completions`, `messages` sent to `/v1/responses`, and the
  names of the output limit. The provider gets its own protocol's spelling. A part of such a type
  that lacks what it needs is a 400 with its path; a part of an unknown type is passed on to a
  provider of the same protocol, and a 400 with its path for a provider of another one. In a panel
  only the voices of other protocols fail.
- **Usage** is counted in the client's protocol: `input_tokens` of Messages leaves out what the
  cache read and wrote, the other two count it in.
- **Stored chat completions** are not served: `store` of Chat goes to a Chat provider, which may
  keep the answer, but Polyvox keeps Responses only and answers 404 at `/v1/chat/completions/ID`.
- **An answer that the provider pauses** (`pause_turn`) is continued by Polyvox as one answer.
- **Models differ** in what they take. What a client of the provider's own protocol sends is passed
  on as it is; what comes from another one is fitted to the model, and named if it changes: efforts
  a model does not have, sampling for models that think, marks for the prompt cache.

This page is made from the table in the code by `make docs`.
"""

_PLACES: dict[Place, str] = {
    "request": "Request",
    "tool": "Tools that the client runs",
    "element": "Messages, items and content",
    "answer": "Answers",
}


def page() -> str:
    """Return the page as Markdown."""
    return "\n".join(_lines())


def _lines() -> Iterator[str]:
    yield _HEAD
    for protocol in PROTOCOLS.values():
        rows = protocol.neutral.rows
        yield f"## {protocol.title}\n"
        for place, title in _PLACES.items():
            over = [other for other in PROTOCOLS.values() if other != protocol]
            yield from _table(title, place, over, [row for row in rows if row.place == place])


def _table(
    title: str, place: Place, over: list[WireProtocol], rows: Iterable[Row]
) -> Iterator[str]:
    whom = "to a {} client" if place == "answer" else "over {}"
    names = " | ".join(whom.format(other.title) for other in over)
    yield f"### {title}\n"
    if place == "answer":
        yield "What a provider of this protocol says, to clients of the others:\n"
    yield f"| Field | {names} |"
    yield f"|---|{'---|' * len(over)}"
    for row in rows:
        fates = " | ".join(_cell(row.over[other.name]) for other in over)
        yield f"| `{row.field}` | {fates} |"
    yield ""


def _cell(fate: Fate) -> str:
    note, outcome = fate.note, ""
    match fate.outcome:
        case "mapped":
            outcome = f"`{fate.target}`"
        case "idle":
            outcome = "no loss"
        case "lost":
            outcome = "**lost**"
        case "refused":
            outcome = "**400**"
    return f"{outcome}: {note}" if note else outcome


if __name__ == "__main__":
    sys.stdout.write(page())
