"""What the generations of Claude accept, and how a rendered request is adapted to one.

Fields that a Messages client sent itself are not changed; only what was rendered from another
protocol's request, or changed by a flow, is adapted here. Sources: Anthropic's API reference
and migration notes (extended thinking 3.7, adaptive thinking 4.6, sampling fixed after 4.6,
version 2026-10-21 without sampling, system messages within a conversation 4.8). Other models
are assumed to accept everything except those system messages, which some servers refuse.
"""

from polyvox.protocols.dialects.claude import generation
from polyvox.workflows.conversation import Json

__all__ = [
    "SAMPLING",
    "fit_budget",
    "fit_history",
    "fit_sampling",
    "fit_thinking",
    "generation",
    "takes_system_turns",
]

SAMPLING = ("temperature", "top_p", "top_k")

_FIRST_THINKING = (3, 7)
_FIRST_ADAPTIVE = (4, 6)
_LAST_SAMPLING = (4, 6)
_FIRST_SYSTEM_TURNS = (4, 8)

_BUDGETS = {"low": 2_048, "medium": 8_192, "high": 24_576, "xhigh": 32_768, "max": 65_536}
"""Thinking tokens for each effort, for models that accept a budget but not an effort."""

_LEAST_BUDGET = 1_024
"""The API's own minimum of ``budget_tokens``."""

_FORCED = ("any", "tool")


def takes_system_turns(model: str) -> bool | None:
    """Whether ``model`` accepts ``role: "system"`` within a conversation; None if unknown."""
    claude = generation(model)
    return None if claude is None else claude >= _FIRST_SYSTEM_TURNS


def fit_thinking(
    body: dict[str, Json], model: str, losses: list[str], *, adaptive: bool = True
) -> None:
    """Spell the requested thinking as ``model`` accepts it, or leave it out.

    ``adaptive`` tells whether the server accepts adaptive thinking for models that are not Claude.
    """
    if (body.get("thinking") or {}).get("type") != "adaptive":
        return
    claude = generation(model)
    if (body.get("tool_choice") or {}).get("type") in _FORCED:
        _drop_thinking(body, losses, "a forced tool call allows no thinking")
    elif adaptive if claude is None else claude >= _FIRST_ADAPTIVE:
        return
    elif claude is not None and claude < _FIRST_THINKING:
        _drop_thinking(body, losses, f"{model} does not think")
    else:
        budget = _BUDGETS.get(str(body["output_config"].get("effort")), _BUDGETS["high"])
        _drop_effort(body)
        _budget(body, budget, losses)


def fit_budget(body: dict[str, Json], losses: list[str]) -> None:
    """Keep the client's thinking budget below an output limit that a flow has lowered."""
    thinking = body.get("thinking") or {}
    budget = thinking.get("budget_tokens", 0)
    if thinking.get("type") == "enabled" and budget >= body["max_tokens"]:
        _budget(body, budget, losses)


def fit_history(body: dict[str, Json], losses: list[str]) -> None:
    """Leave thinking with a budget out if the current turn began without it.

    The API refuses a tool loop whose first block is not its own thinking, as when another
    provider's model began the loop. Adaptive thinking has no such rule.
    """
    if (body.get("thinking") or {}).get("type") != "enabled":
        return
    content = next(
        (m["content"] for m in reversed(body["messages"]) if m["role"] == "assistant"), ""
    )
    kinds = [block["type"] for block in content] if isinstance(content, list) else []
    if "tool_use" in kinds and kinds[0] not in ("thinking", "redacted_thinking"):
        _drop_thinking(body, losses, "the turn under way began without thinking of this provider")


def _budget(body: dict[str, Json], budget: int, losses: list[str]) -> None:
    allowed = min(budget, body["max_tokens"] - 1)
    if allowed < _LEAST_BUDGET:
        _drop_thinking(body, losses, "max_tokens leaves no room for thinking")
    else:
        body["thinking"] = {"type": "enabled", "budget_tokens": allowed}


def _drop_thinking(body: dict[str, Json], losses: list[str], why: str) -> None:
    del body["thinking"]
    _drop_effort(body)
    losses.append(f"effort: {why}")


def _drop_effort(body: dict[str, Json]) -> None:
    output = {k: v for k, v in (body.get("output_config") or {}).items() if k != "effort"}
    if output:
        body["output_config"] = output
    else:
        body.pop("output_config", None)


def fit_sampling(
    body: dict[str, Json], ours: list[str], model: str, version: str, losses: list[str]
) -> None:
    """Drop rendered sampling fields that ``model`` or the client's ``version`` refuses.

    ``ours`` names the sampling fields of ``body`` that the client did not send itself.
    """
    claude = generation(model)
    thinking = (body.get("thinking") or {}).get("type") in ("adaptive", "enabled")
    if version >= "2026-10-21":
        why = f"API version {version} takes no sampling"
    elif claude is not None and claude > _LAST_SAMPLING:
        why = f"{model} takes no sampling"
    elif thinking:
        why = "a model that thinks takes no sampling"
    else:
        return
    for name in ours:
        del body[name]
        losses.append(f"{name}: {why}")
