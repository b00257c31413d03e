"""The only internal form of an answer: a Reply, with its Usage, Cost and FinishReason."""

from dataclasses import dataclass, fields, replace
from typing import Literal

from polyvox.workflows.conversation import Message, Part, Text, ToolCall, Wire

FinishReason = Literal["stop", "length", "tool_calls", "refusal", "pause"]
"""Why the model stopped.

``length`` covers the output limit and a full context window, ``refusal`` a declined or filtered
answer, ``pause`` a provider that wants to be asked again to go on (Messages ``pause_turn``).
"""


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens of one call or of several, by meter. The meters are disjoint but for ``reasoning``.

    Whole input = ``input`` + ``cache_read`` + ``cache_write``. ``reasoning`` is contained in
    ``output``. None means the provider did not say; it is not zero.
    """

    input: int | None = None
    cache_read: int | None = None
    cache_write: int | None = None
    output: int | None = None
    reasoning: int | None = None

    def __add__(self, other: "Usage") -> "Usage":
        return Usage(*(_plus(getattr(self, f.name), getattr(other, f.name)) for f in fields(self)))

    @property
    def whole_input(self) -> int:
        """All input tokens, cached or not; unknown meters count nothing."""
        return (self.input or 0) + (self.cache_read or 0) + (self.cache_write or 0)


@dataclass(frozen=True, slots=True)
class Cost:
    """What calls cost in US dollars: ``usd`` those whose cost is known, ``unknown`` how many not.

    A call's own cost is a number, or None where nobody knows it; that is not zero.
    """

    usd: float = 0.0
    unknown: int = 0

    def plus(self, call: float | None) -> "Cost":
        """Return the cost with one more call's."""
        if call is None:
            return Cost(self.usd, self.unknown + 1)
        return Cost(self.usd + call, self.unknown)

    @property
    def whole(self) -> float | None:
        """All of it, None if a part is unknown."""
        return None if self.unknown else self.usd


def _plus(left: int | None, right: int | None) -> int | None:
    return right if left is None else left if right is None else left + right


@dataclass(frozen=True, slots=True)
class Reply:
    """One assistant message, why it ended and what it took.

    ``model`` is the name the provider gave itself. ``cost_usd`` is what was paid for it, None if
    nobody knows. ``wire`` holds what the provider's own protocol
    says about the whole answer beyond the parts (service tier, stop details, fingerprints ...).
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
        return tuple(part for part in self.parts if isinstance(part, ToolCall))

    @property
    def message(self) -> Message:
        """The reply as a message of the conversation that goes on from it."""
        return Message("assistant", self.parts)

    def with_usage(self, usage: Usage) -> "Reply":
        return replace(self, usage=usage)
