"""The address of a provider as it may be shown, and the base URLs that are likely meant."""

from collections.abc import Iterator, Mapping
from typing import Final
from urllib.parse import urlsplit, urlunsplit

_PATHS: Final = ("/chat/completions", "/completions", "/responses", "/messages", "/models")
"""The paths of requests, which some copy into a base URL."""

_VERSION: Final = "/v1"

_KNOWN: Final[Mapping[str, Mapping[str, str]]] = {
    "api.anthropic.com": {"messages": "/v1"},
    "api.openai.com": {"chat": "/v1", "responses": "/v1"},
    "api.cohere.ai": {"chat": "/compatibility/v1"},
    "api.deepinfra.com": {"chat": "/v1/openai", "messages": "/anthropic/v1"},
    "api.deepseek.com": {"messages": "/anthropic/v1"},
    "api.fireworks.ai": {"chat": "/inference/v1"},
    "api.groq.com": {"chat": "/openai/v1", "responses": "/openai/v1"},
    "api.minimax.io": {"messages": "/anthropic/v1"},
    "api.moonshot.ai": {"messages": "/anthropic/v1"},
    "api.z.ai": {"chat": "/api/paas/v4", "messages": "/api/anthropic/v1"},
    "dashscope.aliyuncs.com": {"chat": "/compatible-mode/v1", "messages": "/apps/anthropic/v1"},
    "dashscope-intl.aliyuncs.com": {
        "chat": "/compatible-mode/v1",
        "messages": "/apps/anthropic/v1",
    },
    "generativelanguage.googleapis.com": {"chat": "/v1beta/openai"},
    "models.github.ai": {"chat": "/inference"},
    "open.bigmodel.cn": {"chat": "/api/paas/v4", "messages": "/api/anthropic/v1"},
    "openrouter.ai": {"chat": "/api/v1", "responses": "/api/v1", "messages": "/api/v1"},
}
"""The paths of base URLs by host and protocol.

From the providers' documentation as collected by https://github.com/anomalyco/models.dev and
https://github.com/charmbracelet/catwalk, November 2026.
"""


def shown(url: str) -> str:
    """Return ``url`` without user, password, query and fragment, which may hold secrets."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return ""
    host = parts.netloc.rpartition("@")[2]
    return urlunsplit((parts.scheme, host, parts.path, "", ""))


def base_of(url: str) -> str:
    """Return the base URL in the address of a request."""
    base = shown(url).rstrip("/")
    return next((base.removesuffix(path) for path in _PATHS if base.endswith(path)), base)


def likely_base_urls(base_url: str, protocol: str) -> list[str]:
    """Return the base URLs that may be meant, the likeliest first; none if ``base_url`` is known.

    They are the documented one of the host, the given one without the path of a request, and the
    given one with or without ``/v1``.
    """
    given = shown(base_url).rstrip("/")
    parts = urlsplit(given)
    origin = f"{parts.scheme}://{parts.netloc}"
    known = _KNOWN.get(parts.hostname or "", {}).get(protocol)
    if known is not None and given == origin + known:
        return []
    candidates = [] if known is None else [origin + known]
    candidates += _corrected(given, origin)
    return [url for url in dict.fromkeys(candidates) if url != given]


def _corrected(given: str, origin: str) -> Iterator[str]:
    base = base_of(given)
    while base.endswith(2 * _VERSION):
        base = base.removesuffix(_VERSION)
    if base.endswith(_VERSION):
        yield base
        yield base.removesuffix(_VERSION)
    else:
        yield base + _VERSION
        yield base
    yield origin + _VERSION
