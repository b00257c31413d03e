"""Parses and renders the usage of a Messages answer."""

from collections.abc import Mapping

from polyvox.protocols.token_counts import count
from polyvox.workflows.conversation import Json
from polyvox.workflows.reply import Usage


def parse_usage(json: Mapping[str, Json]) -> Usage:
    """Parse a ``usage`` object.

    The top-level numbers exclude what compaction used; ``iterations`` includes it (API reference,
    BetaUsage). An advisor's iterations have another model's price and are not counted here.
    """
    short, hour = _cache_writes(json)
    usage = Usage(
        input=count(json, "input_tokens"),
        cache_read=count(json, "cache_read_input_tokens"),
        cache_write=short,
        cache_write_1h=hour,
        output=count(json, "output_tokens"),
        reasoning=count(json, "output_tokens_details", "thinking_tokens"),
    )
    for iteration in json.get("iterations") or ():
        if iteration.get("type") == "compaction":
            usage += parse_usage(iteration)
    return usage


def _cache_writes(json: Mapping[str, Json]) -> tuple[int | None, int | None]:
    """Return the tokens written to a cache for five minutes, and for an hour.

    ``cache_creation_input_tokens`` counts both; ``cache_creation`` holds each, and not every
    server of this protocol sends it.
    """
    both = count(json, "cache_creation_input_tokens")
    short = count(json, "cache_creation", "ephemeral_5m_input_tokens")
    hour = count(json, "cache_creation", "ephemeral_1h_input_tokens")
    if both is None and short is None and hour is None:
        return None, None
    return max((both or 0) - (hour or 0), short or 0), hour


def render_usage(usage: Usage) -> dict[str, Json]:
    """Render a ``usage`` object; unknown required numbers are 0."""
    rendered: dict[str, Json] = {
        "input_tokens": usage.input or 0,
        "cache_creation_input_tokens": usage.whole_cache_write or 0,
        "cache_read_input_tokens": usage.cache_read or 0,
        "output_tokens": usage.output or 0,
    }
    if usage.cache_write_1h is not None:
        rendered["cache_creation"] = {
            "ephemeral_5m_input_tokens": usage.cache_write or 0,
            "ephemeral_1h_input_tokens": usage.cache_write_1h,
        }
    if usage.reasoning is not None:
        rendered["output_tokens_details"] = {"thinking_tokens": usage.reasoning}
    return rendered
