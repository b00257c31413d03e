"""Lists of models in Anthropic's format, in pages."""

from collections.abc import Sequence

from polyvox.protocols.client_side import ModelEntry
from polyvox.workflows.conversation import Json
from polyvox.workflows.errors import ModelError

_PAGE = 20
_LONGEST_PAGE = 1000

# Claude's levels; Messages has no "minimal".
_EFFORTS = ("low", "medium", "high", "xhigh", "max")


def render_list(models: Sequence[ModelEntry], query: Sequence[tuple[str, str]]) -> dict[str, Json]:
    """Render a page of the list.

    Raises ModelError("invalid_request") for a limit that is not a number from 1 to 1000.
    """
    parameters = dict(query)
    states = [value for name, value in query if name == "lifecycle[]"] or ["active"]
    entries = [entry for model in models if (entry := render_model(model))["lifecycle"] in states]
    names = [entry["id"] for entry in entries]
    start = names.index(parameters["after_id"]) + 1 if parameters.get("after_id") in names else 0
    stop = (
        names.index(parameters["before_id"]) if parameters.get("before_id") in names else len(names)
    )
    limit = _limit(parameters.get("limit", str(_PAGE)))
    between = entries[start:stop]
    # Backwards, the page is the part just before, and has_more means earlier entries.
    page = between[-limit:] if "before_id" in parameters else between[:limit]
    return {
        "data": page,
        "has_more": len(between) > len(page),
        "first_id": page[0]["id"] if page else None,
        "last_id": page[-1]["id"] if page else None,
    }


def render_model(model: ModelEntry) -> dict[str, Json]:
    """Render one model's document."""
    return {
        "type": "model",
        "id": model.name,
        # Claude Code's list of models shows both.
        "display_name": model.name,
        "description": model.description or None,
        "created_at": model.created_at.isoformat().replace("+00:00", "Z"),
        "lifecycle": "active",
        "line": None,
        "max_input_tokens": model.context_window,
        "max_tokens": model.max_output_tokens,
        "capabilities": None if model.capabilities is None else _claude_capabilities(model),
        "deprecated_at": None,
        "retires_at": None,
    }


def _claude_capabilities(model: ModelEntry) -> dict[str, Json]:
    no = {"supported": False}
    thinking = {"supported": model.can("thinking")}
    efforts = {level: {"supported": level in model.efforts} for level in _EFFORTS}
    return {
        "batch": no,
        "citations": {"supported": model.can("citations")},
        "code_execution": no,
        "context_management": no,
        "effort": {"supported": bool(model.efforts), **efforts},
        "image_input": {"supported": model.can("images")},
        "pdf_input": {"supported": model.can("pdf")},
        "server_tools": {"supported": False, "code_execution": no, "web_search": no},
        "structured_outputs": {"supported": model.can("structured_outputs")},
        "thinking": {
            **thinking,
            "types": {
                "adaptive": thinking,
                "between_tools": no,
                "disabled": {"supported": True},
                "enabled": thinking,
            },
        },
    }


def _limit(given: str) -> int:
    if len(given) <= 4 and given.isdecimal() and 1 <= int(given) <= _LONGEST_PAGE:
        return int(given)
    raise ModelError(
        "invalid_request",
        f"limit must be a number from 1 to {_LONGEST_PAGE}, not {given[:20]!r}.",
        param="limit",
    )
