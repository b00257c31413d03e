"""Reply, the internal representation of an answer, with its Usage, Cost and FinishReason."""

from dataclasses import dataclass, field, replace
from typing import Literal

from polyvox.workflows.conversation import Message, Part, Text, ToolCall, Wire

FinishReason = Literal["stop", "length", "tool_calls", "refusal", "pause"]
"""Why the model stopped.

``length`` covers the output limit and a full context window, ``refusal`` a declined or filtered
answer, ``pause`` an answer that the provider continues on the next request (Messages
``pause_turn``).
"""


METERS = ("input", "cache_read", "cache_write", "output", "reasoning", "cache_write_1h")
"""The categories of tokens in a Usage."""


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens of one or several calls, by category.

    ``cache_write_1h`` are the tokens written to a cache that lasts an hour, which cost more;
    ``cache_write`` are all others written to a cache. The total input is ``input`` +
    ``cache_read`` + ``cache_write`` + ``cache_write_1h``. ``output`` includes ``reasoning``;
    otherwise the categories are disjoint. None means that the provider did not report the number;
    it is different from zero. Do not add up the numbers, add up the usages: ``+`` adds each
    category as far as it is known, and ``unknown`` counts the calls in the sum that did not report
    their input or output. ``Usage()`` is the sum of no calls.

    Example::

        draft = await run.ask(run.params.model, step="draft")
        spent = draft.usage + Usage(input=1200, output=300)
        run.note("spent", tokens=spent.total, at_least=spent.whole_input)
    """

    input: int | None = None
    cache_read: int | None = None
    cache_write: int | None = None
    output: int | None = None
    reasoning: int | None = None
    cache_write_1h: int | None = None
    unknown: int = field(default=0, kw_only=True)

    def __add__(self, other: "Usage") -> "Usage":
        if not isinstance(other, Usage):
            return NotImplemented
        meters = (_plus(getattr(self, name), getattr(other, name)) for name in METERS)
        return Usage(*meters, unknown=self.unknown + other.unknown)

    def __radd__(self, start: int) -> "Usage":
        """Return this usage, so that ``sum`` can begin with 0."""
        return self if start == 0 else NotImplemented

    @property
    def total(self) -> int | None:
        """All tokens, input and output; None if those of any call are unknown."""
        if self.unknown or self.input is None or self.output is None:
            return None
        return self.whole_input + self.output

    @property
    def of_call(self) -> "Usage":
        """This usage as that of one call: ``unknown`` is 1 if input or output is not known."""
        known = self.input is not None and self.output is not None
        return self if known or self.unknown else replace(self, unknown=1)

    @property
    def meters(self) -> "Usage":
        """This usage without the count of unknown calls."""
        return replace(self, unknown=0) if self.unknown else self

    @property
    def whole_input(self) -> int:
        """All input tokens, cached or not; unknown numbers count as zero."""
        return (self.input or 0) + (self.cache_read or 0) + (self.whole_cache_write or 0)

    @property
    def whole_cache_write(self) -> int | None:
        """All tokens written to a cache, however long it lasts; None if none were reported."""
        return _plus(self.cache_write, self.cache_write_1h)


@dataclass(frozen=True, slots=True)
class Cost:
    """The cost of several calls in US dollars.

    ``usd`` is the sum of the known costs, ``unknown`` the number of calls whose cost is not known.
    The cost of a single call is a number, or None if it is not known.
    """

    usd: float = 0.0
    unknown: int = 0

    def plus(self, call: float | None) -> "Cost":
        """Return the cost with that of one more ``call`` added."""
        if call is None:
            return Cost(self.usd, self.unknown + 1)
        return Cost(self.usd + call, self.unknown)

    @property
    def whole(self) -> float | None:
        """The total, None if the cost of any call is unknown."""
        return None if self.unknown else self.usd


def _plus(left: int | None, right: int | None) -> int | None:
    return right if left is None else left if right is None else left + right


@dataclass(frozen=True, slots=True)
class Reply:
    """One assistant message with its finish reason, usage and cost.

    ``model`` is the name that the provider reported. ``cost_usd`` is None if the cost is not known.
    ``wire`` holds the fields of the provider's protocol that describe the whole answer (service
    tier, stop details, fingerprints ...).

    Example::

        reply = await run.ask(run.params.model, step="draft")
        if reply.tool_calls:
            return reply
        return Reply((Text(f"In short: {reply.text}"),))
    """

    parts: tuple[Part, ...]
    finish: FinishReason = "stop"
    usage: Usage = Usage()
    model: str = ""
    stop_sequence: str | None = None
    wire: Wire | None = None
    cost_usd: float | None = None

    @property
    def text(self) -> str:
        """All Text of the reply, joined without a separator."""
        return "".join(part.text for part in self.parts if isinstance(part, Text))

    @property
    def tool_calls(self) -> tuple[ToolCall, ...]:
        """The calls of tools, in their order."""
        return tuple(part for part in self.parts if isinstance(part, ToolCall))

    @property
    def message(self) -> Message:
        """The reply as a message, to continue the conversation with."""
        return Message("assistant", self.parts)

    def with_usage(self, usage: Usage) -> "Reply":
        """Return the reply with another usage."""
        return replace(self, usage=usage)
