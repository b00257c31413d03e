"""The description of a virtual model for its clients: ``[models.NAME.card]``.

A flow is a function; only its operator knows its sizes and capabilities. Agents read them before
they start: how long a conversation may grow before they compact it, whether to send images.
"""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

Capability = Literal[
    "tools", "images", "pdf", "audio", "thinking", "structured_outputs", "citations"
]
Effort = Literal["minimal", "low", "medium", "high", "xhigh", "max"]


class Card(BaseModel):
    """Sizes in tokens; None is unknown. A capability that a known list does not name is absent.

    ``efforts`` are the levels of thinking that a client may choose from.
    """

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    context_window: int | None = Field(None, ge=1)
    max_output_tokens: int | None = Field(None, ge=1)
    capabilities: list[Capability] | None = None
    efforts: list[Effort] = Field(default_factory=list)

    def can(self, capability: Capability) -> bool:
        """Return whether the model declares ``capability``."""
        return capability in (self.capabilities or ())
