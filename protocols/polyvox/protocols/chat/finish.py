"""Parses and renders why a Chat Completions answer ends."""

from typing import Final

from polyvox.workflows.conversation import Json
from polyvox.workflows.reply import FinishReason

FINISH_REASONS: Final[dict[str, FinishReason]] = {
    "stop": "stop",
    "length": "length",
    "tool_calls": "tool_calls",
    "function_call": "tool_calls",
    "content_filter": "refusal",
}
"""OpenAI's words. Agents do not know those of other servers and begin again at an unknown one."""

# Chat has no value for "continue": "length" says that the answer is incomplete.
_SPELLINGS: Final[dict[FinishReason, str]] = {
    "stop": "stop",
    "length": "length",
    "tool_calls": "tool_calls",
    "refusal": "content_filter",
    "pause": "length",
}


def finish_reason(finish: FinishReason, word: Json = None) -> str:
    """Return the ``finish_reason`` of ``finish``.

    ``word`` is the value of a provider of this protocol; it is used if it means the same. OpenAI
    ends a refusal with ``stop``, so that pair counts as the same.
    """
    if isinstance(word, str):
        meant = FINISH_REASONS.get(word)
        if meant == finish or (meant == "stop" and finish == "refusal"):
            return word
    return _SPELLINGS[finish]
