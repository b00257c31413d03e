"""What a virtual model tells its clients about itself: ``[models.NAME.card]``.

A flow is a function; nobody but its operator knows how much it takes and what it can do. Agents ask
before they begin: how long a conversation may grow before they compact it, whether to send images.
"""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

Capability = Literal[
    "tools", "images", "pdf", "audio", "thinking", "structured_outputs", "citations"
]
Effort = Literal["minimal", "low", "medium", "high", "xhigh", "max"]


class Card(BaseModel):
    """Sizes in tokens; None is unknown. Of ``capabilities`` that are told, the rest is not there.

    ``efforts`` are the levels of thinking a client may choose from.
    """

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    context_window: int | None = Field(None, ge=1)
    max_output_tokens: int | None = Field(None, ge=1)
    capabilities: list[Capability] | None = None
    efforts: list[Effort] = Field(default_factory=list)

    def can(self, capability: Capability) -> bool:
        """Whether the model is told to have ``capability``."""
        return capability in (self.capabilities or ())
