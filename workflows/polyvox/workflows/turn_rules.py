"""Rules about the user's turn that a flow decides by before it asks a model."""

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import AfterValidator, Field, model_validator

from polyvox.workflows.flow import Params
from polyvox.workflows.linear_patterns import PatternError, linear_pattern
from polyvox.workflows.run import Run
from polyvox.workflows.session import CLIENT_HEADERS, seen_headers

CHARACTERS_PER_TOKEN = 4


def _can_match(patterns: dict[str, str]) -> dict[str, str]:
    for name, pattern in patterns.items():
        if not seen_headers({name.lower(): ""}):
            seen = ", ".join(CLIENT_HEADERS)
            raise ValueError(f"flows cannot read {name!r}, only x-polyvox-... and {seen}")
        try:
            linear_pattern(pattern)
        except PatternError as error:
            raise ValueError(str(error)) from None
    return patterns


HeaderPatterns = Annotated[dict[str, str], AfterValidator(_can_match)]
"""A parameter of a rule: names of request headers and the expressions their values match."""


def headers_match(headers: Mapping[str, str], patterns: Mapping[str, str]) -> bool:
    """Return whether the values of ``headers``, those of a run, match all ``patterns``."""
    return all(
        linear_pattern(pattern).search(headers.get(name.lower(), ""))
        for name, pattern in patterns.items()
    )


class TurnRule(Params):
    """Conditions on the user's newest text and the request's headers, which must all hold.

    A flow derives its own rule from it and adds what the rule decides.
    """

    name: str = Field("", description="name of the rule in the trace")
    longer_than: int | None = Field(
        None, ge=0, description="tokens of the user's newest text, estimated"
    )
    shorter_than: int | None = Field(
        None, ge=0, description="tokens of the user's newest text, estimated"
    )
    words: tuple[str, ...] = Field(
        (), description="words or phrases of which the user's newest text has at least one"
    )
    header: HeaderPatterns = Field(
        default_factory=dict, description="request headers and the expressions their values match"
    )

    @model_validator(mode="after")
    def _has_a_condition(self) -> "TurnRule":
        sizes = (self.longer_than, self.shorter_than)
        if sizes == (None, None) and not self.words and not self.header:
            raise ValueError("a rule needs a condition: longer_than, shorter_than, words or header")
        return self

    def holds(self, run: Run[Any]) -> bool:
        """Return whether all conditions hold. The same in every request of the user's turn."""
        text = run.conversation.last_user_text
        tokens = len(text) // CHARACTERS_PER_TOKEN
        if self.longer_than is not None and tokens <= self.longer_than:
            return False
        if self.shorter_than is not None and tokens >= self.shorter_than:
            return False
        if self.words and not any(has_phrase(text, phrase) for phrase in self.words):
            return False
        return headers_match(run.headers, self.header)


def has_phrase(text: str, phrase: str) -> bool:
    """Return whether ``text`` has ``phrase``, one or several whole words, in any case."""
    text, phrase = f" {text.lower()} ", phrase.strip().lower()
    at = text.find(phrase) if phrase else -1
    while at >= 0:
        if not text[at - 1].isalnum() and not text[at + len(phrase)].isalnum():
            return True
        at = text.find(phrase, at + 1)
    return False
