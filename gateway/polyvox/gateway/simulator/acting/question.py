"""What a conversation asks: its newest user text, and the tool calls of this turn.

Agents add reminders and descriptions of their environment to a prompt, in the same message or in
separate ones. These blocks are removed here, and a message without other text does not start a
turn. Neither does a complaint that an answer did not pass: it repeats the question.
"""

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass

from polyvox.workflows.conversation import (
    Conversation,
    Image,
    Message,
    Text,
    ToolCall,
    ToolResult,
)

_SURROUNDINGS = (
    "system-reminder",
    "environment_context",
    "environment_details",
    "user_instructions",
    "INSTRUCTIONS",
    "local-command-caveat",
)
_LABELS = re.compile(
    r"\s*(?:\[Image: source: [^\]]*\]|\[(?:image|document) [0-9a-f]{8}: .*\]"
    r"|</?image\b[^>]*>|# AGENTS\.md instructions\b.*)\s*",
    re.S,
)
"""Texts in which clients name the source of an image or of instructions."""
_FRAMES = ("task", "user_input", "user_message", "user_query")

_DIRECTORY = re.compile(
    r"<cwd>(?P<tag>[^<]+)</cwd>"
    r"|[Ww]orking [Dd]irectory:? *\(?[`'\"]?(?P<line>/[^\s`'\"<)]+)"
    r"|\bcwd: *(?P<field>/\S+)"
)
_WORD = re.compile(r"\w+(?:['\u2019-]\w+)*")
_STOP_TEXT = """
    a about after all also an and any are as at be been but by can could did do does for from had
    has have how i if in into is it its just many may me more most my no not of on one or our out
    over please shall should so some tell than that the their them then there these they this
    those to too us use very was we were what when where which who why will with would you your
"""
_STOP_WORDS = frozenset(_STOP_TEXT.split())
_ASKS = re.compile(
    r"\?|^\W*(?:what|which|why|how|when|where|who|should|could|can|is|are|do|does|will|would)\b"
    r"|\b(?:advise|advice|recommend|suggest|compare|review|explain|decide|evaluate|assess"
    r"|propose|pros and cons|help me)\b",
    re.I,
)
_CHOICE = re.compile(r"\b(?:or|versus|vs)\b[^.!?\n]{0,300}\?", re.I)
_COMPLAINT = re.compile(r"\s*Your\b[^\n]{0,60}\bdid not pass\b", re.I)
_LOOKS = re.compile(r"\b(?:image|picture|photo|screenshot)s?\b", re.I)
"""A question about images refers to those of earlier turns if this turn has none."""
_GREETING = re.compile(
    r"^\W*(?:say )?(?:hi|hello|hey|howdy|good (?:morning|afternoon|evening)|thanks|thank you|ok"
    r"|bye|how are you)(?: there| you| all)?(?:,? how are you)?\W*$",
    re.I,
)


@dataclass(frozen=True, slots=True)
class Result:
    """The result of a tool call of this turn; ``tool`` is empty if the call is missing."""

    tool: str
    text: str
    images: tuple[Image, ...]
    is_error: bool


LONGEST_GIST = 4000
"""Characters of a prompt that the rules read: a prompt may be megabytes of pasted text."""


@dataclass(frozen=True, slots=True)
class Question:
    """``text`` is the whole prompt, ``gist`` its beginning. ``turn`` counts the user's turns from
    1. ``rounds`` are the names of the tools called in this turn, one tuple for each time the model
    was asked."""

    text: str
    turn: int
    earlier: tuple[str, ...]
    images: tuple[Image, ...]
    results: tuple[Result, ...]
    rounds: tuple[tuple[str, ...], ...]

    @property
    def gist(self) -> str:
        return self.text[:LONGEST_GIST]

    @property
    def words(self) -> list[str]:
        """The words of the gist."""
        return _WORD.findall(self.gist)

    @property
    def length(self) -> int:
        """The number of words of the whole text; beyond the gist, spaces are counted."""
        return len(self.words) + self.text.count(" ", LONGEST_GIST)

    @property
    def key_words(self) -> list[str]:
        """The gist's first eight different significant words, in lower case."""
        significant = (w.lower() for w in self.words if w.lower() not in _STOP_WORDS and len(w) > 1)
        return list(dict.fromkeys(significant))[:8]

    @property
    def is_choice(self) -> bool:
        """Whether the text asks for one of two things."""
        return bool(_CHOICE.search(self.gist))

    @property
    def wants_advice(self) -> bool:
        """Whether the text asks something and is not just a greeting."""
        return bool(_ASKS.search(self.gist)) and not _GREETING.match(self.gist)

    @property
    def number(self) -> int:
        """A stable number of this question that does not depend on its spacing and case."""
        return stable_number(" ".join(self.gist.lower().split()))


def stable_number(text: str) -> int:
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")


def read(conversation: Conversation) -> Question:
    """Return what ``conversation`` asks."""
    messages = conversation.messages
    prompts = [(at, text) for at, message in enumerate(messages) if (text := asked(message))]
    start = prompts[-1][0] if prompts else 0
    while start and _precedes(messages[start - 1]):
        start -= 1
    turn = messages[start:]
    return Question(
        text=prompts[-1][1] if prompts else "",
        turn=_turns(messages),
        earlier=tuple(text for _, text in prompts[:-1]),
        images=_images(turn)
        or _images(messages if prompts and _LOOKS.search(prompts[-1][1]) else ()),
        results=tuple(_results(turn)),
        rounds=tuple(_rounds(turn)),
    )


def asked(message: Message) -> str:
    """Return the last text of ``message`` that the user wrote, or "".

    A text beside a tool's result is a note of the client, not a question.
    """
    if message.role != "user" or any(isinstance(part, ToolResult) for part in message.parts):
        return ""
    if _COMPLAINT.match(message.text):
        return ""
    texts = (unwrapped(part.text) for part in reversed(message.parts) if isinstance(part, Text))
    return next(filter(None, texts), "")


def unwrapped(text: str) -> str:
    """Return ``text`` without the blocks an agent client adds around a prompt."""
    text = _without_surroundings(text)
    for tag in _FRAMES:
        if f"</{tag}>" in text:
            text = re.sub(rf"</?{tag}\b[^<>]*>", "", text)
    return "" if _LABELS.fullmatch(text) else text.strip()


def _without_surroundings(text: str) -> str:
    """Return ``text`` without the client's descriptions of its environment."""
    for tag in _SURROUNDINGS:
        if f"<{tag}>" in text:
            text = re.sub(rf"<{tag}>.*?(?:</{tag}>|$)", "", text, flags=re.S)
    return text.strip()


def working_directory(conversation: Conversation) -> str | None:
    """Return the client's working directory, an absolute path, from its newest mention."""
    messages = [m for m in conversation.messages if m.role in ("system", "developer", "user")]
    for message in (*reversed(messages), conversation.system):
        for part in reversed(message.parts) if message else ():
            if isinstance(part, Text) and (match := _DIRECTORY.search(part.text)):
                return next(filter(None, match.groups())).strip().rstrip(".,") or None
    return None


def _images(messages: tuple[Message, ...]) -> tuple[Image, ...]:
    return tuple(p for m in messages if m.role == "user" for p in m.parts if isinstance(p, Image))


def _precedes(message: Message) -> bool:
    """Return whether ``message`` belongs to the same turn as a prompt right after it."""
    return message.role not in ("assistant", "tool") and not any(
        isinstance(part, ToolResult) for part in message.parts
    )


def _turns(messages: tuple[Message, ...]) -> int:
    """Return the number of the newest turn: prompts in a row are one."""
    turns, open_turn = 0, False
    for message in messages:
        if message.role == "assistant":
            open_turn = False
        elif asked(message) and not open_turn:
            turns, open_turn = turns + 1, True
    return max(turns, 1)


def _results(turn: tuple[Message, ...]) -> Iterator[Result]:
    names = {p.id: p.name for message in turn for p in message.parts if isinstance(p, ToolCall)}
    for message in turn:
        for part in message.parts:
            if isinstance(part, ToolResult):
                yield Result(
                    tool=names.get(part.call_id, ""),
                    text=_without_surroundings(
                        "".join(p.text for p in part.parts if isinstance(p, Text))
                    ),
                    images=tuple(p for p in part.parts if isinstance(p, Image)),
                    is_error=part.is_error,
                )


def _rounds(turn: tuple[Message, ...]) -> Iterator[tuple[str, ...]]:
    called: list[str] = []
    for message in turn:
        if message.role == "assistant":
            called += (p.name for p in message.parts if isinstance(p, ToolCall))
        elif called:
            yield tuple(called)
            called = []
    if called:
        yield tuple(called)
