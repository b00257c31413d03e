"""The values that cross Temporal: the input of a run and of a model call.

Bodies are not in them. A conversation travels as a ConversationRef: the digest of the stored one
it derives from, and what a flow changed about it.
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
    ``tools`` are None when they are the stored ones. ``options`` without ``wire`` keeps the
    stored document when ``base_wire`` is set.
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
    """One upstream attempt's input.

    ``model`` is ``provider:model``. With ``emit`` the events go to the client as they come, but
    for calls of the tools named in ``hidden``; with ``hold_calls`` no tool call is emitted while
    the answer is being written, because a hidden one may still follow. With an ``owner`` what is
    remembered of the client's earlier turns under that name is put back first. ``recorded`` is
    the address of an earlier run's answers; a call that asks what was asked then is served there.
    With ``priced`` it is refused where the price of the model is not known.
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


@dataclass(frozen=True, slots=True)
class Limits:
    """What one run may take: model calls, seconds from its start, US dollars (None: no limit)."""

    calls: int = 200
    deadline_s: float | None = None
    cost_usd: float | None = None


@dataclass(frozen=True, slots=True)
class HiddenTurn:
    """A turn's true messages, and the ``visible`` parts of them that the client was shown.

    ``base`` is the digest of the client's conversation they answer; see ``steps/transcript.py``.
    """

    base: str
    owner: str
    messages: tuple[Message, ...]
    visible: tuple[Part, ...]


@dataclass(frozen=True, slots=True)
class ToolUse:
    """The input of a server-side tool: its ``name`` and JSON ``params``.

    ``base`` is the digest of the client's conversation, whose media a tool may look into.
    """

    run_id: str
    name: str
    params: dict[str, Json] = field(default_factory=dict)
    base: str = ""


@dataclass(frozen=True, slots=True)
class Memo:
    """A JSON value to be found again under ``key``."""

    key: str
    json: Json


@dataclass(frozen=True, slots=True)
class ProgressPart:
    """A part of the Reply that the flow shows the client before the Reply is there."""

    run_id: str
    part: Part


@dataclass(frozen=True, slots=True)
class RunInput:
    """The snapshot a run starts from: nothing that is changed later can reach it.

    ``model`` is the public name the client asked for, ``flow`` the version's name (``fusion@3``),
    ``digest`` its content address, ``params`` the virtual model's parameters, ``key_id`` who asks,
    ``headers`` those of the request that a flow may see, by lower-case names. A run that repeats
    another names it in ``rerun_of``, has the address of its answers in ``recorded``, and its chance
    from the same ``seed``.
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


def refer(conversation: Conversation, base: Conversation, digest: str) -> ConversationRef:
    """Return ``conversation`` as its difference from ``base``, stored under ``digest``.

    Elements are recognised by identity: a flow passes on the very values it was given.
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
    """Return the conversation that ``refer`` described."""
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
