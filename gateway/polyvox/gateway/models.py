"""Lists of models in each dialect's shape. Format: OpenAI and Anthropic ``GET /v1/models``."""

from collections.abc import Mapping
from datetime import UTC, datetime

from polyvox.activities.registry import Binding
from polyvox.gateway.protocols import messages
from polyvox.gateway.protocols.front import Front
from polyvox.workflows.conversation import Json
from polyvox.workflows.errors import ModelError

_PAGE = 20
_LONGEST_PAGE = 1000


def list_models(bindings: list[Binding], query: Mapping[str, str], front: Front) -> dict[str, Json]:
    """Return the list document: paged for Messages clients, whole for the others.

    Raises ModelError("invalid_request") for a limit that is no number from 1 to 1000.
    """
    entries = [one_model(binding, front) for binding in bindings]
    if front is not messages:
        return {"object": "list", "data": entries}
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


def one_model(binding: Binding, front: Front) -> dict[str, Json]:
    """Return one model's document."""
    created = binding.created_at or datetime.fromtimestamp(0, UTC)
    if front is not messages:
        return {
            "id": binding.model,
            "object": "model",
            "created": int(created.timestamp()),
            "owned_by": "polyvox",
        }
    return {
        "type": "model",
        "id": binding.model,
        "display_name": binding.description or binding.model,
        "created_at": created.isoformat().replace("+00:00", "Z"),
        "lifecycle": "active",
        "line": None,
        "max_input_tokens": None,
        "max_tokens": None,
        "capabilities": None,
        "deprecated_at": None,
        "retires_at": None,
    }


def _limit(query: Mapping[str, str]) -> int:
    given = query.get("limit", str(_PAGE))
    if given.isdecimal() and 1 <= int(given) <= _LONGEST_PAGE:
        return int(given)
    raise ModelError(
        "invalid_request",
        f"limit must be a number from 1 to {_LONGEST_PAGE}, not {given!r}.",
        param="limit",
    )
