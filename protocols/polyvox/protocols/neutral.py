"""Reads the elements of one protocol in terms that all protocols understand.

A renderer gets elements of any protocol. It never looks into those of another protocol: it calls
``neutral_of(wire)``, the reader that the element's own protocol provides. ``protocol_table`` makes
the readers of its records known here, so no codec imports another protocol.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from polyvox.protocols.coverage.row import Row
from polyvox.workflows.conversation import Conversation, Json, Text, Wire
from polyvox.workflows.errors import ModelError


@dataclass(frozen=True, slots=True)
class FurtherOptions:
    """Options besides the typed ``Options`` that more than one protocol has a field for.

    ``openai`` are members that OpenAI's protocols spell alike. ``user`` identifies the end user,
    ``metadata`` is stored with the answer. ``standard_tier`` forbids a faster, more expensive
    service tier. ``top_logprobs`` is None unless log probabilities are requested.
    ``shows_thoughts`` requests the text of the model's thinking.
    """

    openai: Mapping[str, Json] = field(default_factory=dict)
    user: str | None = None
    metadata: Json = None
    standard_tier: bool = False
    verbosity: Json = None
    top_logprobs: Json = None
    shows_thoughts: bool = False


@dataclass(frozen=True, slots=True)
class Citation:
    """A page (``url``) or a document (``file_id``, ``title``) cited by a span of a text.

    ``start`` (included) and ``end`` (excluded) count characters in the text of the part.
    """

    title: str
    start: int
    end: int
    url: str | None = None
    file_id: str = ""


@dataclass(frozen=True, slots=True)
class CacheMark:
    """A mark up to which the prompt should be cached, and for how long; None is the default time.

    ``openai`` is the mark as OpenAI's protocols spell it, if it came from one of them.
    """

    seconds: int | None = None
    openai: Json = None


def _nothing(_json: Json) -> None:
    return None


def _no_path(_json: Json, _message: int | None, _indexes: Sequence[int]) -> None:
    return None


def _members(json: Json) -> dict[str, Json]:
    return json if isinstance(json, dict) else {}


def element_type(json: Json) -> str:
    """Return the type that an element states, or ``content``."""
    return str(_members(json).get("type") or "content")


def _element(json: Json) -> tuple[str, dict[str, Json]]:
    return element_type(json), _members(json)


@dataclass(frozen=True, slots=True)
class Neutral:
    """One protocol's reader of its own elements, on behalf of the other protocols.

    ``rows`` are the coverage rows of its fields. ``request`` reads a request's document, ``tool``
    returns the members of a client's tool, ``custom_format`` the format of a free-text tool
    (``{"type": "grammar", "syntax", "definition"}``), ``namespace`` the namespace and the name of a
    tool in one. ``element`` returns the type and the members of a part's element, ``element_name``
    the name of an element of an unknown type. ``citations`` reads the citations of a text of the
    given length, ``cache_mark`` the mark on a part. ``part_path`` returns the path of opaque
    content in a request: from its element, the index of its message (None: the instructions) and
    its own indexes there (two for a part of a tool's result). It is None if the element is not
    content.

    The others are about answers. ``unshown`` yields the names of members of a part that only this
    protocol knows; ``has_logprobs`` and ``ends_with_logprobs`` test a part and an ending, of which
    ``ending_word`` returns the provider's finish reason: empty if it gave none, None if this
    protocol ends answers without one. ``cites`` and ``shows_logprobs`` say what a client of this
    protocol can receive, ``cites_by_block`` that a text is split into parts at each citation,
    ``continues_answers`` that a request may end with the beginning of the answer.
    """

    rows: tuple[Row, ...] = ()
    request: Callable[[Json], FurtherOptions] = lambda _: FurtherOptions()
    tool: Callable[[Json], dict[str, Json]] = _members
    custom_format: Callable[[Json], Json] = _nothing
    namespace: Callable[[Json], tuple[str, str] | None] = _nothing
    element: Callable[[Json], tuple[str, dict[str, Json]]] = _element
    element_name: Callable[[Json], str] = element_type
    citations: Callable[[Json, int], Iterable[Citation | None]] = lambda _json, _length: ()
    cache_mark: Callable[[Json], CacheMark | None] = _nothing
    part_path: Callable[[Json, int | None, Sequence[int]], str | None] = _no_path
    unshown: Callable[[Json], Iterable[str]] = lambda _: ()
    has_logprobs: Callable[[Json], bool] = lambda _: False
    ends_with_logprobs: Callable[[Json], bool] = lambda _: False
    ending_word: Callable[[Json], str | None] = _nothing
    cites: Literal["nothing", "pages", "everything"] = "nothing"
    cites_by_block: bool = False
    shows_logprobs: bool = False
    continues_answers: bool = False


UNKNOWN = Neutral()
"""The reader of a protocol that provides none: it finds nothing."""


_READERS: dict[str, Neutral] = {}


def provide_reader(protocol: str, reader: Neutral) -> None:
    """Make ``reader`` the one that every codec uses for elements of ``protocol``."""
    _READERS[protocol] = reader


def neutral(protocol: str) -> Neutral:
    """Return the reader of the protocol of that name."""
    return _READERS.get(protocol, UNKNOWN)


def neutral_of(wire: Wire | None) -> Neutral:
    """Return the reader of ``wire``; for an unknown protocol, one that finds nothing."""
    return UNKNOWN if wire is None else neutral(wire.protocol)


def citations_of(part: Text) -> list[Citation]:
    """Return the citations of ``part`` that its protocol's reader understands.

    Messages cites block by block: each cited span is a text block of its own, with the citations in
    it. OpenAI's protocols annotate a longer text with offsets. So a Messages citation becomes an
    annotation of the whole text of its part. The opposite is impossible: a Messages citation of a
    web page has an ``encrypted_index`` that only its own provider can write.
    """
    if part.wire is None:
        return []
    found = neutral_of(part.wire).citations(part.wire.json, len(part.text))
    return [citation for citation in found if citation is not None]


def refuse_prefill(conversation: Conversation) -> None:
    """Raise ModelError("unsupported") if a Messages client ended its request with an answer.

    A Messages provider continues that answer; the other protocols would begin a new one after it.
    """
    last = conversation.messages[-1] if conversation.messages else None
    if last is None or last.role != "assistant" or not neutral_of(last.wire).continues_answers:
        return
    raise ModelError(
        "unsupported",
        "The last message is the assistant's, but this model's provider cannot continue it. End "
        "the request with a user message.",
        param=f"messages.{len(conversation.messages) - 1}.role",
    )
