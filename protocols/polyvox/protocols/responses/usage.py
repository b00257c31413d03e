"""Parses and renders the usage of a Responses answer."""

from polyvox.protocols.token_counts import count
from polyvox.workflows.conversation import Json
from polyvox.workflows.reply import Usage


def parse_usage(json: Json) -> Usage:
    """Parse a usage object; its ``input_tokens`` include those read from and written to caches."""
    whole = count(json, "input_tokens")
    read = count(json, "input_tokens_details", "cached_tokens")
    write = count(json, "input_tokens_details", "cache_write_tokens")
    return Usage(
        input=None if whole is None else max(0, whole - (read or 0) - (write or 0)),
        cache_read=read,
        cache_write=write,
        output=count(json, "output_tokens"),
        reasoning=count(json, "output_tokens_details", "reasoning_tokens"),
    )


def render_usage(usage: Usage) -> dict[str, Json]:
    """Render a usage object with every required member; unknown counts are 0."""
    output = usage.output or 0
    return {
        "input_tokens": usage.whole_input,
        "input_tokens_details": {
            "cached_tokens": usage.cache_read or 0,
            "cache_write_tokens": usage.whole_cache_write or 0,
        },
        "output_tokens": output,
        "output_tokens_details": {"reasoning_tokens": usage.reasoning or 0},
        "total_tokens": usage.whole_input + output,
    }
