"""Finds the kind of a provider's error that its words show better than its status.

Servers send a prompt that is too long, a refused key and an unknown model with many statuses.
"""

from typing import Final

from polyvox.protocols.provider_failures.too_long import Wording, is_about_a_rate, is_too_long
from polyvox.workflows.conversation import Json
from polyvox.workflows.errors import ErrorKind

_KEY: Final = (
    Wording(
        "Gemini, with status 400",
        ("api key not valid",),
        "https://github.com/continuedev/continue/issues/10290",
        "2026-02-06",
    ),
    Wording(
        "xAI, with status 400",
        ("incorrect api key",),
        "https://github.com/continuedev/continue/issues/10778",
        "2026-02-24",
    ),
)

_MODEL: Final = (
    Wording(
        "DeepSeek, with status 400",
        ("model not exist",),
        "https://github.com/coze-dev/coze-studio/issues/293",
        "2025-07-30",
    ),
    Wording(
        "OpenRouter, with status 400",
        ("not a valid model",),
        "https://github.com/MuiseDestiny/zotero-gpt/issues/483",
        "2025-11-09",
    ),
)

_UNKNOWN: Final = ("not found", "does not exist", "not exist", "no such", "unknown", "model:")
"""With status 404 and a model: the model, and not the route, is unknown."""

_SURE: Final = frozenset({401, 402, 403, 404, 408, 429})
"""Statuses that are never sent for a prompt that is too long."""


def kind_by_words(status: int | None, message: str, *codes: str) -> ErrorKind | None:
    """Return the kind that ``message`` and ``codes`` (code and type) show; None if the status does.

    ``status`` is None for an error in a stream.
    """
    if status not in _SURE and is_too_long(message, *codes):
        return "context_length"
    lower = message.lower()
    if status in (400, 403) and any(wording.is_in(lower) for wording in _KEY):
        return "provider_authentication"
    if status == 400 and any(wording.is_in(lower) for wording in _MODEL):
        return "model_not_found"
    if status == 404 and _names_a_model(lower) and any(word in lower for word in _UNKNOWN):
        return "model_not_found"
    return None


def rate_by_words(status: int | None, message: str) -> ErrorKind | None:
    """Return "rate_limit" if ``message`` reports a rate and no code, type or status does.

    Groq refuses a request of more tokens than it allows per minute with status 413; gateways send
    the text of Bedrock in a stream.
    """
    return "rate_limit" if status in (None, 413) and is_about_a_rate(message) else None


def code_for_clients(kind: ErrorKind, code: Json) -> str | None:
    """Return the code of an error of ``kind`` for clients; None stands for the usual one.

    It is the provider's own ``code`` if that is a word: some servers repeat the status there. But
    agents act on one code for a prompt that is too long, whatever the provider's is.
    """
    if kind == "context_length":
        return "context_length_exceeded"
    return code if isinstance(code, str) and not code.isdecimal() else None


def _names_a_model(lower: str) -> bool:
    """Return whether a message is about one model; a page of HTML about a route is not."""
    return "<html" not in lower and any(f"model{end}" in lower for end in " '\"`:/")
