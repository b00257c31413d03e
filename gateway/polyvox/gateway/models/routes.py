"""Lists of models in each dialect's shape. Format: OpenAI and Anthropic ``GET /v1/models``.

What a model's card says of it is told in every dialect. OpenAI's own format has no place for it;
there it stands in the fields of OpenRouter, vLLM and Groq, which are what agents read.
"""

from collections.abc import Mapping
from datetime import UTC, datetime

from starlette.datastructures import QueryParams

from polyvox.activities.registry.model_card import Card
from polyvox.activities.registry.registry import ResolvedModel
from polyvox.gateway.models.codex import codex_models
from polyvox.protocols.client_side import Front
from polyvox.protocols.messages import client_request as messages
from polyvox.workflows.conversation import Json
from polyvox.workflows.errors import ModelError

_PAGE = 20
_LONGEST_PAGE = 1000

# OpenRouter's words for what a request may say, by what a model can do.
_PARAMETERS = {
    "tools": ("tools", "tool_choice"),
    "thinking": ("reasoning", "reasoning_effort"),
    "structured_outputs": ("response_format", "structured_outputs"),
}
_MODALITIES = {"images": "image", "pdf": "file", "audio": "audio"}

_WINDOW = ("context_length", "context_window", "max_model_len", "max_input_tokens")
_OUTPUT = ("max_completion_tokens", "max_output_tokens")

# Claude's levels; Messages has no "minimal".
_EFFORTS = ("low", "medium", "high", "xhigh", "max")


def list_models(bindings: list[ResolvedModel], query: QueryParams, front: Front) -> dict[str, Json]:
    """Return the list document: paged for Messages clients, whole for the others.

    Raises ModelError("invalid_request") for a limit that is no number from 1 to 1000.
    """
    entries = [one_model(binding, front) for binding in bindings]
    if front is not messages:
        whole: dict[str, Json] = {"object": "list", "data": entries}
        # Codex asks with its version and reads only this member.
        return {**whole, "models": codex_models(bindings)} if "client_version" in query else whole
    states = query.getlist("lifecycle[]") or ["active"]
    entries = [entry for entry in entries if entry["lifecycle"] in states]
    names = [entry["id"] for entry in entries]
    start = names.index(query["after_id"]) + 1 if query.get("after_id") in names else 0
    stop = names.index(query["before_id"]) if query.get("before_id") in names else len(names)
    limit = _limit(query)
    between = entries[start:stop]
    # Going back, the page is what stands just before, and more of it lies further back.
    page = between[-limit:] if "before_id" in query else between[:limit]
    return {
        "data": page,
        "has_more": len(between) > len(page),
        "first_id": page[0]["id"] if page else None,
        "last_id": page[-1]["id"] if page else None,
    }


def one_model(binding: ResolvedModel, front: Front) -> dict[str, Json]:
    """Return one model's document."""
    created = binding.created_at or datetime.fromtimestamp(0, UTC)
    card = binding.told
    if front is not messages:
        return {
            "id": binding.model,
            "object": "model",
            "created": int(created.timestamp()),
            "owned_by": "polyvox",
            "name": binding.model,
            **({"description": binding.description} if binding.description else {}),
            **_sizes(card),
            **_openrouter_capabilities(card),
        }
    return {
        "type": "model",
        "id": binding.model,
        # Claude Code's list of models shows both.
        "display_name": binding.model,
        "description": binding.description or None,
        "created_at": created.isoformat().replace("+00:00", "Z"),
        "lifecycle": "active",
        "line": None,
        "max_input_tokens": card.context_window,
        "max_tokens": card.max_output_tokens,
        "capabilities": None if card.capabilities is None else _claude_capabilities(card),
        "deprecated_at": None,
        "retires_at": None,
    }


def _sizes(card: Card) -> dict[str, Json]:
    sizes: dict[str, Json] = {}
    if card.context_window is not None:
        sizes.update(dict.fromkeys(_WINDOW, card.context_window))
    if card.max_output_tokens is not None:
        sizes.update(dict.fromkeys(_OUTPUT, card.max_output_tokens))
    if sizes:
        sizes["top_provider"] = {
            "context_length": card.context_window,
            "max_completion_tokens": card.max_output_tokens,
        }
    return sizes


def _openrouter_capabilities(card: Card) -> dict[str, Json]:
    if card.capabilities is None:
        return {}
    taken = [word for can, word in _MODALITIES.items() if can in card.capabilities]
    said = [
        word for can, words in _PARAMETERS.items() if can in card.capabilities for word in words
    ]
    return {
        "architecture": {"input_modalities": ["text", *taken], "output_modalities": ["text"]},
        "supported_parameters": ["max_tokens", *said],
        "capabilities": list(card.capabilities),
        **({"reasoning_efforts": list(card.efforts)} if card.efforts else {}),
    }


def _claude_capabilities(card: Card) -> dict[str, Json]:
    no = {"supported": False}
    thinking = {"supported": card.can("thinking")}
    efforts = {level: {"supported": level in card.efforts} for level in _EFFORTS}
    return {
        "batch": no,
        "citations": {"supported": card.can("citations")},
        "code_execution": no,
        "context_management": no,
        "effort": {"supported": bool(card.efforts), **efforts},
        "image_input": {"supported": card.can("images")},
        "pdf_input": {"supported": card.can("pdf")},
        "server_tools": {"supported": False, "code_execution": no, "web_search": no},
        "structured_outputs": {"supported": card.can("structured_outputs")},
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


def _limit(query: Mapping[str, str]) -> int:
    given = query.get("limit", str(_PAGE))
    if len(given) <= 4 and given.isdecimal() and 1 <= int(given) <= _LONGEST_PAGE:
        return int(given)
    raise ModelError(
        "invalid_request",
        f"limit must be a number from 1 to {_LONGEST_PAGE}, not {given[:20]!r}.",
        param="limit",
    )
