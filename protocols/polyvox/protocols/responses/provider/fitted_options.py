"""Leaves out the options of a Responses request that a server refuses, or may refuse."""

from typing import Final

from polyvox.workflows.conversation import Json

_OPENAI_ONLY: Final = (
    *("metadata", "prompt_cache_key", "prompt_cache_options", "prompt_cache_retention"),
    *("safety_identifier", "service_tier", "user"),
)


def plain_fields(body: dict[str, Json], losses: list[str]) -> None:
    """Leave out what only OpenAI's servers are known to take, and name it."""
    left_out = [name for name in _OPENAI_ONLY if body.pop(name, None) is not None]
    losses.extend(f"{name}: not every server takes it" for name in left_out)
    text = body.get("text")
    if isinstance(text, dict) and "verbosity" in text:
        losses.append("verbosity: not every server takes it")
        rest = {name: value for name, value in text.items() if name != "verbosity"}
        if rest:
            body["text"] = rest
        else:
            del body["text"]


def leave_out_effort(body: dict[str, Json], server: str, losses: list[str]) -> None:
    """Leave out the effort for a server that refuses it for this model."""
    reasoning = body.get("reasoning")
    if not isinstance(reasoning, dict) or "effort" not in reasoning:
        return
    rest = {name: value for name, value in reasoning.items() if name != "effort"}
    if reasoning["effort"] is not None:
        losses.append(f"effort: {server} refuses it")
    if rest:
        body["reasoning"] = rest
    else:
        del body["reasoning"]
