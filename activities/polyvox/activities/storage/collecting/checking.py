"""Checks a blob store: the digest of every body, and that every reference in the rows resolves."""

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import zstandard
from sqlalchemy import Engine
from sqlmodel import Session, col, select

from polyvox.activities.storage.blobs import BlobStore
from polyvox.activities.storage.conversation_blobs import stored_parts
from polyvox.activities.storage.hidden_transcripts import TranscriptRow
from polyvox.activities.storage.responses import ResponseRow, document_parts
from polyvox.activities.storage.threads import ConversationRow
from polyvox.workflows.errors import ModelError

_PAGE = 200


@dataclass(frozen=True, slots=True)
class Reference:
    """A digest in a row: ``of`` names the row; ``parts`` says what its blob is."""

    of: str
    digest: str
    kind: str


def damaged(store: BlobStore) -> Iterator[str]:
    """Yield the digest of every blob whose body is another one, or cannot be read."""
    after = ""
    while page := store.listed(after, _PAGE):
        digests = [blob.digest for blob in page]
        bodies = _readable(store, digests)
        for digest in digests:
            body = bodies.get(digest)
            if body is None or hashlib.sha256(body).hexdigest() != digest:
                yield digest
        after = digests[-1]


def rows_with_references(engine: Engine) -> Iterator[Reference]:
    """Yield the references of responses, conversations and hidden transcripts."""
    with Session(engine) as session:
        for row_id, conversation, document in session.exec(
            select(ResponseRow.response_id, ResponseRow.conversation, ResponseRow.document)
        ):
            yield Reference(row_id, conversation, "conversation")
            if document:
                yield Reference(row_id, document, "document")
        for row_id, items in session.exec(
            select(ConversationRow.conversation_id, col(ConversationRow.items))
        ):
            yield Reference(row_id, items, "conversation")
        for key, digest in session.exec(select(TranscriptRow.key, TranscriptRow.digest)):
            yield Reference(f"hidden messages or state {key[:12]}", digest, "body")


def unresolved(store: BlobStore, rows: Iterable[Reference]) -> Iterator[tuple[str, str]]:
    """Yield each row whose content is not complete: its name, and the first digest that is not
    stored."""
    whole: dict[tuple[str, str], str] = {}
    for row in rows:
        if not row.digest:
            continue
        found = (row.kind, row.digest)
        if found not in whole:
            whole[found] = _missing(store, row)
        if whole[found]:
            yield row.of, whole[found]


def _missing(store: BlobStore, row: Reference) -> str:
    """Return the first missing digest, "" if all are there."""
    todo, read = [row.digest], {"conversation": stored_parts, "document": document_parts}
    parts = read.get(row.kind)
    if parts is None:
        absent = store.missing(todo)
    else:
        try:
            absent = store.missing(parts(row.digest, store.get_all))
        except ModelError as error:
            return row.digest if error.kind != "not_found" else _named(error)
    return min(absent, default="")


def _named(error: ModelError) -> str:
    return error.message.partition("(blob ")[2].partition(")")[0]


def _readable(store: BlobStore, digests: list[str]) -> dict[str, bytes]:
    """Return the bodies that can be read; one that is damaged hides no other one."""
    try:
        return store.find(digests)
    except (ModelError, zstandard.ZstdError):
        if len(digests) == 1:
            return {}
        half = len(digests) // 2
        return _readable(store, digests[:half]) | _readable(store, digests[half:])
