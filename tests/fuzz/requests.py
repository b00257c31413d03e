"""Strategies for requests to every route: valid ones, spoiled ones and nonsense."""

import gzip
import json
import re
from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from urllib.parse import quote

from hypothesis import strategies as st

from polyvox.workflows.conversation import Json, Protocol
from tests.fuzz.mutations import ODD, PIECES, request_texts, spoil
from tests.fuzz.wire import RawRequest

PROTOCOL_OF: Mapping[str, Protocol] = {
    "/v1/chat/completions": "chat",
    "/v1/messages": "messages",
    "/v1/messages/count_tokens": "messages",
    "/v1/responses": "responses",
    "/v1/responses/compact": "responses",
    "/v1/responses/input_tokens": "responses",
}

MODELS = ("simulator:main", "simulator-messages:main", "simulator-responses:main")

FLOW = '''"""A flow to register."""

from polyvox.workflows import Model, Params, Reply, Run, flow


class FuzzedParams(Params):
    model: Model = "simulator:main"


@flow
async def fuzzed(run: Run[FuzzedParams]) -> Reply:
    """Ask one model."""
    return await run.ask(run.params.model, step="only", emit=True)
'''

_MODEL: Json = {
    "flow": "direct",
    "params": {"model": "simulator:main"},
    "description": "What it is",
    "limits": {"calls": 3, "deadline_s": 5.5, "cost_usd": 0.5},
    "card": {"context_window": 200_000, "capabilities": ["tools"], "efforts": ["low"]},
    "message": "why",
}

DOCUMENTS: Mapping[tuple[str, str], Json] = {
    ("POST", "/api/flows"): {"filename": "fuzzed.py", "source": FLOW, "params": {}},
    ("PUT", "/api/models/{name:path}"): _MODEL,
    ("PATCH", "/api/models/{name:path}"): {**_MODEL, "unset": ["model"]},
    ("POST", "/api/models/{name:path}/rollback"): {"version": 1, "message": "back"},
    ("POST", "/api/apply"): {
        "models": {"fuzzed": {k: v for k, v in _MODEL.items() if k != "message"}},
        "dry_run": False,
    },
    ("POST", "/api/runs/{run_id}/approve"): {"approved": True, "question": "May I?"},
    ("POST", "/v1/conversations"): {
        "metadata": {"a": "b"},
        "items": [{"type": "message", "role": "user", "content": "hello"}],
    },
    ("POST", "/v1/conversations/{conversation_id}"): {"metadata": {"a": "b"}},
    ("POST", "/v1/conversations/{conversation_id}/items"): {
        "items": [{"type": "message", "role": "user", "content": "hello"}]
    },
}
"""A valid body for each route that takes one besides the requests of the three protocols."""

QUERIES = (
    *("limit", "before", "after", "status", "model", "order", "include[]", "stream"),
    *("starting_after", "other", "beta", "before_id", "after_id", "include_obfuscation", "ticket"),
)

ODD_TEXTS = (
    *("", "0", "-1", "1", "20", "1000", "1" * 30, "1e9", "NaN", "true", "asc", "completed"),
    *("%00", "%ff", "%ed%a0%80", "%E2%80%AE", "..", "%2e%2e%2f", "a%2Fb", "a" * 3000, "%", "%zz"),
    *("'; DROP TABLE runs; --", "{}", "[]", "*", "_", "%25", "fuzzed@1", "direct@99999999999"),
)

ODD_HEADERS: Sequence[tuple[bytes, bytes]] = (
    (b"content-type", b"text/plain"),
    (b"content-type", b"application/json; charset=utf-16"),
    (b"content-type", b"multipart/form-data; boundary=x"),
    (b"content-encoding", b"gzip"),
    (b"content-encoding", b"zstd"),
    (b"content-encoding", b"deflate, gzip"),
    (b"content-encoding", b"\xff"),
    (b"content-length", b"-1"),
    (b"content-length", b"0"),
    (b"content-length", b"1e3"),
    (b"content-length", b"9" * 25),
    (b"transfer-encoding", b"chunked"),
    (b"transfer-encoding", b"gzip, chunked"),
    (b"expect", b"100-continue"),
    (b"accept-encoding", b"gzip"),
    (b"accept", b"\x80"),
    (b"anthropic-version", b"2023-06-01"),
    (b"anthropic-beta", b"x" * 4000),
    (b"traceparent", b"00-" + b"0" * 32 + b"-" + b"0" * 16 + b"-01"),
    (b"traceparent", b"\xfe\xff"),
    (b"user-agent", b"\x01"),
    (b"session_id", b"x" * 5000),
    (b"origin", b"http://stranger.example"),
    (b"origin", b"null"),
    (b"host", b"stranger.example"),
    (b"host", b""),
    (b"host", b"[::1"),
    (b"upgrade", b"websocket"),
    (b"upgrade", b"h2c"),
    (b"cookie", b"polyvox=%s" % (b"x" * 100)),
    (b"range", b"bytes=0-1"),
    (b"x" * 300, b"y"),
)

ODD_TOKENS = (
    *(b"9" * 30, b"-" + b"9" * 30, b"1e400", b"-0", b"NaN", b"-Infinity", b"01", b"0x10"),
    *(b'"\\ud800"', b'"\\u0000"', b'"\\udc00\\ud800"', b'"\xed\xa0\x80"', b'"\n"', b"true"),
    b'"%s"' % (b"z" * 5000),
)

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "BREW")


@dataclass(frozen=True, slots=True)
class Grounds:
    """What there is to ask about: ``routes`` as method and path template, ids, keys."""

    routes: tuple[tuple[str, str], ...]
    known: Mapping[str, tuple[str, ...]]
    keys: tuple[str, ...]
    authority: str


@st.composite
def raw_requests(draw: st.DrawFn, grounds: Grounds) -> RawRequest:
    """A request to one of the routes, spoiled in some of its parts."""
    with_body = tuple(route for route in grounds.routes if route[0] in ("POST", "PUT", "PATCH"))
    method, template = draw(st.one_of(st.sampled_from(with_body), st.sampled_from(grounds.routes)))
    body = draw(_bodies(method, template))
    headers = [(b"host", grounds.authority.encode()), (b"content-type", b"application/json")]
    key = draw(st.sampled_from((*grounds.keys * 6, "", "wrong", "\x7f", "k" * 5000)))
    sent = key.encode("latin-1")
    carriers = ((b"authorization", b"Bearer " + sent), (b"x-api-key", sent))
    headers.append(draw(st.sampled_from(carriers)))
    if _one_in(draw, 20):
        body = gzip.compress(body, 1)
        headers.append((b"content-encoding", b"gzip"))
    for odd in draw(st.lists(st.sampled_from(ODD_HEADERS), max_size=2 * _one_in(draw, 3))):
        headers = [header for header in headers if header[0] != odd[0]] + [odd]
    if _one_in(draw, 12):
        method = draw(st.sampled_from(METHODS))
    path = _filled(draw, template, grounds)
    target = (path + _query(draw)).encode("latin-1", "replace").replace(b" ", b"%20")
    return RawRequest(method.encode(), target, tuple(headers), body)


def _one_in(draw: st.DrawFn, number: int) -> bool:
    return draw(st.integers(1, number)) == 1


def _filled(draw: st.DrawFn, template: str, grounds: Grounds) -> str:
    def value(found: re.Match[str]) -> str:
        known = grounds.known.get(found[1], ())
        if known and _one_in(draw, 2):
            return quote(draw(st.sampled_from(known)), safe="/:@")
        return draw(st.sampled_from(ODD_TEXTS))

    return re.sub(r"\{(\w+)(?::\w+)?\}", value, template)


def _query(draw: st.DrawFn) -> str:
    if not _one_in(draw, 3):
        return ""
    pairs = draw(
        st.lists(st.tuples(st.sampled_from(QUERIES), st.sampled_from(ODD_TEXTS)), max_size=3)
    )
    return "?" + "&".join(f"{name}={value}" for name, value in pairs)


@st.composite
def _bodies(draw: st.DrawFn, method: str, template: str) -> bytes:
    if _one_in(draw, 20):
        return draw(st.sampled_from((*PIECES, b"null", b"[]", b'"text"', b"\x1f\x8b\x08")))
    if method in ("POST", "PUT", "PATCH") and template in PROTOCOL_OF:
        text = _with_known_model(draw, draw(request_texts(PROTOCOL_OF[template])))
        return _with_odd_token(draw, text)
    document = deepcopy(DOCUMENTS.get((method, template), {}))
    for _ in range(draw(st.integers(0, 3))):
        document = spoil(draw, document)
    if _one_in(draw, 10) and isinstance(document, dict):
        document[draw(st.sampled_from(("extra", "\x00", "")))] = draw(st.sampled_from(ODD))
    return _with_odd_token(draw, json.dumps(document, separators=(",", ":")).encode())


def _with_odd_token(draw: st.DrawFn, text: bytes) -> bytes:
    """Replace one string or number of a JSON text by one that only lenient writers produce."""
    tokens = list(re.finditer(rb'(?<=[:\[,])("[^"\\]*"|-?\d+)(?=[,\]}])', text))
    if not tokens or not _one_in(draw, 4):
        return text
    token = draw(st.sampled_from(tokens))
    return text[: token.start()] + draw(st.sampled_from(ODD_TOKENS)) + text[token.end() :]


def _with_known_model(draw: st.DrawFn, text: bytes) -> bytes:
    """Name a model that answers, or most requests would only be told that theirs is unknown."""
    if _one_in(draw, 4):
        return text
    model = draw(st.sampled_from(MODELS))
    return re.sub(rb'"model":"[^"]*"', b'"model":"%s"' % model.encode(), text, count=1)
