"""Completes the message of a provider's error: which provider, at which address, what to do."""

from collections.abc import Mapping
from http import HTTPStatus
from urllib.parse import urljoin

from polyvox.activities.failures.base_urls import base_of, likely_base_urls, shown
from polyvox.activities.model_call.provider import Provider
from polyvox.workflows.errors import ModelError

_NO_ROUTE = (200, 404, 405)
"""The statuses that a wrong address gets, 200 only with a web page."""

_ABOUT_A_ROUTE = (
    "invalid url",
    "cannot post",
    "route",
    "endpoint",
    "method not allowed",
    "failed with status",
)
_SHORT = 60
"""Characters: a longer "not found" says what is missing, for example a file."""


def explain(
    error: ModelError,
    provider: Provider,
    model: str,
    *,
    path: str,
    status: int,
    headers: Mapping[str, str],
) -> None:
    """Add to ``error`` the provider, the address without secrets, and what to do.

    ``path`` is the request's, below the base URL; ``status`` and ``headers`` (lower-case names)
    are the answer's. What the provider said comes first: agents look for its beginning.
    """
    error.provider = provider.name
    address = shown(f"{provider.base_url.rstrip('/')}/{path}")
    page = "html" in headers.get("content-type", "")
    said = _page(status) if page and status >= 400 else error.message
    if error.kind == "not_found" and any(f"{q}{model}{q}" in said for q in "`'\" "):
        error.kind = "model_not_found"
    if 300 <= status < 400 or (page and status == 200):
        # A wrong address: another attempt would get the same.
        error.kind = "not_found"
    location = headers.get("location", "")
    remedy = _remedy(error, said, provider, model, status=status, page=page, location=location)
    if error.kind == "provider_authentication":
        # Otherwise the client might think that its own key is meant.
        named = f"Provider {provider.name!r} at {address} rejects the server's key: {said}"
    else:
        named = f"{said} (Provider {provider.name!r} at {address}.)"
    error.message = f"{named} {remedy}".rstrip()
    error.args = (error.message,)


def _remedy(
    error: ModelError,
    said: str,
    provider: Provider,
    model: str,
    *,
    status: int,
    page: bool,
    location: str,
) -> str:
    """Return what the operator can do, empty if nothing is wrong with the configuration."""
    if error.kind == "model_not_found":
        models = f"{shown(provider.base_url).rstrip('/')}/models"
        return f"It has no model {model!r}: take a name that {models} lists."
    if 300 <= status < 400:
        there = base_of(urljoin(provider.base_url, location))
        return f"Set providers.{provider.name}.base_url to {there!r}."
    if status in _NO_ROUTE and (page or _is_about_a_route(said)):
        return _other_address(provider)
    variable = provider.api_key_env
    match error.kind:
        case "provider_authentication" if variable is None:
            return f"Set providers.{provider.name}.api_key_env to the variable that has its key."
        case "provider_authentication":
            return f"Set {variable} to a valid key and restart the server."
        case "permission" if variable is not None:
            return f"Check what the key in {variable} is allowed to use."
        case "billing" | "quota" if variable is not None:
            return f"Check the account that the key in {variable} belongs to."
        case _:
            return ""


def _is_about_a_route(said: str) -> bool:
    lower = said.lower()
    nameless = len(lower) < _SHORT and "not found" in lower
    return nameless or any(words in lower for words in _ABOUT_A_ROUTE)


def _other_address(provider: Provider) -> str:
    name, protocol = provider.name, provider.protocol
    likely = likely_base_urls(provider.base_url, protocol)
    if not likely:
        return f"Its protocol is probably not {protocol!r}: correct providers.{name}.protocol."
    return (
        f"The address is probably wrong: set providers.{name}.base_url to {likely[0]!r}. If it is "
        f"right, the provider does not speak the protocol {protocol!r}: correct "
        f"providers.{name}.protocol."
    )


def _page(status: int) -> str:
    known = status in {s.value for s in HTTPStatus}
    phrase = f" {HTTPStatus(status).phrase}" if known else ""
    return f"The answer is a web page with status {status}{phrase}."
