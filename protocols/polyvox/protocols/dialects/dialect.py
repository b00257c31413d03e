"""What a provider's server accepts, as a value.

The renderers of all protocols read it. ``servers.py`` has the table of the known servers; what
depends on the model and not on the server is in the ``model_capabilities`` of each protocol.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Final, Literal

from polyvox.workflows.conversation import Json

OPENAI_FIELDS: Final = frozenset(
    (
        *("audio", "frequency_penalty", "function_call", "functions", "logit_bias", "logprobs"),
        *("max_completion_tokens", "max_tokens", "metadata", "modalities", "n"),
        *("parallel_tool_calls", "prediction", "presence_penalty", "prompt_cache_key"),
        *("prompt_cache_options", "prompt_cache_retention", "reasoning_effort", "response_format"),
        *("safety_identifier", "seed", "service_tier", "stop", "store", "stream_options"),
        *("temperature", "tool_choice", "tools", "top_logprobs", "top_p", "user", "verbosity"),
        "web_search_options",
    )
)
"""The optional fields of a Chat Completions request, as OpenAI documents them."""

PLAIN_FIELDS: Final = frozenset(
    (
        *("max_tokens", "response_format", "stop", "stream_options", "temperature"),
        *("tool_choice", "tools", "top_p"),
    )
)
"""The optional fields that every server of Chat Completions accepts."""

OutputLimit = Literal["max_tokens", "max_completion_tokens", "by_model"]
EffortField = Literal["reasoning_effort", "thinking", "enable_thinking"]
ForcedChoice = Literal["accepted", "required", "without_thinking", "refused"]
Instructions = Literal["anywhere", "head"]
CallIds = Literal["any", "nine_characters"]
Thoughts = Literal["optional", "with_calls", "always", "refused"]
Responses = Literal["whole", "functions"]

UNKNOWN: Final = "unknown"
"""The name of every server that is not in the table."""


@dataclass(frozen=True, slots=True)
class Dialect:
    """The facts about one server. The defaults are those of an unknown server.

    ``server`` is its name in the table. ``output_limit`` is the field for the output limit in Chat
    Completions; ``by_model`` means ``max_completion_tokens`` for OpenAI's thinking models and
    ``max_tokens`` for all others. ``accepts`` are the optional request fields that are sent for
    clients of other protocols. ``refuses`` are fields that the server answers with an error; they
    are left out even if a client of the same protocol sent them. ``stops`` is the largest number of
    stop sequences; Polyvox itself watches for the others. ``hottest`` is the largest temperature.

    ``effort_as`` is how an effort is written: as the field ``reasoning_effort``, or as a switch
    (``thinking: {"type": ...}`` or ``enable_thinking``) beside it. ``efforts`` are the accepted
    levels, lowest first; empty for a server that has only the switch, None where the model decides.
    ``json_schema`` tells whether an answer's schema is accepted, ``json_object`` whether that
    format is, ``strict_tools`` whether a function may be ``strict``, ``custom_tools`` whether
    free-text tools are known. ``forced_choice`` is about a ``tool_choice`` that requires a call;
    ``required`` means that it cannot name a tool.

    ``instructions`` says where system messages may be: ``head`` means one, at the beginning.
    ``developer`` tells whether that role is known. With ``alternate`` two messages of the user, or
    two of the assistant, must not follow each other. With ``reply_after_results`` a user message
    must not follow tool results directly. ``final_reply`` tells whether a conversation may end with
    a message of the assistant. ``call_ids`` is the required shape of tool call ids,
    ``longest_call_id`` their largest length. ``thoughts`` is about ``reasoning_content`` in the
    history: required in messages with tool calls, in every message of the assistant, optional, or
    refused. With ``signatures`` the first call of a message needs a thought signature.
    ``text_parts`` tells whether a text may be a list of parts, ``message_names`` whether a message
    may have a name, ``strict_messages`` whether messages with unknown members are refused.
    ``adaptive_thinking`` is about Messages: whether that form of thinking is known for models that
    are not Claude; a budget is known everywhere. ``responses`` is about the Responses protocol:
    ``functions`` for a server that translates it to a chat template and therefore knows neither
    free-text tools nor namespaces nor later instructions.
    """

    server: str = UNKNOWN
    output_limit: OutputLimit = "by_model"
    accepts: frozenset[str] = PLAIN_FIELDS
    refuses: frozenset[str] = frozenset()
    stops: int = 4
    hottest: float | None = None
    effort_as: EffortField = "reasoning_effort"
    efforts: tuple[str, ...] | None = None
    json_schema: bool = True
    json_object: bool = True
    forced_choice: ForcedChoice = "accepted"
    strict_tools: bool = False
    custom_tools: bool = False
    instructions: Instructions = "head"
    developer: bool = False
    alternate: bool = True
    reply_after_results: bool = False
    final_reply: bool = True
    call_ids: CallIds = "any"
    longest_call_id: int | None = None
    thoughts: Thoughts = "optional"
    signatures: bool = False
    text_parts: bool = False
    message_names: bool = True
    strict_messages: bool = False
    adaptive_thinking: bool = False
    responses: Responses = "whole"

    @property
    def is_known(self) -> bool:
        """Whether the server is in the table."""
        return self.server != UNKNOWN


FACTS: Final = tuple(field.name for field in fields(Dialect))
"""The names of all facts."""

PLAIN: Final = Dialect()
"""The dialect of an unknown server: what every server accepts."""

FULL: Final = Dialect(
    server="polyvox",
    output_limit="max_completion_tokens",
    accepts=OPENAI_FIELDS,
    strict_tools=True,
    custom_tools=True,
    instructions="anywhere",
    developer=True,
    alternate=False,
    text_parts=True,
    adaptive_thinking=True,
)
"""The whole protocol as it is documented. The simulator and other Polyvox servers accept it."""


def changed(dialect: Dialect, changes: Mapping[str, Json]) -> Dialect:
    """Return ``dialect`` with an operator's ``changes``, by fact.

    ``accepts`` and ``refuses`` are added to those of the dialect; a field named in one of them is
    removed from the other.
    """
    facts = {name: value for name, value in changes.items() if name in FACTS}
    accepts = frozenset(facts.pop("accepts", None) or ())
    refuses = frozenset(facts.pop("refuses", None) or ())
    if (efforts := facts.get("efforts")) is not None:
        facts["efforts"] = tuple(efforts)
    return replace(
        dialect,
        accepts=(dialect.accepts | accepts) - refuses,
        refuses=(dialect.refuses - accepts) | refuses,
        **facts,
    )


@dataclass(frozen=True, slots=True)
class Source:
    """Where facts were found: their names, the page, and the date on which it was read."""

    facts: tuple[str, ...]
    page: str
    read: str


@dataclass(frozen=True, slots=True)
class Server:
    """A known server: its hosts, and what it accepts.

    A host also stands for its subdomains. A host that begins with ``:`` is the port of a server on
    the operator's own machines.
    """

    dialect: Dialect
    hosts: tuple[str, ...]
    sources: tuple[Source, ...]

    @property
    def name(self) -> str:
        """Return the name of the server in the table."""
        return self.dialect.server
