"""Takes the server's secrets out of what a provider says.

A provider is sent its key and may repeat it: in an error ("Incorrect API key provided: ..."), in a
page that shows the request, in the words of a model. From there it would reach clients, the ledger,
the engine's history and spans. So each known secret is replaced, also in the usual encodings of it.

This finds copies by accident. A provider that means to pass its own key on can always write it in
a way that nobody knows.
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
"""Characters of the shortest secret that is replaced: a shorter one may be any word."""

_LEAST = 4
"""Characters of a secret that must have come before a stream waits for its next ones."""

_SECRET_HEADER = re.compile(
    "auth|key|token|secret|password|passwd|credential|cookie|session|signature", re.IGNORECASE
)
_SCHEME = re.compile(r"\A(?:basic|bearer|digest|token)\s+", re.IGNORECASE)
_PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "WS_PROXY", "WSS_PROXY")
_OWN = ("POLYVOX_KEY", "POLYVOX_ADMIN_KEY", "TEMPORAL_API_KEY")
_OTLP_HEADERS = re.compile(r"OTEL_EXPORTER_OTLP_(?:[A-Z]+_)?HEADERS\Z")


def sent_secrets(provider: Provider, environ: Mapping[str, str]) -> frozenset[str]:
    """Return the secrets that ``provider``, or a proxy before it, is sent: what it can repeat."""
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
    """Return the secrets of all ``providers``, our own keys and those of the span exporter."""
    found = {secret for provider in providers for secret in sent_secrets(provider, environ)}
    found.update(environ.get(name, "").strip() for name in _OWN)
    for name, value in environ.items():
        if _OTLP_HEADERS.match(name):
            for pair in value.split(","):
                found.update(_of_header(unquote(pair.partition("=")[2])))
    return frozenset(found)


def _of_header(value: str) -> Iterator[str]:
    """The value of a header that is a secret, and what stands in it after its scheme."""
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
    """The password in a URL."""
    try:
        password = urlsplit(url).password
    except ValueError:
        return
    if password:
        yield password
        yield unquote(password)


class Secrets:
    """The secrets of a process, once collected."""

    def __init__(self, providers: Mapping[str, Provider], environ: Mapping[str, str]) -> None:
        self.all = Redaction(known_secrets(providers.values(), environ))
        self._sent = {
            name: Redaction(sent_secrets(provider, environ)) for name, provider in providers.items()
        }

    def sent_to(self, provider: Provider) -> "Redaction":
        """Return the redaction for what ``provider`` answers.

        It knows only what this provider was sent, because it looks at every token of every answer.
        """
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
        """Return ``error`` without the secrets in its texts, and without what it was caused by.

        A cause would stand in the engine's history and the log with a message of its own.
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
        """Whether there is anything to replace."""
        return bool(self._forms)

    def stream(self) -> "Rewriting":
        """Return what rewrites one text that comes in pieces."""
        return Rewriting(self._forms, self._any_form, self._beginnings)

    def byte_stream(self) -> "ByteRewriting":
        """Return what rewrites one body that comes in pieces."""
        forms, beginnings = self._latin_forms, self._latin_beginnings
        return ByteRewriting(Rewriting(forms, self._any_latin_form, beginnings))


def _is_replaced(secret: str) -> bool:
    # What is not valid text cannot be sent in a header either.
    return len(secret) >= SHORTEST and not any("\ud800" <= c <= "\udfff" for c in secret)


def _spellings(secret: str) -> Iterator[str]:
    """``secret`` in the encodings that programs usually show a request in."""
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
        # Only the characters that no neighbour of the secret has a part in.
        first, last = -(-before * 8 // 6), (before + len(raw)) * 8 // 6
        padded = bytes(before) + raw
        yield base64.b64encode(padded).decode()[first:last]
        yield base64.urlsafe_b64encode(padded).decode()[first:last]


def _beginnings(forms: Iterable[str]) -> list[str]:
    return sorted({form[:_LEAST] for form in forms})


def _any_of(texts: Iterable[str]) -> re.Pattern[str]:
    """Return what finds the first of ``texts``; without any it finds nothing."""
    return re.compile("|".join(map(re.escape, texts)) or r"(?!)")


class Rewriting:
    """Replaces secrets in a text that comes in pieces, wherever it is cut.

    What may be the beginning of a secret waits for the next piece, but only from its fourth
    character on: nearly every piece ends with a character that some secret begins with.
    """

    def __init__(
        self, forms: tuple[str, ...], any_form: re.Pattern[str], beginnings: re.Pattern[str]
    ) -> None:
        self._forms = forms
        self._any_form = any_form
        self._beginnings = beginnings
        # The last characters that were let out, and those that wait.
        self._before = ""
        self._waiting = ""
        self.replaced = False

    def feed(self, piece: str) -> str:
        """Return what may be shown now."""
        window, start = self._before + self._waiting + piece, len(self._before)
        if self._beginnings.search(window) is None:
            self._before, self._waiting = window[1 - _LEAST :], ""
            return window[start:]
        shown: list[str] = []
        behind = 0
        for found in self._any_form.finditer(window):
            # A secret may begin in what was let out already.
            shown += (window[start : found.start()], MARK)
            start = behind = found.end()
            self.replaced = True
        end = self._end(window, start)
        shown.append(window[start:end])
        self._before = window[max(behind, end - _LEAST + 1) : end]
        self._waiting = window[end:]
        return "".join(shown)

    def finish(self) -> str:
        """Return what still waits: it was no secret."""
        rest, self._before, self._waiting = self._waiting, "", ""
        return rest

    def _end(self, window: str, start: int) -> int:
        """Return up to where ``window`` may be shown: behind it a secret may begin."""
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
    """Rewriting for a body's bytes, which it reads as Latin-1."""

    def __init__(self, rewriting: Rewriting) -> None:
        self._rewriting = rewriting

    def feed(self, chunk: bytes) -> bytes:
        """Return what may be read now."""
        return self._rewriting.feed(chunk.decode("latin-1")).encode("latin-1")

    def finish(self) -> bytes:
        """Return what still waits."""
        return self._rewriting.finish().encode("latin-1")


class RedactedEvents:
    """Takes secrets out of the events of one call: those that are spread over several frames."""

    def __init__(self, redaction: Redaction) -> None:
        self._redaction = redaction
        self._rewriting = redaction.stream()
        self._said: list[str] = []
        self._shown: list[str] = []

    def feed(self, events: list[Event]) -> list[Event]:
        """Return ``events`` without the secrets; some text may wait for the next events."""
        return [kept for event in events for kept in self._kept(event)]

    def _kept(self, event: Event) -> Iterator[Event]:
        match event:
            case PartStarted():
                self._rewriting = self._redaction.stream()
                self._said, self._shown = [], []
                yield event
            case PartDelta(text) if text:
                self._said.append(text)
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
        """Return the whole part, with the text that was shown of it."""
        text = written(part)
        if self._rewriting.replaced and text == "".join(self._said):
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
