"""Finish reasons: what the words of all providers mean, and whether they agree with the content.

Many servers use the words of another protocol or of their own. The reason must agree with what was
sent: an agent that reads "tool calls" and finds none stops without a word, and one that reads
"stop" beside a call may not run it.
"""

from typing import Final

from polyvox.protocols.decoding.arguments import is_json
from polyvox.protocols.provider_failures.too_long import CODES
from polyvox.workflows.conversation import Json, Opaque, Part, Refusal, Text, ToolCall
from polyvox.workflows.errors import ErrorKind, ModelError
from polyvox.workflows.reply import FinishReason

MEANINGS: Final[dict[str, FinishReason]] = {
    # OpenAI, Chat Completions and Responses (API reference, November 2026).
    "stop": "stop",
    "length": "length",
    "tool_calls": "tool_calls",
    "function_call": "tool_calls",
    "content_filter": "refusal",
    "max_output_tokens": "length",
    # Anthropic, Messages (API reference, November 2026).
    "end_turn": "stop",
    "stop_sequence": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool_calls",
    "refusal": "refusal",
    "pause_turn": "pause",
    # Hugging Face TGI (``FinishReason`` of its OpenAPI document) and older OpenAI-compatible ones.
    "eos": "stop",
    "eos_token": "stop",
    # Mistral (``FinishReason`` of its client).
    "model_length": "length",
    # Gemini (``FinishReason`` of generateContent), which some gateways pass on.
    "safety": "refusal",
    "recitation": "refusal",
    "blocklist": "refusal",
    "prohibited_content": "refusal",
    "spii": "refusal",
    # Cohere (``ChatFinishReason``).
    "complete": "stop",
    "tool_call": "tool_calls",
    # Zhipu GLM (API reference of chat completions).
    "sensitive": "refusal",
}
"""The meaning of a finish reason, by its word in lower case."""

_BROKEN: Final[dict[str, ErrorKind]] = {
    # DeepSeek at capacity.
    "insufficient_system_resource": "overloaded",
    # OpenRouter and Cohere, GLM, and SGLang and vLLM, whose request failed.
    "error": "provider_error",
    "network_error": "provider_error",
    "abort": "provider_error",
}
"""Failures in place of an ending."""

_FULL: Final = CODES | {
    # Anthropic and Bedrock (Handling stop reasons, read on 2026-11-28), and Z.ai, which answers a
    # prompt that is too long with it (https://github.com/anomalyco/opencode/issues/18813).
    "model_context_window_exceeded",
    # Mistral.
    "model_length",
}
"""Words for a full context window. An answer with content was cut there; without content there was
no room for one, so the prompt is too long."""

_LONGEST = 60


def finish_word(value: Json) -> str | None:
    """Return the finish reason in ``value``, None for an empty one. Raises TypeError for others.

    DashScope writes ``"null"`` while its answer goes on.
    """
    if value is None:
        return None
    if not isinstance(value, str):
        raise TypeError(f"{value!r:.80} is not a finish reason")
    word = value.strip()
    return None if word in ("", "null") else word


def meaning_of(word: str | None) -> FinishReason | None:
    """Return what ``word`` means, None if it is not known."""
    if not word:
        return None
    return MEANINGS.get(word.lower(), "length" if word.lower() in _FULL else None)


def refuse_broken(word: str) -> None:
    """Raise ModelError if ``word`` says that the provider failed."""
    if kind := _BROKEN.get(word.lower()):
        raise ModelError(kind, f"The provider gave up with the finish reason {word!r}.")


class Content:
    """What an answer holds, as far as its finish reason must agree with it."""

    __slots__ = ("_has_calls", "_has_half_call", "_is_refused", "is_shown")

    def __init__(self) -> None:
        self.is_shown = False
        """Whether there is anything besides reasoning."""
        self._has_calls = False
        self._has_half_call = False
        self._is_refused = False

    def note(self, part: Part) -> None:
        """Add a whole part of the answer."""
        match part:
            case Text(text):
                self.is_shown = self.is_shown or bool(text.strip())
            case ToolCall(arguments=arguments, kind=kind):
                self.is_shown = self._has_calls = True
                if kind == "function" and arguments.strip() and not is_json(arguments):
                    self._has_half_call = True
            case Refusal():
                self.is_shown = self._is_refused = True
            case Opaque():
                self.is_shown = True

    def finish(self, word: str | None, *, unknown: FinishReason = "stop") -> FinishReason:
        """Return why the answer ended, if the provider gave ``word`` as its reason.

        ``unknown`` is the meaning of a missing or unknown word. Raises ModelError if such a word
        ends an answer without content, if a tool call is announced and nothing was sent, or if the
        arguments of a completed call are not JSON; and ModelError("context_length") if the prompt
        left no room for an answer.
        """
        if word:
            refuse_broken(word)
        if word and word.lower() in _FULL and not self.is_shown:
            raise ModelError(
                "context_length",
                "The prompt is too long: it leaves no room for an answer in the model's context "
                f"window (finish reason {word!r}).",
            )
        meant = meaning_of(word)
        if not self.is_shown and (meant is None or meant == "tool_calls"):
            ending = f"the finish reason {word[:_LONGEST]!r}" if word else "no finish reason"
            raise ModelError("provider_error", f"The provider sent no content, and {ending}.")
        meant = meant or unknown
        if meant == "tool_calls" and not self._has_calls:
            meant = "stop"
        if meant == "stop":
            # Not every server has words for these.
            meant = "tool_calls" if self._has_calls else "refusal" if self._is_refused else "stop"
        if meant == "tool_calls" and self._has_half_call:
            raise ModelError(
                "bad_stream", "The provider ended a tool call whose arguments are not JSON."
            )
        return meant
