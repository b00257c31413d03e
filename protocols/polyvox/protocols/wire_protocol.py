"""The record of one protocol: everything that differs from the other protocols."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from polyvox.protocols.client_side import Ask, ModelList, RequestParser, ResponseEncoder
from polyvox.protocols.neutral import UNKNOWN, Neutral, provide_reader
from polyvox.protocols.provider_side import ProviderProtocol
from polyvox.workflows.conversation import Conversation, Json, Part

ROOT = "/v1/"

BEARER_HEADER = "authorization"
"""Its value is ``Bearer KEY``; in any other header a key is the whole value."""


@dataclass(frozen=True, slots=True)
class TokenCount:
    """How a request's input tokens are counted without answering it.

    ``path`` is relative to the root of the API, for clients and providers alike. ``fields`` are
    the members of a request that a provider's route accepts besides the model, ``refused`` those
    of a request for an answer that it refuses. ``defaults`` are members that are required in other
    requests but optional in a counting request. ``estimate`` is for models whose provider does not
    count.
    """

    path: str
    fields: frozenset[str]
    estimate: Callable[[Ask], int]
    refused: frozenset[str] = frozenset()
    defaults: Mapping[str, Json] = field(default_factory=dict)

    def left_out(self, body: Mapping[str, Json], *, is_own: bool) -> list[str]:
        """Return the members of a provider's request that are not sent to its counting route.

        A client of the provider's own protocol (``is_own``) may send members that are not known
        here.
        """
        if is_own:
            return [name for name in body if name in self.refused or name in self.defaults]
        return [name for name in body if name not in self.fields and name != "model"]


@dataclass(frozen=True, slots=True)
class CallStates:
    """Opaque state of calls that is stored here because clients cannot carry it.

    ``of`` returns what of a reply has to be stored, by call id; ``lacking`` the ids of the calls in
    a conversation that came without state; ``restored`` the conversation with the state by call id.
    """

    of: Callable[[Iterable[Part]], dict[str, Json]]
    lacking: Callable[[Conversation], list[str]]
    restored: Callable[[Conversation, Mapping[str, Json]], Conversation]


def _one(_ask: Ask) -> int:
    return 1


@dataclass(frozen=True, slots=True)
class WireProtocol:
    """One protocol, on the client side and on the provider side.

    ``path`` is that of a request for an answer, relative to the root of the API. ``elements`` parse
    the wire elements that a Conversation is made of, by ``message``, ``tool``, ``options`` and, if
    the protocol has it, ``system``; ``neutral`` reads the elements for other protocols.

    ``recognized_by`` is a request header that only clients of this protocol send; it decides on
    paths that several protocols share, such as ``/v1/models``. ``key_header`` carries the key of a
    client, and the key for a provider. ``choices_wanted`` returns how many answers a request wants.
    The answers of a ``stateful`` protocol can be stored, continued and compacted, so the gateway
    has separate routes for it. Providers of a protocol that ``signs_reasoning`` require the
    signature back; those of one with ``call_states`` may put state beside a call that clients of
    other protocols cannot carry; those of one without ``takes_file_urls`` get the content of files
    instead.
    """

    name: str
    title: str
    path: str
    parser: RequestParser
    answers: ResponseEncoder
    model_list: ModelList
    provider: ProviderProtocol
    elements: Mapping[str, Callable[[Json], Any]]
    neutral: Neutral = UNKNOWN
    token_count: TokenCount | None = None
    recognized_by: str | None = None
    key_header: str = BEARER_HEADER
    choices_wanted: Callable[[Ask], int] = _one
    stateful: bool = False
    signs_reasoning: bool = False
    call_states: CallStates | None = None
    takes_file_urls: bool = True

    @property
    def route(self) -> str:
        """The path of a request for an answer, as clients call it."""
        return ROOT + self.path

    def authorize(self, key: str) -> dict[str, str]:
        """Return the header that carries a provider's key."""
        return {self.key_header: f"Bearer {key}" if self.key_header == BEARER_HEADER else key}


Protocols = Mapping[str, WireProtocol]
"""The protocols of a program, by name. The first is used where a request does not show its own."""


def protocol_table(*records: WireProtocol) -> Protocols:
    """Return ``records`` by name, and provide their readers to the codecs of the others."""
    for record in records:
        provide_reader(record.name, record.neutral)
    return {record.name: record for record in records}


def protocol_at(protocols: Protocols, path: str, headers: Mapping[str, str]) -> WireProtocol:
    """Return the protocol in which a request to ``path`` is answered."""
    known = protocols.values()
    on_route = (p for p in known if path.startswith(p.route))
    recognized = (p for p in known if p.recognized_by and p.recognized_by in headers)
    return next(on_route, None) or next(recognized, None) or next(iter(known))
