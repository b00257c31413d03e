"""Requests as web pages send them: with an attacker's host name, or from an attacker's page."""

import json
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from starlette.types import Receive, Scope, Send

from polyvox.gateway.http.hosts import HostGuard, Names
from polyvox.worker.settings.settings import SettingsError, load_settings
from tests.attack.conftest import Target
from tests.programs.processes import Child, running

STRANGERS = (
    "evil.example",
    "evil.example:8484",
    "127.0.0.1.evil.example",
    "localhost.evil.example",
    "2130706433.evil.example",
    "0x7f.1",
    "xlocalhost.com",
    "my-internal.com",
    "EVIL.example.",
)
OURS = (
    "127.0.0.1",
    "127.0.0.1:1",
    "10.1.2.3:8484",
    "[::1]:8484",
    "[2001:db8::1]",
    "localhost:8484",
    "LOCALHOST.",
    "polyvox.localhost",
    "polyvox",
    "polyvox_1:8484",
    "host.docker.internal:8484",
)
BROKEN = ("", "a b", "evil.example:port", "a@b", "http://localhost", "[::1", "x" * 300 + "/", "ä")
FOREIGN = (
    "http://evil.example",
    "https://evil.example",
    "http://127.0.0.1:1",
    "http://localhost",
    "null",
    "HTTP://EVIL.EXAMPLE",
    "http://",
    "nonsense",
)


def answer(base_url: str, request: bytes) -> tuple[int, bytes]:
    """Send a request unchanged; return status and body."""
    port = httpx.URL(base_url).port
    assert port is not None
    with socket.create_connection(("127.0.0.1", port), 30) as connection:
        connection.sendall(request)
        whole = b"".join(iter(lambda: connection.recv(65536), b""))
    head, _, body = whole.partition(b"\r\n\r\n")
    return int(head.split(b" ", 2)[1]), body


def get(target: Target, path: str, *headers: str) -> tuple[int, bytes]:
    lines = "".join(f"{line}\r\n" for line in headers)
    request = f"GET {path} HTTP/1.1\r\n{lines}x-api-key: {target.key}\r\nConnection: close\r\n\r\n"
    return answer(target.base_url, request.encode())


@contextmanager
def configured(folder: Path, server: str) -> Iterator[Child]:
    config = folder / "polyvox.toml"
    config.write_text(f"[server]\n{server}\n")
    environ = {"POLYVOX_KEY": "attack-users-key"}
    arguments = ("up", "--port", "0", "--data", str(folder / "data"), "--config", str(config))
    with running(*arguments, folder=folder, environ=environ) as child:
        yield child.ready()


@pytest.mark.parametrize("host", STRANGERS)
@pytest.mark.parametrize("path", ["/", "/healthz", "/v1/models", "/api/runs", "/ui/", "/nowhere"])
def test_a_name_that_a_stranger_can_own_is_refused(target: Target, host: str, path: str) -> None:
    """DNS rebinding looks like this; the answer says what to do if the name is the server's."""
    status, body = get(target, path, f"Host: {host}")
    assert status == 421
    assert b"server.allowed_hosts" in body


@pytest.mark.parametrize("host", OURS)
def test_addresses_and_names_of_private_networks_are_answered(target: Target, host: str) -> None:
    """Health checks, containers and people need no setting."""
    assert get(target, "/v1/models", f"Host: {host}")[0] == 200


@pytest.mark.parametrize("host", BROKEN)
def test_a_malformed_host_is_a_bad_request(target: Target, host: str) -> None:
    """The server does not guess which one was meant."""
    assert get(target, "/v1/models", f"Host: {host}")[0] == 400


def test_several_hosts_or_none_are_a_bad_request(target: Target) -> None:
    """A reverse proxy may use the other one."""
    assert get(target, "/v1/models", "Host: localhost", "Host: evil.example")[0] == 400
    assert get(target, "/v1/models", "Host: localhost", "Host: localhost")[0] == 400
    assert get(target, "/v1/models")[0] == 400


@pytest.mark.parametrize("origin", FOREIGN)
@pytest.mark.parametrize("path", ["/v1/models", "/api/runs", "/ui/"])
def test_a_page_of_another_origin_is_refused(target: Target, origin: str, path: str) -> None:
    """Other pages of this machine are foreign too: the port is part of the origin."""
    status, body = get(target, path, "Host: localhost:8484", f"Origin: {origin}")
    assert status == 403
    assert b"may not send requests to this server" in body


@pytest.mark.parametrize(
    ("host", "origin"),
    [
        ("localhost:8484", "http://localhost:8484"),
        ("LOCALHOST:8484", "http://localhost:8484"),
        ("gateway", "https://gateway"),
        ("gateway:443", "https://gateway"),
        ("[::1]:8484", "http://[::1]:8484"),
        ("localhost", "vscode-webview://0abc"),
        ("localhost", "chrome-extension://abcdef"),
    ],
)
def test_own_pages_and_editors_are_answered(target: Target, host: str, origin: str) -> None:
    """An editor's webview sends an origin that no web page can have."""
    assert get(target, "/v1/models", f"Host: {host}", f"Origin: {origin}")[0] == 200


def test_an_editor_may_not_open_the_web_ui(target: Target) -> None:
    """A cookie is the credential there, so only its own pages may use it."""
    status, _ = get(target, "/ui/", "Host: localhost", "Origin: vscode-webview://0abc")
    assert status == 403


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/messages", "/v1/responses"])
def test_a_cross_site_post_starts_nothing_and_is_told_in_the_paths_own_dialect(
    target: Target, path: str
) -> None:
    """``text/plain`` needs no preflight, so the request itself must be refused."""
    body = json.dumps({"model": "simulated", "messages": [], "input": "x", "max_tokens": 1})
    refused = httpx.post(
        target.base_url + path,
        content=body,
        headers={
            "content-type": "text/plain",
            "origin": "http://evil.example",
            "x-api-key": target.key,
        },
        trust_env=False,
    )
    assert refused.status_code == 403
    assert "server.allowed_origins" in refused.json()["error"]["message"]
    assert refused.json().get("type") == ("error" if path == "/v1/messages" else None)


@pytest.mark.parametrize(
    ("header", "status"),
    [("Host: evil.example", 421), ("Host: localhost\r\nOrigin: http://evil.example", 403)],
)
def test_a_websocket_is_refused_before_it_opens(target: Target, header: str, status: int) -> None:
    """Browsers let any page open a WebSocket to anywhere; only the server can refuse."""
    request = (
        f"GET /v1/responses HTTP/1.1\r\n{header}\r\nx-api-key: {target.key}\r\n"
        "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
    found, body = answer(target.base_url, request.encode())
    assert found == status
    assert b"server.allowed_" in body


def test_the_simulator_refuses_strangers_too(tmp_path: Path) -> None:
    """It has no keys, so these checks are its only protection."""
    with running("simulate", "--port", "0", folder=tmp_path) as child:
        url = child.printed(r"at (http\S+)").removesuffix("/v1")
        for header, status in (
            ({"host": "evil.example"}, 421),
            ({"origin": "http://evil.example"}, 403),
            ({"origin": "null"}, 403),
            ({}, 200),
        ):
            assert httpx.get(f"{url}/stats", headers=header, trust_env=False).status_code == status
            body = {
                "model": "main",
                "max_tokens": 9,
                "messages": [{"role": "user", "content": "x"}],
            }
            told = httpx.post(f"{url}/v1/messages", json=body, headers=header, trust_env=False)
            assert told.status_code == status
            assert told.json()["type"] == ("message" if status == 200 else "error")


def test_names_and_origins_can_be_allowed(tmp_path: Path) -> None:
    """The settings named in the messages work: a name, all its subdomains, and an origin."""
    server = (
        'allowed_hosts = ["gw.example.org", "*.corp.example"]\n'
        'allowed_origins = ["https://app.example.org"]'
    )
    with configured(tmp_path, server) as child:
        for headers, status in (
            ({"host": "GW.example.org:8484"}, 200),
            ({"host": "a.b.corp.example"}, 200),
            ({"host": "corp.example"}, 421),
            ({"host": "evilcorp.example"}, 421),
            ({"origin": "https://app.example.org"}, 200),
            ({"origin": "http://app.example.org"}, 403),
        ):
            answered = httpx.get(f"{child.base_url}/healthz", headers=headers, trust_env=False)
            assert (headers, answered.status_code) == (headers, status)
        allowed = {"origin": "https://app.example.org"}
        assert (
            httpx.get(f"{child.base_url}/ui/", headers=allowed, trust_env=False).status_code == 403
        )


@pytest.mark.parametrize(
    "line",
    [
        'allowed_hosts = ["http://x"]',
        'allowed_hosts = ["*"]',
        'allowed_hosts = ["x:1"]',
        'allowed_origins = ["app.example.org"]',
        'allowed_origins = ["https://x/path"]',
    ],
)
def test_a_wrong_entry_is_told_at_the_start(tmp_path: Path, line: str) -> None:
    """An entry that never matches would otherwise be noticed only through a refused request."""
    config = tmp_path / "polyvox.toml"
    config.write_text(f"[server]\n{line}\n")
    with pytest.raises(SettingsError, match=r"server\.allowed_(hosts|origins)\.0: .*use an? "):
        load_settings(config, tmp_path, environ={})


async def test_the_guard_costs_next_to_nothing_and_holds_nothing_back() -> None:
    """Each part of an answer passes immediately; a check costs less than reading a small body."""
    sent: list[bytes] = []

    async def app(_scope: Scope, _receive: Receive, send: Send) -> None:
        for part in (b"a", b"b"):
            await send({"type": "http.response.body", "body": part, "more_body": True})
            assert sent[-1] == part

    async def send(message: object) -> None:
        assert isinstance(message, dict)
        sent.append(message["body"])

    async def nothing(*_: object) -> None:
        raise AssertionError

    headers = [(b"host", b"127.0.0.1:8484"), *((b"x-%d" % n, b"value") for n in range(12))]
    scope = {"type": "http", "http_version": "1.1", "path": "/", "headers": headers}
    guarded = HostGuard(app, Names(), nothing)  # type: ignore[arg-type]  # never called
    await guarded(scope, nothing, send)  # type: ignore[arg-type]  # never called
    assert sent == [b"a", b"b"]

    def taken(work: object) -> float:
        assert callable(work)
        began = time.perf_counter()
        for _ in range(2000):
            work()
        return time.perf_counter() - began

    document = json.dumps({"messages": [{"role": "user", "content": "x" * 1000}] * 20})
    names = Names()
    best = min(taken(lambda: names.mistake(scope)) for _ in range(5))
    assert best < min(taken(lambda: json.loads(document)) for _ in range(5))
