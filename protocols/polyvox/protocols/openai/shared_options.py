"""The members of a request that Chat Completions and Responses spell alike."""

from hashlib import sha256
from typing import Final

from polyvox.protocols.neutral import FurtherOptions
from polyvox.workflows.conversation import Json

_SHARED: Final = (
    "prompt_cache_key",
    "prompt_cache_options",
    "prompt_cache_retention",
    "safety_identifier",
    "service_tier",
    "user",
)

_USER: Final = ("safety_identifier", "user")

_LONGEST_USER: Final = 64


def shared_options(document: dict[str, Json]) -> dict[str, Json]:
    """Return the members of ``document`` that the two protocols share."""
    return {name: document[name] for name in _SHARED if document.get(name) is not None}


def user_of(document: dict[str, Json]) -> str | None:
    """Return the end user of a request."""
    user = document.get("safety_identifier") or document.get("user")
    return user if isinstance(user, str) else None


def add_shared(document: dict[str, Json], request: FurtherOptions, *, user_as: str) -> None:
    """Add these members from ``request``; a user of another protocol becomes ``user_as``.

    OpenAI refuses long user names, so a digest replaces them.
    """
    document |= request.openai
    if request.user is not None and not any(name in request.openai for name in _USER):
        too_long = len(request.user) > _LONGEST_USER
        document[user_as] = sha256(request.user.encode()).hexdigest() if too_long else request.user
    if request.standard_tier:
        document["service_tier"] = "default"
