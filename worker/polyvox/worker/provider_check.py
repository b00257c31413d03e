"""Finds out which of a provider's key, base URL and protocol is wrong, without asking a model.

It asks for the list of models with the key. Only where that does not decide, it sends an empty
object to the route of a protocol, which every server refuses: the way it does shows whether it
speaks the protocol.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal
from urllib.parse import urljoin

import httpx
import orjson

from polyvox.activities.failures.base_urls import base_of, likely_base_urls, shown
from polyvox.activities.model_call.provider import Provider, api_key
from polyvox.activities.model_call.redaction import Redaction, sent_secrets
from polyvox.protocols.bounded_json import parse_json
from polyvox.protocols.table import PROTOCOLS
from polyvox.workflows.conversation import Json

Meaning = Literal["models", "key", "absent", "refused", "busy"]
"""What an answer shows: a list of models, a refused key, no such route, a route that refuses the
request for another reason, or a server that fails."""

_ALWAYS = {"anthropic-version": "2023-06-01", "accept": "application/json"}
_LONGEST = 200
"""Characters of a provider's text in a finding."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What is known of a provider; ``remedy`` is empty if nothing is wrong."""

    detail: str
    remedy: str = ""


@dataclass(frozen=True, slots=True)
class _Answer:
    meaning: Meaning
    status: int
    text: str
    models: int = 0
    location: str = ""


async def check_provider(
    provider: Provider, environ: Mapping[str, str], client: httpx.AsyncClient
) -> Verdict:
    """Return what is wrong with ``provider``. Raises httpx.HTTPError if it does not answer."""
    return await _Check(provider, environ, client).verdict()


class _Check:
    def __init__(
        self, provider: Provider, environ: Mapping[str, str], client: httpx.AsyncClient
    ) -> None:
        self._provider = provider
        self._key = api_key(provider, environ)
        self._client = client
        self._base = provider.base_url.rstrip("/")
        self._redaction = Redaction(sent_secrets(provider, environ))
        self._protocol = provider.protocol

    async def verdict(self) -> Verdict:
        listed = await self._models(self._base)
        match listed.meaning:
            case "models":
                return await self._wrong_behind_the_list() or Verdict(
                    f"{self._shown('models')} responds; models: {listed.models}"
                )
            case "key" if self._is_unset:
                return Verdict(f"{self._shown('models')} needs the key, which is not set")
            case "key":
                return await self._other_key_header() or self._wrong_key(listed)
            case "absent":
                return await self._absent(listed)
            case _:
                return Verdict(
                    f"{self._shown('models')} responds with status {listed.status}: {listed.text}",
                    "Try again later, or look at the provider's status page.",
                )

    @property
    def _is_unset(self) -> bool:
        return self._key is None and self._provider.api_key_env is not None

    async def _wrong_behind_the_list(self) -> Verdict | None:
        """Return what is wrong though the models are listed, as some do for everybody."""
        asked = await self._asked(self._protocol)
        if asked.meaning == "key" and not self._is_unset:
            return self._wrong_key(asked)
        return await self._other_protocol() if asked.meaning == "absent" else None

    async def _absent(self, listed: _Answer) -> Verdict:
        """Return the verdict on a base URL below which there is no list of models."""
        name = self._provider.name
        urls = likely_base_urls(self._provider.base_url, self._protocol)
        if listed.location:
            urls.insert(0, base_of(urljoin(f"{self._base}/models", listed.location)))
        for url in dict.fromkeys(urls):
            if url.startswith(_origin(self._base)) and await self._exists(url):
                return Verdict(
                    f"{self._shown('models')} does not exist (status {listed.status}), but {url} "
                    "has the models",
                    f"Set providers.{name}.base_url to {url!r}.",
                )
        asked = await self._asked(self._protocol)
        if asked.meaning == "key" and not self._is_unset:
            return self._wrong_key(asked)
        if asked.meaning != "absent":
            return Verdict(
                f"{self._shown(self._path)} responds (status {asked.status}); no list of models"
            )
        return await self._other_protocol() or Verdict(
            f"neither {self._shown('models')} nor {self._shown(self._path)} exists (status "
            f"{listed.status}{self._redirect(listed)})",
            f"Set providers.{name}.base_url to the address before /{self._path}, for example "
            f"{next(iter(urls), self._base)!r}.",
        )

    async def _exists(self, url: str) -> bool:
        try:
            return (await self._models(url)).meaning in ("models", "key")
        except httpx.HTTPError:
            return False

    async def _other_protocol(self) -> Verdict | None:
        """Return the verdict if another protocol has a route below the base URL."""
        for other in PROTOCOLS:
            if other != self._protocol and (await self._asked(other)).meaning != "absent":
                return self._wrong_protocol(other, f"it answers at /{PROTOCOLS[other].path}")
        return None

    async def _other_key_header(self) -> Verdict | None:
        """Return the verdict if the key is accepted in the header of another protocol."""
        header = PROTOCOLS[self._protocol].key_header
        for other, record in PROTOCOLS.items():
            if self._key is None or record.key_header == header:
                continue
            if (await self._models(self._base, other)).meaning == "models":
                return self._wrong_protocol(other, f"it takes the key in {record.key_header}")
        return None

    def _wrong_key(self, answer: _Answer) -> Verdict:
        variable, name = self._provider.api_key_env, self._provider.name
        return Verdict(
            f"{shown(self._base)} rejects the key (status {answer.status}): {answer.text}",
            f"Set {variable} to a valid key."
            if variable
            else f"Set providers.{name}.api_key_env to the variable that has its key.",
        )

    def _wrong_protocol(self, other: str, why: str) -> Verdict:
        return Verdict(
            f"{shown(self._base)} does not speak the protocol {self._protocol!r}: {why}",
            f"Set providers.{self._provider.name}.protocol to {other!r}.",
        )

    @property
    def _path(self) -> str:
        return PROTOCOLS[self._protocol].path

    def _shown(self, path: str) -> str:
        return shown(f"{self._base}/{path}")

    def _redirect(self, answer: _Answer) -> str:
        return f", redirected to {shown(answer.location)}" if answer.location else ""

    async def _models(self, base: str, protocol: str | None = None) -> _Answer:
        headers = self._headers(protocol or self._protocol)
        return self._read(await self._client.get(f"{base}/models", headers=headers))

    async def _asked(self, protocol: str) -> _Answer:
        url = f"{self._base}/{PROTOCOLS[protocol].path}"
        return self._read(await self._client.post(url, headers=self._headers(protocol), json={}))

    def _headers(self, protocol: str) -> dict[str, str]:
        key = {} if self._key is None else PROTOCOLS[protocol].authorize(self._key)
        return {**_ALWAYS, **self._provider.headers, **key}

    def _read(self, response: httpx.Response) -> _Answer:
        protocol, status = PROTOCOLS[self._protocol].provider, response.status_code
        location = response.headers.get("location", "")
        page = "html" in response.headers.get("content-type", "")
        if status >= 400 and not page:
            error = protocol.parse_error(status, {}, response.content)
            text = self._redaction.text(error.message)[:_LONGEST]
        else:
            error, text = None, "a web page" if page else ""
        if error is not None and (error.kind == "provider_authentication" or status == 403):
            return _Answer("key", status, text)
        if 300 <= status < 400 or page or status in (404, 405, 501):
            return _Answer("absent", status, text, location=location)
        if status == 429 or status >= 500:
            return _Answer("busy", status, text)
        if status >= 400 or response.request.method == "POST":
            return _Answer("refused", status, text)
        models = _listed(response.content)
        return _Answer("absent" if models is None else "models", status, text, models or 0)


def _listed(body: bytes) -> int | None:
    """Return the number of models in a list, None if ``body`` is not one."""
    try:
        document: Json = parse_json(body)
    except orjson.JSONDecodeError:
        return None
    found: Iterable[Json] = (
        (document.get("data"), document.get("models"))
        if isinstance(document, dict)
        else (document,)
    )
    return next((len(models) for models in found if isinstance(models, list)), None)


def _origin(url: str) -> str:
    return "/".join(url.split("/")[:3])
