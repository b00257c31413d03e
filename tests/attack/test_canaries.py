"""The server never reveals a secret, whatever its providers repeat.

Each secret is a separate canary. A provider repeats everything it was sent, in every possible way;
then each canary is searched for, in all common encodings, in all that the server returns or stores.
"""

import base64
import gzip
import json
import secrets
import sqlite3
import subprocess
import zlib
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import pytest
import zstandard

from tests.activities.tracing.test_spans import collecting
from tests.attack.echoing import MODES, STREAMED, echoing
from tests.programs.processes import EXECUTABLE, Child, running
from tests.programs.running import PATHS, PROTOCOLS

# Hundreds of requests are sent before the first test.
pytestmark = pytest.mark.timeout(600)

CLIENTS = 8
EXPORTED = ("chat:status400", "messages:pieces", "panel-breaks")
"""A command takes seconds to start, so only a few runs are checked on the command line."""

LIMIT_S = 120.0

USER_KEY = "POLYVOX_KEY"
ADMIN_KEY = "POLYVOX_ADMIN_KEY"


def _canary(name: str) -> str:
    """A secret with characters that encodings change."""
    return f"{name}/{secrets.token_urlsafe(24)}+{secrets.token_hex(4)}=="


@dataclass
class Search:
    """The places where each canary was found."""

    canaries: Mapping[str, str]
    found: list[str] = field(default_factory=list)

    def look(self, where: str, data: bytes, *, but: tuple[str, ...] = ()) -> None:
        """Note every canary in ``data``, also in the encodings that it may have there."""
        for name, canary in self.canaries.items():
            if name in but:
                continue
            self.found += [
                f"{name} as {spelling} in {where}"
                for spelling, needle in _needles(canary)
                if needle in data
            ]


def _needles(canary: str) -> Iterator[tuple[str, bytes]]:
    # Three characters may have been sent before the secret was recognised.
    yield "plain text", canary[3:].encode()
    yield "JSON with slashes", canary[3:].replace("/", "\\/").encode()
    yield "URL", quote(canary, safe="").encode()
    yield "URL in lower case", quote(canary, safe="").replace("%2F", "%2f").encode()
    yield "hex", canary.encode().hex().encode()
    yield "HEX", canary.encode().hex().upper().encode()
    for before in range(3):
        coded = base64.b64encode(bytes(before) + canary.encode())
        # Without the characters that depend on adjacent bytes.
        inner = coded[4 if before else 0 : -4]
        yield f"base64 behind {before}", inner
        yield f"base64url behind {before}", inner.replace(b"+", b"-").replace(b"/", b"_")


@dataclass(frozen=True)
class Aftermath:
    """Everything a server stored and printed after its providers repeated their requests."""

    canaries: Mapping[str, str]
    answers: Mapping[str, httpx.Response]
    documents: Mapping[str, bytes]
    spans: list[bytes]
    printed: bytes
    data: Path


def _config(base_url: str, team_token: str) -> str:
    providers = [
        f'[providers.{protocol}]\nprotocol = "{protocol}"\nbase_url = "{base_url}"\n'
        f'api_key_env = "{protocol.upper()}_SECRET"\n'
        f'headers = {{ x-team-token = "{team_token}", x-team = "red" }}\n'
        for protocol in PROTOCOLS
    ]
    models = [
        f'[models.{name}]\nflow = "fusion"\n[models.{name}.params]\nmode = "required"\n'
        f'main = "{main}"\njudge = "{judge}"\npanel = {json.dumps(panel)}\n'
        for name, main, judge, panel in (
            ("panel-fails", "chat:said", "chat:said", [f"{p}:status400" for p in PROTOCOLS]),
            ("panel-breaks", "chat:said", "chat:said", [f"{p}:broken" for p in PROTOCOLS]),
            ("panel-says", "messages:said", "chat:said", [f"{p}:pieces" for p in PROTOCOLS]),
            ("panel-judge", "chat:said", "chat:status500", [f"{p}:said" for p in PROTOCOLS]),
            ("panel-main", "responses:plain403", "chat:said", [f"{p}:said" for p in PROTOCOLS]),
        )
    ]
    return "\n".join([*providers, *models])


def _request(protocol: str, model: str, *, stream: bool) -> tuple[str, dict[str, Any]]:
    if protocol == "responses":
        document: dict[str, Any] = {"input": "hello"}
    else:
        document = {"messages": [{"role": "user", "content": "hello"}], "max_tokens": 100}
    return PATHS[protocol], {"model": model, "stream": stream, **document}


def _requests() -> Iterator[tuple[str, dict[str, Any]]]:
    for stream in (False, True):
        for protocol in PROTOCOLS:
            for mode in MODES:
                yield _request(protocol, f"{protocol}:{mode}", stream=stream)
            for mode in STREAMED:
                # Through another protocol: what is rendered anew, not passed on.
                other = PROTOCOLS[PROTOCOLS.index(protocol) - 1]
                yield _request(protocol, f"{other}:{mode}", stream=stream)
            for model in ("fails", "breaks", "says", "judge", "main"):
                yield _request(protocol, f"panel-{model}", stream=stream)
    for mode in MODES:
        _, document = _request("messages", f"messages:{mode}", stream=False)
        yield "/v1/messages/count_tokens", document
        yield "/v1/responses/input_tokens", {"model": f"responses:{mode}", "input": "hello"}


@pytest.fixture(scope="module")
def aftermath(tmp_path_factory: pytest.TempPathFactory) -> Aftermath:
    folder = tmp_path_factory.mktemp("canaries")
    names = (*(f"{p}_SECRET".upper() for p in PROTOCOLS), USER_KEY, ADMIN_KEY, "UNRELATED")
    canaries = {name: _canary(name.lower()) for name in (*names, "x-team-token", "OTLP header")}
    data = folder / "data"
    with collecting() as arrived, echoing() as base_url:
        (folder / "polyvox.toml").write_text(_config(base_url, canaries["x-team-token"]), "utf-8")
        environ = {
            **{name: canaries[name] for name in names},
            "OTEL_EXPORTER_OTLP_ENDPOINT": arrived.url,
            "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
            "OTEL_EXPORTER_OTLP_HEADERS": "x-otlp-key=" + quote(canaries["OTLP header"], safe=""),
        }
        arguments = ("up", "--port", "0", "--data", str(data))
        with running(*arguments, folder=folder, environ=environ) as child:
            created = _command(folder, "keys", "create", "made", "--json", "--data", str(data))
            canaries["created key"] = json.loads(created)["secret"]
            answers = _ask_all(child.ready(), canaries)
            documents = dict(_documents(child, folder, data, canaries[USER_KEY], answers))
            assert child.stop() == 0
            printed = child.output.read_bytes()
        # The header reached the provider, so the canary was really in use.
        assert arrived.headers["x-otlp-key"] == canaries["OTLP header"]
        spans = [span.SerializeToString() for span in arrived.spans]
    return Aftermath(canaries, answers, documents, spans, printed, data)


def _ask_all(child: Child, canaries: Mapping[str, str]) -> dict[str, httpx.Response]:
    """Send all requests, some with each key; return the answers by what was asked."""
    asked = list(_requests())
    keys = [canaries[USER_KEY], canaries["created key"]]
    with (
        httpx.Client(base_url=child.base_url, trust_env=False, timeout=LIMIT_S) as client,
        ThreadPoolExecutor(CLIENTS) as pool,
    ):

        def ask(number: int) -> httpx.Response:
            path, document = asked[number]
            return client.post(path, json=document, headers={"x-api-key": keys[number % 2]})

        answers = list(pool.map(ask, range(len(asked))))
    return {
        f"{number}: {path} {document['model']} stream={document.get('stream')}": answer
        for number, ((path, document), answer) in enumerate(zip(asked, answers, strict=True))
    }


def _documents(
    child: Child, folder: Path, data: Path, key: str, answers: Mapping[str, httpx.Response]
) -> Iterator[tuple[str, bytes]]:
    """Return what the API and the command line show of the runs."""
    run_of = {
        asked: answer.headers["x-polyvox-run"]
        for asked, answer in answers.items()
        if "x-polyvox-run" in answer.headers
    }
    with httpx.Client(base_url=child.base_url, trust_env=False, timeout=LIMIT_S) as client:
        headers = {"x-api-key": key}
        for path in ("/api/runs?limit=100", "/api/models", "/api/flows", "/v1/models", "/healthz"):
            yield path, client.get(path, headers=headers).content
        for run_id in run_of.values():
            path = f"/api/runs/{run_id}"
            yield path, client.get(path, headers=headers).content
    shown = [next(run_of[a] for a in run_of if f" {model} " in a) for model in EXPORTED]
    for number, run_id in enumerate(shown):
        words = ("runs", "show", run_id, "--json", "--data", str(data))
        yield f"runs show {run_id}", _command(folder, *words)
        file = folder / f"export-{number}.json"
        _command(folder, "runs", "export", run_id, str(file), "--data", str(data))
        yield f"export of {run_id}", file.read_bytes()


def _command(folder: Path, *words: str) -> bytes:
    done = subprocess.run(
        [EXECUTABLE, *words], cwd=folder, capture_output=True, timeout=LIMIT_S, check=False
    )
    assert done.returncode == 0, (words, done.stderr)
    return done.stdout


def _unpacked(data: bytes) -> Iterator[bytes]:
    """Yield ``data``, and its decompressed content if it is compressed."""
    yield data
    if data[:4] == b"\x28\xb5\x2f\xfd":
        yield zstandard.ZstdDecompressor().decompressobj().decompress(data)
    elif data[:2] == b"\x1f\x8b":
        yield gzip.decompress(data)
    elif data[:1] == b"\x78":
        try:
            yield zlib.decompress(data)
        except zlib.error:
            return


def stored_values(file: Path) -> Iterator[bytes]:
    """Yield every value of a SQLite database, including those in its write-ahead log."""
    with closing(sqlite3.connect(file)) as database:
        tables = database.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
        for (table,) in tables:
            for row in database.execute(f'SELECT * FROM "{table}"'):
                for value in row:
                    if isinstance(value, bytes):
                        yield from _unpacked(value)
                    elif isinstance(value, str):
                        yield value.encode()


def test_the_provider_repeated_what_it_was_sent(aftermath: Aftermath) -> None:
    """The answers contain the rest of the repeated text; else the other tests prove nothing."""
    repeated = [asked for asked, answer in aftermath.answers.items() if "x-team" in answer.text]
    for protocol in PROTOCOLS:
        for mode in ("status400", "plain422", "said", "called", "thought", "broken", "failed"):
            assert any(f" {protocol}:{mode} " in asked for asked in repeated), (protocol, mode)
    assert all(answer.status_code < 600 for answer in aftermath.answers.values())
    assert sum("[redacted]" in answer.text for answer in aftermath.answers.values()) > 100


def test_no_answer_holds_a_secret(aftermath: Aftermath) -> None:
    """Neither its body nor its headers contain a canary."""
    search = Search(aftermath.canaries)
    for asked, answer in aftermath.answers.items():
        search.look(asked, answer.content)
        search.look(f"the headers of {asked}", repr(answer.headers.multi_items()).encode())
    assert search.found == []


def test_no_document_of_a_run_holds_a_secret(aftermath: Aftermath) -> None:
    """Over HTTP, on the command line and in an export."""
    search = Search(aftermath.canaries)
    for name, document in aftermath.documents.items():
        search.look(name, document)
    assert search.found == []


def test_no_span_holds_a_secret(aftermath: Aftermath) -> None:
    """Its attributes and events describe the failure, without the key."""
    assert aftermath.spans
    search = Search(aftermath.canaries)
    for span in aftermath.spans:
        search.look("a span", span)
    assert search.found == []


def test_nothing_printed_holds_a_secret(aftermath: Aftermath) -> None:
    """Only the user key is printed, in the lines for clients."""
    search = Search(aftermath.canaries)
    search.look("the output", aftermath.printed, but=(USER_KEY,))
    assert search.found == []


def test_no_file_of_the_data_folder_holds_a_secret(aftermath: Aftermath) -> None:
    """This covers databases with their logs, decompressed blobs, and the engine's files."""
    search = Search(aftermath.canaries)
    files = [file for file in aftermath.data.rglob("*") if file.is_file()]
    databases = [f for f in files if f.read_bytes()[:15] == b"SQLite format 3"]
    assert len(databases) >= 3
    for file in files:
        own = {"key": (USER_KEY,), "admin_key": (ADMIN_KEY,)}.get(file.name, ())
        if file.parent == aftermath.data / "engine" and file.stat().st_mode & 0o100:
            continue  # the engine's program, if it was fetched into this folder
        search.look(file.name, file.read_bytes(), but=own)
    for file in databases:
        for value in stored_values(file):
            search.look(f"a value of {file.name}", value)
    assert search.found == []
