"""A provider: its address, protocol, key and prices."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from polyvox.workflows.conversation import Json

EVERY_MODEL = "*"
"""In ``prices``: all models of the provider that are not listed."""


@dataclass(frozen=True, slots=True)
class Price:
    """US dollars per million tokens, by meter.

    Without a price of its own, a cached token has that of uncached input. Claude's cache writes
    are an exception: see ``pricing``.
    """

    input: float
    output: float
    cache_read: float | None = None
    cache_write: float | None = None
    cache_write_1h: float | None = None


@dataclass(frozen=True, slots=True)
class Provider:
    """An upstream and the protocol it speaks.

    ``base_url`` has no trailing slash and ends where the protocol's own paths begin: a call goes to
    ``base_url + "/chat/completions"``, ``"/responses"`` or ``"/messages"``. ``api_key_env`` is the
    *name* of an environment variable, so that a Provider can be logged and stored; the key itself
    is read when a call is made. ``headers`` are sent with every request. ``timeout_s`` limits one
    attempt, in seconds. With ``inline_urls`` Polyvox fetches the URLs of images and files, for a
    provider that does not fetch them. ``prices`` are the operator's, by model; they take precedence
    over list prices. ``dialect`` are the operator's changes to what is known about the server, by
    fact; see ``protocols.dialects``. ``max_concurrent`` bounds the calls in progress.
    """

    name: str
    protocol: str
    base_url: str
    api_key_env: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    timeout_s: float = 600.0
    inline_urls: bool = False
    prices: Mapping[str, Price] = field(default_factory=dict)
    dialect: Mapping[str, Json] = field(default_factory=dict)
    max_concurrent: int | None = None


def api_key(provider: Provider, environ: Mapping[str, str]) -> str | None:
    """Return the provider's key, or None if it needs none or the variable is unset or blank.

    Surrounding white space is removed: a newline is not allowed in a header.
    """
    if provider.api_key_env is None:
        return None
    return environ.get(provider.api_key_env, "").strip() or None
