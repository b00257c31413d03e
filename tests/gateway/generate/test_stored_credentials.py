"""Credentials that are stored: nothing shows them, however a run ends, and only their owner's runs
send them."""

import asyncio
import json
import re
import threading
from base64 import b64decode
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
from temporalio.client import Client

from polyvox.activities.storage.credential_seal import KEY_FILE
from polyvox.worker.engine.ports import read_ports
from tests.activities.tracing.test_spans import Collector, collecting
from tests.attack.test_canaries import Search, stored_values
from tests.gateway.generate.test_credentials import CANARY, CONNECTOR, MCP, REQUESTS
from tests.programs.processes import Child, command, running
from tests.programs.recording_provider import (
    ANSWERS,
    Received,
    RecordingProvider,
    recording_provider,
)
from tests.programs.running import ADMIN_KEY, KEY, LIMIT_S, PATHS, PROTOCOLS, until

pytestmark = pytest.mark.timeout(300)

ASKED = REQUESTS["responses"]


@dataclass
class Site:
    """A data folder on which the program is started several times, and its surroundings."""

    folder: Path
    provider: RecordingProvider
    spans: Collector
    slow: threading.Event
    runs: dict[str, str] = field(default_factory=dict)
    shown: list[bytes] = field(default_factory=list)
    exported: dict[str, str] = field(default_factory=dict)
    other_key: str = ""

    @property
    def data(self) -> Path:
        return self.folder / "data"

    @contextmanager
    def up(self) -> Iterator[Child]:
        environ = {
            "POLYVOX_KEY": KEY,
            "POLYVOX_ADMIN_KEY": ADMIN_KEY,
            "OTEL_EXPORTER_OTLP_ENDPOINT": self.spans.url,
            "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
        }
        arguments = ("up", "--port", "0", "--data", str(self.data), "--log-level", "debug")
        with running(*arguments, folder=self.folder, environ=environ) as child:
            yield child.ready()

    def send(self, child: Child, path: str, document: Any = None, key: str = KEY) -> httpx.Response:
        answer = httpx.request(
            "GET" if document is None else "POST",
            child.base_url + path,
            json=document,
            headers={"x-api-key": key},
            timeout=LIMIT_S,
            trust_env=False,
        )
        self.shown += [answer.content, repr(answer.headers.multi_items()).encode()]
        return answer

    def ended(self, child: Child, run_id: str) -> dict[str, Any]:
        def look() -> dict[str, Any] | None:
            run: dict[str, Any] = self.send(child, f"/api/runs/{run_id}").json()
            return run if run.get("status", "running") != "running" else None

        return until(look, f"run {run_id} has not ended")

    def begun(self, child: Child) -> str:
        """Start a run whose provider keeps silent; return its id when the provider was asked."""
        self.slow.clear()
        before = len(self.provider.received)
        request = {"model": "own-responses:slow", "background": True, **ASKED}
        response_id = self.send(child, "/v1/responses", request).json()["id"]
        until(lambda: len(self.provider.received) > before or None, "no call was made")
        # Only what the ledger has written outlives the process.
        run = f"/api/runs/{response_id.removeprefix('resp_')}"
        until(lambda: self.send(child, run).json().get("calls"), "the call is not shown")
        return str(response_id)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """What is left after runs that ended in every way."""
    slow = threading.Event()

    def answer(received: Received) -> tuple[int, Any]:
        model = received.body["model"]
        if model == "slow":
            slow.wait(LIMIT_S)
        if model == "fail":
            return 400, {"error": {"message": f"bad: {json.dumps(received.body)}"}}
        kinds = {"chat/completions": "chat", "responses": "responses", "messages": "messages"}
        return 200, ANSWERS[kinds[received.path.removeprefix("/v1/")]]("hello")

    with ExitStack() as stack:
        provider = stack.enter_context(recording_provider(answer))
        spans = stack.enter_context(collecting())
        stack.callback(slow.set)
        made = Site(tmp_path_factory.mktemp("stored"), provider, spans, slow)
        tables = [
            f'[providers.own-{p}]\nprotocol = "{p}"\nbase_url = "{provider.url}"\n'
            for p in PROTOCOLS
        ]
        (made.folder / "polyvox.toml").write_text("\n".join(tables), "utf-8")
        with made.up() as first:
            _end_in_every_way(made, first)
        with made.up() as second:
            _continue(made, second)
        yield made


def _end_in_every_way(site: Site, child: Child) -> None:
    for protocol in PROTOCOLS:
        for model in ("m", "fail"):
            request = {"model": f"own-{protocol}:{model}", **REQUESTS[protocol]}
            answer = site.send(child, PATHS[protocol], request)
            run_id = site.runs[f"{protocol} {model}"] = answer.headers["x-polyvox-run"]
            assert site.ended(child, run_id)["status"] == (
                "failed" if model == "fail" else "completed"
            )
    cancelled = site.begun(child)
    site.send(child, f"/v1/responses/{cancelled}/cancel", {})
    site.slow.set()
    site.runs["cancelled"] = cancelled.removeprefix("resp_")
    assert site.ended(child, site.runs["cancelled"])["status"] == "cancelled"
    site.runs["terminated"] = site.begun(child).removeprefix("resp_")
    asyncio.run(_terminate(site.data, site.runs["terminated"]))
    site.slow.set()
    site.runs["killed"] = site.begun(child).removeprefix("resp_")
    child.kill()
    site.slow.set()
    site.provider.received.clear()


async def _terminate(data: Path, run_id: str) -> None:
    ports = read_ports(data / "engine" / "ports.json")
    assert ports is not None
    client = await Client.connect(f"127.0.0.1:{ports.frontend}")
    await client.get_workflow_handle(run_id).terminate()


def _continue(site: Site, child: Child) -> None:
    assert site.ended(child, site.runs["killed"])["status"] == "completed"
    assert site.ended(child, site.runs["terminated"])["status"] == "cancelled"
    made = command("keys", "create", "other", "--json", "--data", str(site.data))
    site.other_key = json.loads(made.stdout)["secret"]
    for name in ("responses m", "responses fail", "cancelled", "terminated", "killed"):
        file = site.folder / f"{name}.json"
        done = command("runs", "export", site.runs[name], str(file), "--data", str(site.data))
        assert done.returncode == 0, done.stderr
        site.shown += [done.stdout.encode(), done.stderr.encode()]
        site.exported[name] = file.read_text("utf-8")


def test_a_killed_run_goes_on_with_the_credentials(site: Site) -> None:
    """The next start asks the provider again, with what the client sent."""
    (again,) = [received.body for received in site.provider.received if _is_slow(received)]
    assert again["tools"] == ASKED["tools"]
    assert again["input"][0] == ASKED["input"][0]


def _is_slow(received: Received) -> bool:
    return bool(received.body["model"] == "slow")


def test_nothing_holds_a_credential_however_the_run_ended(site: Site) -> None:
    """No answer, document, span, log line, export, history or database, also decompressed."""
    search = Search({"the credential": CANARY})
    for shown in site.shown:
        search.look("what was shown", shown)
    assert site.spans.spans
    for span in site.spans.spans:
        search.look("a span", span.SerializeToString())
    for file in site.folder.rglob("*"):
        if not file.is_file():
            continue
        content = file.read_bytes()
        search.look(str(file), content)
        if content[:15] == b"SQLite format 3":
            for value in stored_values(file):
                search.look(f"a value of {file.name}", value)
    for name, text in site.exported.items():
        for body in _bodies(text):
            search.look(f"a body of the export {name}", body)
    assert search.found == []


def _bodies(exported: str) -> Iterator[bytes]:
    for body in json.loads(exported)["blobs"].values():
        yield b64decode(body)


def _stolen(site: Site) -> str:
    found = re.search(
        rb'"authorization":"(polyvox-sealed-[^"]+)"',
        b"\n".join(_bodies(site.exported["responses m"])),
    )
    assert found is not None
    return found[1].decode()


@pytest.mark.parametrize("path", ["/v1/responses", "/v1/responses/input_tokens"])
def test_another_client_cannot_use_what_is_stored(site: Site, path: str) -> None:
    """Sent as one's own, to have it decrypted for one's own server: it is refused."""
    tool = {**MCP, "server_url": "https://thief.example.com", "authorization": _stolen(site)}
    request = {"model": "own-responses:m", "input": "hi", "tools": [tool]}
    with site.up() as child:
        site.provider.received.clear()
        refused = site.send(child, path, request, site.other_key)
    assert refused.status_code == 400
    assert "cannot be decrypted for this API key" in refused.json()["error"]["message"]
    assert not site.provider.received


def test_without_the_key_file_the_client_learns_what_to_do(site: Site) -> None:
    """A continued response cannot send the original, so it sends nothing; others go on."""
    continuing = {
        "model": "own-responses:m",
        "previous_response_id": f"resp_{site.runs['responses m']}",
        "input": "again",
    }
    key = site.data / KEY_FILE
    content = key.read_bytes()
    key.unlink()
    try:
        with site.up() as child:
            site.provider.received.clear()
            refused = site.send(child, "/v1/responses", continuing)
            assert refused.status_code == 400
            message = refused.json()["error"]["message"]
            assert "Send the whole conversation again" in message
            assert f"restore '{KEY_FILE}'" in message
            assert not site.provider.received
            assert site.send(
                child, "/v1/responses", {"model": "own-responses:m", **ASKED}
            ).is_success
            assert site.provider.received[0].body["tools"] == ASKED["tools"]
    finally:
        key.write_bytes(content)
    with site.up() as child:
        site.provider.received.clear()
        assert site.send(child, "/v1/responses", continuing).is_success
        assert site.provider.received[0].body["input"][0]["tools"] == [CONNECTOR]


def test_a_damaged_key_file_stops_the_start(site: Site) -> None:
    """With the file and the remedy, and without a traceback."""
    key = site.data / KEY_FILE
    content = key.read_bytes()
    key.write_bytes(b"short")
    try:
        done = command("up", "--port", "0", "--data", str(site.data))
        assert done.returncode == 2
        assert "restore it from a backup" in " ".join(done.stderr.split())
        assert "Traceback" not in done.stderr
        assert key.read_bytes() == b"short"
    finally:
        key.write_bytes(content)
