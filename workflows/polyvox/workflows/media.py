"""Finds and replaces the images and documents of a conversation, by the digest of their content."""

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import replace

from polyvox.workflows.conversation import Conversation, File, Image, Message, Part, ToolResult

Media = Image | File


def media_digest(part: Media) -> str:
    """Return the digest of the media's content, or of its URL if it is linked."""
    source = part.source
    identity = "\0".join((source.data or "", source.url or "", source.file_id or ""))
    return hashlib.sha256(identity.encode(errors="surrogatepass")).hexdigest()


def is_pdf(part: Part) -> bool:
    """Whether ``part`` is a PDF document."""
    if not isinstance(part, File):
        return False
    named = (part.name or part.source.url or "").lower().endswith(".pdf")
    return part.source.media_type == "application/pdf" or named


def media_in(conversation: Conversation) -> Iterator[Media]:
    """Yield images and files in order, including those in tool results."""
    for message in conversation.messages:
        yield from _media_of(message.parts)


def find_media(conversation: Conversation, digest: str) -> Media | None:
    """Return the first image or file with this digest, None if there is none."""
    return next((part for part in media_in(conversation) if media_digest(part) == digest), None)


def with_media_replaced(
    conversation: Conversation, instead: Callable[[Media], Part | None]
) -> Conversation:
    """Return ``conversation`` with each image and file replaced by what ``instead`` returns.

    Where it returns None the part is kept. Unchanged messages remain the same objects.
    """
    messages = tuple(_replaced(message, instead) for message in conversation.messages)
    return replace(conversation, messages=messages)


def _media_of(parts: tuple[Part, ...]) -> Iterator[Media]:
    for part in parts:
        if isinstance(part, Image | File):
            yield part
        elif isinstance(part, ToolResult):
            yield from _media_of(part.parts)


def _replaced(message: Message, instead: Callable[[Media], Part | None]) -> Message:
    parts = _parts(message.parts, instead)
    return message if parts is message.parts else message.edited(parts=parts)


def _parts(parts: tuple[Part, ...], instead: Callable[[Media], Part | None]) -> tuple[Part, ...]:
    new: list[Part] = []
    for part in parts:
        if isinstance(part, Image | File):
            new.append(instead(part) or part)
        elif isinstance(part, ToolResult):
            inner = _parts(part.parts, instead)
            new.append(part if inner is part.parts else part.edited(parts=inner))
        else:
            new.append(part)
    same = all(new_part is part for new_part, part in zip(new, parts, strict=True))
    return parts if same else tuple(new)
