"""The values passed through Temporal: the inputs of runs and activities.

They do not contain request bodies. A conversation is passed as a ConversationRef: the digest of the
stored conversation it is derived from, and the flow's changes.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from polyvox.workflows.conversation import (
    Conversation,
    Json,
    Message,
    Options,
    Part,
    Protocol,
    Tool,
)

E = TypeVar("E")


@dataclass(frozen=True, slots=True)
class Span:
    """Elements ``start`` (included) to ``stop`` (excluded) of the stored conversation."""

    start: int
    stop: int


@dataclass(frozen=True, slots=True)
class ConversationRef:
    """A conversation as its difference from a stored one; see ``refer`` and ``resolve``.

    ``base`` is the digest of the stored conversation, empty if there is none. ``messages`` and
    ``tools`` are None if they are unchanged. If ``base_wire`` is set, ``options`` have no ``wire``
    here and get that of the stored options.
    """

    base: str = ""
    messages: tuple[Span | Message, ...] | None = None
    tools: tuple[Span | Tool, ...] | None = None
    own_system: bool = False
    system: Message | None = None
    options: Options | None = None
    base_wire: bool = False
    headers: tuple[tuple[str, str], ...] | None = None


@dataclass(frozen=True, slots=True)
class ModelCall:
    """The input of a model call.

    ``model`` is ``provider:model``. With ``emit`` the events are streamed to the client, except
    calls of the tools named in ``hidden``; with ``hold_calls`` no tool call is emitted while the
    answer is being written, because a hidden one may follow. With an ``owner`` the hidden messages
    stored for that owner are restored first. ``recorded`` is the digest of an earlier run's
    answers; if the same call is among them, its recorded answer is returned. With ``priced`` the
    call is rejected if the price of the model is not known. ``key_id`` is the client's API key,
    whose stored states of calls are put back. ``listener`` is the process that holds the client,
    empty if none does. With ``journal`` emitted events are published to the run's journal too.
    """

    run_id: str
    step: str
    model: str
    conversation: ConversationRef
    emit: bool = False
    hidden: tuple[str, ...] = ()
    hold_calls: bool = False
    owner: str = ""
    traceparent: str = ""
    recorded: str = ""
    priced: bool = False
    key_id: str = ""
    listener: str = ""
    journal: bool = False


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits of one run: model calls, seconds from its start, US dollars (None: no limit).

    A model has them in ``[models.NAME.limits]``; a rehearsal gets them as ``limits`` of ``play``.

    Example::

        limits = Limits(calls=20, deadline_s=120, cost_usd=0.5)
    """

    calls: int = 200
    deadline_s: float | None = None
    cost_usd: float | None = None


@dataclass(frozen=True, slots=True)
class HiddenTurn:
    """All messages of a turn, and the ``visible`` parts that were sent to the client.

    ``base`` is the digest of the client's conversation they answer; see ``steps/transcript.py``.
    """

    base: str
    owner: str
    messages: tuple[Message, ...]
    visible: tuple[Part, ...]


@dataclass(frozen=True, slots=True)
class ToolUse:
    """The input of a server-side tool: its ``name`` and JSON ``params``.

    ``base`` is the digest of the client's conversation, whose media the tool may read.
    """

    run_id: str
    name: str
    params: dict[str, Json] = field(default_factory=dict)
    base: str = ""


@dataclass(frozen=True, slots=True)
class Memo:
    """A JSON value to be stored under ``key``."""

    key: str
    json: Json


@dataclass(frozen=True, slots=True)
class ProgressPart:
    """A part of the Reply that the flow sends to the client before the Reply is complete."""

    run_id: str
    part: Part
    listener: str = ""
    journal: bool = False


@dataclass(frozen=True, slots=True)
class RunInput:
    """The input of a run. Later changes of models or flows do not affect it.

    ``model`` is the public name the client requested, ``flow`` the version's name (``fusion@3``),
    ``digest`` the digest of its source, ``params`` the virtual model's parameters, ``key_id`` the
    client's API key, ``headers`` the request headers that flows may read, with lower-case names. A
    rerun has the id of the repeated run in ``rerun_of``, the digest of its answers in ``recorded``
    and the same ``seed`` of random numbers. ``side`` is what a request beside the conversation is
    for, empty for others. With ``emitted_first`` the Reply begins with what was emitted; runs that
    earlier versions began do not have it. ``listener`` is the process that holds the client
    when the run starts, empty if none does. With ``journal`` its emitted events are published
    to its journal from the start.
    """

    model: str
    flow: str
    digest: str
    conversation: ConversationRef
    params: dict[str, Json] = field(default_factory=dict)
    protocol: Protocol = "chat"
    key_id: str = ""
    traceparent: str = ""
    headers: dict[str, str] = field(default_factory=dict)
    limits: Limits = Limits()
    rerun_of: str = ""
    seed: str = ""
    recorded: str = ""
    side: str = ""
    emitted_first: bool = False
    listener: str = ""
    journal: bool = False


def refer(conversation: Conversation, base: Conversation, digest: str) -> ConversationRef:
    """Return ``conversation`` as its difference from ``base``, stored under ``digest``.

    Elements are compared by identity, because a flow passes on the objects it was given.
    """
    return ConversationRef(
        base=digest,
        messages=_picked(conversation.messages, base.messages),
        tools=_picked(conversation.tools, base.tools),
        own_system=conversation.system is not base.system,
        system=None if conversation.system is base.system else conversation.system,
        options=_own_options(conversation.options, base.options),
        base_wire=conversation.options.wire is base.options.wire,
        headers=None if conversation.headers == base.headers else conversation.headers,
    )


def resolve(ref: ConversationRef, base: Conversation) -> Conversation:
    """Return the conversation that ``refer`` made ``ref`` of."""
    options = base.options if ref.options is None else ref.options
    if ref.options is not None and ref.base_wire:
        options = replace(ref.options, wire=base.options.wire)
    return Conversation(
        messages=_unpicked(ref.messages, base.messages),
        system=ref.system if ref.own_system else base.system,
        tools=_unpicked(ref.tools, base.tools),
        options=options,
        headers=base.headers if ref.headers is None else ref.headers,
    )


def _own_options(options: Options, base: Options) -> Options | None:
    if options is base:
        return None
    return replace(options, wire=None) if options.wire is base.wire else options


def _picked(elements: Sequence[E], base: Sequence[E]) -> tuple[Span | E, ...] | None:
    if elements is base:
        return None
    place = {id(element): index for index, element in enumerate(base)}
    picks: list[Span | E] = []
    for element in elements:
        index = place.get(id(element))
        if index is None:
            picks.append(element)
        elif picks and isinstance(last := picks[-1], Span) and last.stop == index:
            picks[-1] = Span(last.start, index + 1)
        else:
            picks.append(Span(index, index + 1))
    return tuple(picks)


def _unpicked(picks: Sequence[Any] | None, base: tuple[Any, ...]) -> tuple[Any, ...]:
    if picks is None:
        return base
    elements: list[Any] = []
    for pick in picks:
        if isinstance(pick, Span):
            elements.extend(base[pick.start : pick.stop])
        else:
            elements.append(pick)
    return tuple(elements)
