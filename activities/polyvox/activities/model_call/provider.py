"""A provider as an activity needs it: where it is, what it speaks, which key opens it."""

from collections.abc import Mapping
from dataclasses import dataclass, field

EVERY_MODEL = "*"
"""Stands for all models of a provider that have no price of their own."""


@dataclass(frozen=True, slots=True)
class Price:
    """US dollars for a million tokens, by meter. None: as fresh input."""

    input: float
    output: float
    cache_read: float | None = None
    cache_write: float | None = None


@dataclass(frozen=True, slots=True)
class Provider:
    """An upstream and the protocol it speaks.

    ``base_url`` has no trailing slash and ends where the protocol's own paths begin: a call goes to
    ``base_url + "/chat/completions"``, ``"/responses"`` or ``"/messages"``. ``api_key_env`` is the
    *name* of an environment variable, so that a value of this class can be logged, stored and put
    into a run's history; the key itself is looked up at the moment of the call. ``headers`` are
    sent with every request. ``timeout_s`` limits one attempt, in seconds. ``inline_urls`` is for a
    provider that does not fetch the URLs of images and files itself: they are fetched for it.
    ``prices`` are its operator's, by model; they go before those that are publicly known.
    """

    name: str
    protocol: str
    base_url: str
    api_key_env: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    timeout_s: float = 600.0
    inline_urls: bool = False
    prices: Mapping[str, Price] = field(default_factory=dict)


def api_key(provider: Provider, environ: Mapping[str, str]) -> str | None:
    """The provider's key, or None where it needs none or the variable is unset or blank.

    Surrounding white space goes: a newline from ``export KEY="$(cat file)"`` is not allowed in a
    header.
    """
    if provider.api_key_env is None:
        return None
    return environ.get(provider.api_key_env, "").strip() or None
