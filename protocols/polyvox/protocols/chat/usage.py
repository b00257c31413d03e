"""Parses and renders Chat Completions usage."""

from typing import Final

from polyvox.protocols.token_counts import count
from polyvox.workflows.conversation import Json
from polyvox.workflows.reply import Usage

_HOUR: Final = (
    *("prompt_tokens_details", "cache_creation_token_details"),
    "ephemeral_1h_input_tokens",
)
"""Where LiteLLM's proxy counts the tokens that Claude wrote to a cache for an hour (its
``PromptTokensDetailsWrapper``, November 2026); ``cache_creation_tokens`` includes them."""


def parse_usage(json: Json) -> Usage:
    """Parse a ``usage`` object.

    Chat's ``prompt_tokens`` includes tokens read from and written to caches; Usage separates them.
    Some servers count reasoning in ``total_tokens`` but not in ``completion_tokens``, so the larger
    of the two results is the output.
    """
    prompt = count(json, "prompt_tokens")
    output = count(json, "completion_tokens")
    total = count(json, "total_tokens")
    read = count(json, "prompt_tokens_details", "cached_tokens")
    if read is None:
        read = count(json, "prompt_cache_hit_tokens")
    if read is None:
        read = count(json, "cached_tokens")
    write = count(json, "prompt_tokens_details", "cache_write_tokens")
    if write is None:
        write = count(json, "prompt_tokens_details", "cache_creation_tokens")
    hour = count(json, *_HOUR)
    if prompt is not None and output is not None and total is not None:
        output = max(output, total - prompt)
    return Usage(
        input=None if prompt is None else max(0, prompt - (read or 0) - (write or 0)),
        cache_read=read,
        cache_write=write if write is None else max(0, write - (hour or 0)),
        cache_write_1h=hour,
        output=output,
        reasoning=count(json, "completion_tokens_details", "reasoning_tokens"),
    )


def usage_elsewhere(chunk: dict[str, Json], choice: dict[str, Json]) -> Json:
    """Return the usage where Kimi (in the choice) and Groq (in a separate member) write it."""
    groq = chunk.get("x_groq")
    return choice.get("usage") or (groq.get("usage") if isinstance(groq, dict) else None)


def render_usage(usage: Usage, reported: Json = None) -> dict[str, Json] | None:
    """Render a ``usage`` object, or None if nothing is known.

    ``reported`` is the usage of a provider of this protocol; its other members stay if it counts
    the same tokens; usage summed over several calls has none.
    """
    if usage == Usage():
        return None
    kept = reported if isinstance(reported, dict) and parse_usage(reported) == usage else {}
    prompt, output = usage.whole_input, usage.output or 0
    return {
        **kept,
        "prompt_tokens": prompt,
        "completion_tokens": output,
        "total_tokens": prompt + output,
        "prompt_tokens_details": {
            **_members(kept, "prompt_tokens_details"),
            **_known(cached_tokens=usage.cache_read, cache_write_tokens=usage.whole_cache_write),
        },
        "completion_tokens_details": {
            **_members(kept, "completion_tokens_details"),
            **_known(reasoning_tokens=usage.reasoning),
        },
    }


def _members(json: dict[str, Json], name: str) -> dict[str, Json]:
    value = json.get(name)
    return value if isinstance(value, dict) else {}


def _known(**counts: int | None) -> dict[str, int]:
    return {name: count for name, count in counts.items() if count is not None}
