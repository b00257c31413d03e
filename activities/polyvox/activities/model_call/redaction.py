"""Removes the server's secrets from providers' responses.

A provider gets its key and may repeat it: in an error ("Incorrect API key provided: ..."), in a
page that shows the request, in a model's text. From there it would reach clients, the ledger, the
engine's history and spans. So each known secret is replaced, also in its usual encodings.

This covers accidental copies. A provider that intends to pass on its key can always encode it in an
unknown way.
"""

import base64
import html
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from urllib.parse import quote, quote_plus, unquote, urlsplit

from polyvox.activities.model_call.provider import Provider, api_key
from polyvox.workflows.conversation import Part, Reasoning, Refusal, Text, ToolCall
from polyvox.workflows.errors import ModelError
from polyvox.workflows.events import Event, PartDelta, PartEnded, PartStarted, written

MARK = "[redacted]"

SHORTEST = 8
"""The least characters of a secret that is replaced: a shorter one may be any word."""

_LEAST = 4
"""The characters of a secret that must have arrived before a stream waits for the next."""

_SECRET_HEADER = re.compile(
    "auth|key|token|secret|password|passwd|credential|cookie|session|signature", re.IGNORECASE
)
_SCHEME = re.compile(r"\A(?:basic|bearer|digest|token)\s+", re.IGNORECASE)
_PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "WS_PROXY", "WSS_PROXY")
_OWN = ("POLYVOX_KEY", "POLYVOX_ADMIN_KEY", "TEMPORAL_API_KEY")
_OTLP_HEADERS = re.compile(r"OTEL_EXPORTER_OTLP_(?:[A-Z]+_)?HEADERS\Z")


def sent_secrets(provider: Provider, environ: Mapping[str, str]) -> frozenset[str]:
    """Return the secrets sent to ``provider`` or to a proxy before it, which it can repeat."""
    found = set(_of_url(provider.base_url))
    if key := api_key(provider, environ):
        found.add(key)
    for name, value in provider.headers.items():
        if _SECRET_HEADER.search(name):
            found.update(_of_header(value))
    for name in _PROXIES:
        for spelling in (name, name.lower()):
            found.update(_of_url(environ.get(spelling, "")))
    return frozenset(found)


def known_secrets(providers: Iterable[Provider], environ: Mapping[str, str]) -> frozenset[str]:
    """Return the secrets of all ``providers``, Polyvox's keys and those of the span exporter."""
    found = {secret for provider in providers for secret in sent_secrets(provider, environ)}
    found.update(environ.get(name, "").strip() for name in _OWN)
    for name, value in environ.items():
        if _OTLP_HEADERS.match(name):
            for pair in value.split(","):
                found.update(_of_header(unquote(pair.partition("=")[2])))
    return frozenset(found)


def _of_header(value: str) -> Iterator[str]:
    """Yield the value of a secret header, and its part after the authentication scheme."""
    value = value.strip()
    yield value
    bare = _SCHEME.sub("", value)
    yield bare
    if bare != value and value.lower().startswith("basic"):
        try:
            yield from base64.b64decode(bare).decode().split(":", 1)[1:]
        except ValueError:
            return


def _of_url(url: str) -> Iterator[str]:
    """Yield the password in a URL."""
    try:
        password = urlsplit(url).password
    except ValueError:
        return
    if password:
        yield password
        yield unquote(password)


class Secrets:
    """The secrets of a process."""

    def __init__(self, providers: Mapping[str, Provider], environ: Mapping[str, str]) -> None:
        self.all = Redaction(known_secrets(providers.values(), environ))
        self._own = {name: sent_secrets(provider, environ) for name, provider in providers.items()}
        self._sent = {name: Redaction(own) for name, own in self._own.items()}

    def sent_to(self, provider: Provider, credentials: frozenset[str] = frozenset()) -> "Redaction":
        """Return the redaction for responses of ``provider``.

        It contains only the secrets sent to this provider, because it examines every token, and
        the ``credentials`` in the request.
        """
        if credentials and provider.name in self._own:
            return Redaction(self._own[provider.name] | credentials)
        return self._sent.get(provider.name, self.all)


class Redaction:
    """Replaces ``secrets`` and their encodings, except those shorter than 8 characters."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        spellings = {s for secret in secrets if _is_replaced(secret) for s in _spellings(secret)}
        # The longest first: one may be part of another.
        self._forms = tuple(
            sorted((s for s in spellings if len(s) >= SHORTEST), key=lambda s: (-len(s), s))
        )
        self._byte_forms = tuple(form.encode() for form in self._forms)
        # Latin-1 has a character for each byte, and costs nothing to write.
        self._latin_forms = tuple(form.decode("latin-1") for form in self._byte_forms)
        # Of two forms at one place the longer is taken, because it comes first.
        self._any_form = _any_of(self._forms)
        self._any_latin_form = _any_of(self._latin_forms)
        self._beginnings = _any_of(_beginnings(self._forms))
        self._latin_beginnings = _any_of(_beginnings(self._latin_forms))

    def text(self, text: str) -> str:
        """Return ``text`` without the secrets."""
        for form in self._forms:
            if form in text:
                text = text.replace(form, MARK)
        return text

    def data(self, data: bytes) -> bytes:
        """Return ``data`` without the secrets."""
        for form in self._byte_forms:
            if form in data:
                data = data.replace(form, MARK.encode())
        return data

    def error(self, error: ModelError) -> ModelError:
        """Return ``error`` without secrets in its texts and without its cause.

        The engine's history and the log would contain the message of the cause.
        """
        error.message = self.text(error.message)
        error.args = (error.message,)
        if error.body is not None:
            error.body = self.text(error.body)
        if error.code is not None:
            error.code = self.text(error.code)
        if error.param is not None:
            error.param = self.text(error.param)
        error.__cause__ = None
        return error

    def __bool__(self) -> bool:
        """Return whether there is anything to replace."""
        return bool(self._forms)

    def stream(self) -> "Rewriting":
        """Return a Rewriting for one text that arrives in pieces."""
        return Rewriting(self._forms, self._any_form, self._beginnings)

    def byte_stream(self) -> "ByteRewriting":
        """Return a ByteRewriting for one body that arrives in pieces."""
        forms, beginnings = self._latin_forms, self._latin_beginnings
        return ByteRewriting(Rewriting(forms, self._any_latin_form, beginnings))


def _is_replaced(secret: str) -> bool:
    # Invalid text cannot be sent in a header either.
    return len(secret) >= SHORTEST and not any("\ud800" <= c <= "\udfff" for c in secret)


def _spellings(secret: str) -> Iterator[str]:
    """Yield ``secret`` in the encodings in which programs usually show a request."""
    yield secret
    for ascii_only in (True, False):
        spelled = json.dumps(secret, ensure_ascii=ascii_only)[1:-1]
        yield spelled
        yield spelled.replace("/", "\\/")
        yield json.dumps(spelled, ensure_ascii=ascii_only)[1:-1]
    yield repr(secret)[1:-1]
    yield html.escape(secret)
    for quoted in (quote(secret, safe=""), quote(secret), quote_plus(secret)):
        yield quoted
        yield re.sub("%[0-9A-F]{2}", lambda found: found[0].lower(), quoted)
    raw = secret.encode()
    yield raw.hex()
    yield raw.hex().upper()
    for before in range(3):
        # Only the characters that do not depend on the bytes next to the secret.
        first, last = -(-before * 8 // 6), (before + len(raw)) * 8 // 6
        padded = bytes(before) + raw
        yield base64.b64encode(padded).decode()[first:last]
        yield base64.urlsafe_b64encode(padded).decode()[first:last]


def _beginnings(forms: Iterable[str]) -> list[str]:
    return sorted({form[:_LEAST] for form in forms})


def _any_of(texts: Iterable[str]) -> re.Pattern[str]:
    """Return a pattern for any of ``texts``; it matches nothing if there are none."""
    return re.compile("|".join(map(re.escape, texts)) or r"(?!)")


class Rewriting:
    """Replaces secrets in a text that arrives in pieces, wherever it is cut.

    A possible beginning of a secret is held back until the next piece, but only from its fourth
    character on: nearly every piece ends with the first character of some secret.
    """

    def __init__(
        self, forms: tuple[str, ...], any_form: re.Pattern[str], beginnings: re.Pattern[str]
    ) -> None:
        self._forms = forms
        self._any_form = any_form
        self._beginnings = beginnings
        # The last characters that were returned, and those that are held back.
        self._before = ""
        self._waiting = ""
        self.replaced = False

    def feed(self, piece: str) -> str:
        """Return the text that can be emitted now."""
        window, start = self._before + self._waiting + piece, len(self._before)
        if self._beginnings.search(window) is None:
            self._before, self._waiting = window[1 - _LEAST :], ""
            return window[start:]
        shown: list[str] = []
        behind = 0
        for found in self._any_form.finditer(window):
            # A secret may begin in text that was already returned.
            shown += (window[start : found.start()], MARK)
            start = behind = found.end()
            self.replaced = True
        end = self._end(window, start)
        shown.append(window[start:end])
        self._before = window[max(behind, end - _LEAST + 1) : end]
        self._waiting = window[end:]
        return "".join(shown)

    def finish(self) -> str:
        """Return the text held back, which was not a secret."""
        rest, self._before, self._waiting = self._waiting, "", ""
        return rest

    def _end(self, window: str, start: int) -> int:
        """Return the end of the text in ``window`` that can be emitted; a secret may follow it."""
        end = len(window)
        for form in self._forms:
            beginning = form[:_LEAST]
            at = window.find(beginning, max(0, len(window) - len(form) + 1))
            while at >= 0:
                if form.startswith(window[at:]):
                    end = min(end, at)
                    break
                at = window.find(beginning, at + 1)
        return max(end, start)


class ByteRewriting:
    """A Rewriting for the bytes of a body, which are treated as Latin-1."""

    def __init__(self, rewriting: Rewriting) -> None:
        self._rewriting = rewriting

    def feed(self, chunk: bytes) -> bytes:
        """Return the bytes that can be read now."""
        return self._rewriting.feed(chunk.decode("latin-1")).encode("latin-1")

    def finish(self) -> bytes:
        """Return the bytes held back."""
        return self._rewriting.finish().encode("latin-1")


class RedactedEvents:
    """Removes secrets from the events of one call, also those split over several frames."""

    def __init__(self, redaction: Redaction) -> None:
        self._redaction = redaction
        self._rewriting = redaction.stream()
        self._received: list[str] = []
        self._shown: list[str] = []

    def feed(self, events: list[Event]) -> list[Event]:
        """Return ``events`` without secrets; some text may be held back for the next events."""
        return [clean for event in events for clean in self._clean(event)]

    def _clean(self, event: Event) -> Iterator[Event]:
        match event:
            case PartStarted():
                self._rewriting = self._redaction.stream()
                self._received, self._shown = [], []
                yield event
            case PartDelta(text) if text:
                self._received.append(text)
                shown = self._rewriting.feed(text)
                self._shown.append(shown)
                if shown == text:
                    yield event
                elif shown:
                    yield PartDelta(shown)
            case PartEnded(part):
                if rest := self._rewriting.finish():
                    self._shown.append(rest)
                    yield PartDelta(rest)
                yield PartEnded(self._ended(part))
            case _:
                yield event

    def _ended(self, part: Part) -> Part:
        """Return the whole part with the text that was emitted for it."""
        text = written(part)
        if self._rewriting.replaced and text == "".join(self._received):
            clean = "".join(self._shown)
        else:
            clean = self._redaction.text(text)
        if clean == text:
            return part
        match part:
            case Text() | Refusal() | Reasoning():
                return part.edited(text=clean)
            case ToolCall():
                return part.edited(arguments=clean)
            case _:
                return part
