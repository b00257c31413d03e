"""The engine's ports as a web page can reach them, and the Web UI as people reach it.

A page can do what a browser allows: send HTTP to any address it knows, under its own name
(DNS rebinding) or from its own origin (cross-site), but not to the ports that every browser
blocks. The page here knows every address and port of the process tree.
"""

import ipaddress
import json
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.attack.conftest import Target
from tests.programs import processes
from tests.programs.processes import family_of

linux = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")

# https://fetch.spec.whatwg.org/#port-blocking, the ports above 1023.
REFUSED_BY_BROWSERS = frozenset(
    {1719, 1720, 1723, 2049, 3659, 4045, 4190, 5060, 5061, 6000, 6566}
    | {6665, 6666, 6667, 6668, 6669, 6679, 6697, 10080}
)
CANARY = "canary-of-the-engine-doors"
NAMESPACE = "/api/v1/namespaces/default"
READING = (
    *("/", "/ui/", "/metrics", "/stats", "/requests", "/api/runs", "/v1/models"),
    *("/api/v1/namespaces", f"{NAMESPACE}/workflows", f"/ui{NAMESPACE}/workflows"),
    *("/api/v1/settings", "/ui/api/v1/settings", "/namespaces", "/auth/sso", "/healthz"),
    *("/api/v1/cluster-info", "/cluster", "/debug/pprof/", "/ui/enter?ticket=guess"),
)
STARTING = (
    f"{NAMESPACE}/workflows/started-by-a-page",
    f"/ui{NAMESPACE}/workflows/started-by-a-page",
    "/namespaces/default/nexus/callback",
    "/namespaces/default/task-queues/polyvox/nexus-services/a/b",
    "/nexus/endpoints/a/services/b/c",
    "/v1/chat/completions",
    "/ui/sign-in",
)
START = json.dumps(
    {
        "workflowType": {"name": "direct@1"},
        "taskQueue": {"name": "polyvox"},
        "model": "simulated",
        "messages": [{"role": "user", "content": "x"}],
    }
)
# RFC 9113: the client preface, then empty SETTINGS.
HTTP2_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0\4\0\0\0\0\0"


def doors(target: Target) -> set[tuple[str, int]]:
    """Return address and port of every socket the process tree listens on; format: proc(5)."""
    inodes = set()
    for pid in family_of(target.child.process.pid):
        for entry in Path(f"/proc/{pid}/fd").iterdir():
            try:
                inodes.add(str(entry.readlink()))
            except OSError:  # closed meanwhile
                continue
    found = set()
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            row = line.split()
            if row[3] == "0A" and f"socket:[{row[9]}]" in inodes:
                address, _, port = row[1].partition(":")
                words = bytes.fromhex(address)
                raw = b"".join(words[at : at + 4][::-1] for at in range(0, len(words), 4))
                found.add((str(ipaddress.ip_address(raw)), int(port, 16)))
    return found


def sent(host: str, port: int, request: bytes) -> bytes:
    """Send bytes, and return the answer until the other side closes or stays silent."""
    with socket.create_connection((host, port), 10) as connection:
        connection.settimeout(10)
        answer = b""
        try:
            connection.sendall(request)
            while part := connection.recv(65536):
                answer += part
        except (ConnectionResetError, BrokenPipeError, TimeoutError):
            pass
        return answer


def asked(door: tuple[str, int], method: str, path: str, *lines: str, body: str = "") -> bytes:
    head = "".join(f"{line}\r\n" for line in lines)
    request = (
        f"{method} {path} HTTP/1.1\r\n{head}Content-Length: {len(body)}\r\n"
        f"Content-Type: text/plain\r\nConnection: close\r\n\r\n{body}"
    )
    return sent(*door, request.encode())


def reachable(target: Target) -> list[tuple[str, int]]:
    """Return the ports that a browser would connect to."""
    return sorted(door for door in doors(target) if door[1] not in REFUSED_BY_BROWSERS)


def is_success(answer: bytes) -> bool:
    return answer.startswith(b"HTTP/1.") and answer.split(b" ", 2)[1].startswith(b"2")


def command(target: Target, *words: str) -> str:
    done = processes.command(*words, "--data", str(target.data))
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def new_key(target: Target, role: str) -> tuple[str, str]:
    """Return the id and the secret of a new key."""
    made = json.loads(command(target, "keys", "create", "--role", role, "--json"))
    return made["key_id"], made["secret"]


@pytest.fixture(scope="module")
def run_id(target: Target) -> str:
    """A run whose prompt is the canary."""
    answer = httpx.post(
        f"{target.base_url}/v1/chat/completions",
        json={"model": "simulated", "messages": [{"role": "user", "content": CANARY}]},
        headers={"x-api-key": target.key},
        timeout=60,
        trust_env=False,
    )
    assert answer.is_success
    return answer.headers["x-polyvox-run"]


@pytest.fixture
def browser(target: Target) -> Iterator[httpx.Client]:
    """A browser that stores cookies and does not follow redirects."""
    with httpx.Client(base_url=target.base_url, trust_env=False, timeout=30) as client:
        client.headers["accept"] = "text/html"
        yield client


@pytest.fixture
def signed_in(target: Target, browser: httpx.Client) -> httpx.Client:
    assert browser.get(command(target, "ui")).status_code == 200
    return browser


def workflows(client: httpx.Client) -> set[str]:
    """Return the ids of the engine's workflows, read from its own API through the proxy."""
    answer = client.get(f"/ui{NAMESPACE}/workflows")
    assert answer.status_code == 200, answer.text
    return {one["execution"]["workflowId"] for one in answer.json().get("executions", [])}


@linux
def test_every_port_is_on_loopback_and_most_are_closed_to_browsers(target: Target) -> None:
    """The engine's Web UI and metrics, which have no checks, are on ports that browsers block."""
    found = doors(target)
    assert all(ipaddress.ip_address(host).is_loopback for host, _ in found)
    open_to_all = [
        door
        for door in found
        if any(
            is_success(asked(door, "GET", path, "Host: evil.example"))
            for path in ("/metrics", "/api/v1/namespaces")
        )
    ]
    assert len(open_to_all) == 2
    assert {port for _, port in open_to_all} <= REFUSED_BY_BROWSERS


@linux
@pytest.mark.parametrize("page", ["rebound", "cross-site", "sandboxed"])
def test_a_web_page_reads_and_starts_nothing_at_any_port(
    target: Target, run_id: str, signed_in: httpx.Client, page: str
) -> None:
    """No path of any port answers it with success, and the engine has no additional run."""
    before = workflows(signed_in)
    assert run_id in before
    read = []
    for door in reachable(target):
        host = f"[{door[0]}]:{door[1]}" if ":" in door[0] else f"{door[0]}:{door[1]}"
        lines = {
            "rebound": (f"Host: evil.example:{door[1]}",),
            "cross-site": (f"Host: {host}", "Origin: http://evil.example"),
            "sandboxed": (f"Host: {host}", "Origin: null"),
        }[page]
        for path in READING:
            answer = asked(door, "GET", path, *lines)
            read += [(door, path)] if is_success(answer) or CANARY.encode() in answer else []
        for path in STARTING:
            answer = asked(door, "POST", path, *lines, body=START)
            read += [(door, path)] if is_success(answer) else []
    assert read == []
    assert workflows(signed_in) == before


@linux
def test_a_page_without_an_origin_header_reaches_nothing_of_the_engine(
    target: Target, run_id: str
) -> None:
    """A cross-site image or link sends no Origin; the engine's own ports still do not answer."""
    port = httpx.URL(target.base_url).port
    for door in reachable(target):
        if door[1] == port:
            continue
        for path in ("/metrics", "/api/v1/namespaces", f"{NAMESPACE}/workflows", "/ui/"):
            answer = asked(door, "GET", path, f"Host: {door[0]}:{door[1]}")
            assert not is_success(answer), (door, path)
            assert run_id.encode() not in answer


@linux
@pytest.mark.parametrize(
    "request_line", [b"GET / HTTP/1.1", b"POST /temporal.api HTTP/1.1", b"PRI / HTTP/1.1"]
)
def test_a_page_cannot_speak_grpc(target: Target, request_line: bytes) -> None:
    """HTTP/1.1 with an HTTP/2 preface in its body: the port sends at most a greeting and closes."""
    ports = json.loads((target.data / "engine" / "ports.json").read_text())
    body = HTTP2_PREFACE * 2
    answer = sent(
        "127.0.0.1",
        ports["frontend"],
        request_line
        + b"\r\nHost: 127.0.0.1\r\nContent-Type: text/plain\r\n"
        + b"Content-Length: %d\r\n\r\n" % len(body)
        + body,
    )
    kinds = set()
    while answer:
        length, kind = int.from_bytes(answer[:3]), answer[3]
        kinds.add(kind)
        answer = answer[9 + length :]
    assert kinds <= {4, 7}  # SETTINGS and GOAWAY


def test_a_ticket_opens_the_real_web_ui_once(
    target: Target, browser: httpx.Client, run_id: str
) -> None:
    """One click is enough; a second use is refused with a message that says what to do."""
    link = command(target, "ui", run_id[:-2])
    entered = browser.get(link)
    assert entered.status_code == 200
    page = f"/ui/namespaces/default/workflows/{run_id}"
    assert f'content="0;url={page}"' in entered.text
    cookie = entered.headers["set-cookie"].lower()
    assert "; httponly" in cookie
    assert "; samesite=strict" in cookie
    assert "; path=/ui" in cookie
    shown = browser.get(page)
    assert shown.status_code == 200
    assert 'base: "/ui"' in shown.text
    policy = shown.headers["content-security-policy"]
    assert "frame-ancestors 'none'" in policy
    assert "'sha256-" in policy
    assert shown.headers["referrer-policy"] == "no-referrer"
    script = shown.text.partition('href="')[2].partition('"')[0]
    assert browser.get(script).headers["content-type"].startswith("text/javascript")
    assert run_id in workflows(browser)
    history = browser.get(f"/ui{NAMESPACE}/workflows/{run_id}/history")
    assert history.status_code == 200
    again = httpx.get(link, trust_env=False)
    assert again.status_code == 401
    assert "has already been used or is older than ten minutes. Run `polyvox ui`" in again.text
    assert "set-cookie" not in again.headers


def test_the_printed_link_is_a_ticket_too(tmp_path: Path) -> None:
    """A new user starts the server and clicks. Links expire, so this needs a new server."""
    with (
        processes.running("up", "--port", "0", "--data", "data", folder=tmp_path) as child,
        httpx.Client(trust_env=False, timeout=30) as browser,
    ):
        assert browser.get(child.printed(r"Web UI\s+(\S+)")).status_code == 200
        assert browser.get(f"{child.base_url}/ui/").status_code == 200


def test_a_link_is_only_made_for_a_server_that_runs(tmp_path: Path) -> None:
    """If no server is running, the command says what to do."""
    done = processes.command("ui", "--data", str(tmp_path))
    assert done.returncode == 1
    assert "Start it with `polyvox up`" in done.stderr


def test_links_to_runs_lead_through_the_door(
    target: Target, signed_in: httpx.Client, run_id: str
) -> None:
    """Links from the API and the command line work for a signed-in user."""
    link = f"{target.base_url}/ui/namespaces/default/workflows/{run_id}"
    told = signed_in.get(f"/api/runs/{run_id}", headers={"x-api-key": target.key})
    assert told.json()["link"] == link
    assert json.loads(command(target, "runs", "show", run_id, "--json"))["link"] == link
    assert signed_in.get(link).status_code == 200


@pytest.mark.parametrize("cookie", [None, "wrong", ""])
def test_without_a_session_nothing_of_the_web_ui_is_shown(
    target: Target, cookie: str | None
) -> None:
    """A browser gets a page that says what to do, a program the same sentence."""
    port = httpx.URL(target.base_url).port
    headers = {} if cookie is None else {"cookie": f"polyvox-ui-{port}={cookie}"}
    for path in ("/ui/", "/ui/_app/version.json", f"/ui{NAMESPACE}/workflows", "/ui/healthz"):
        refused = httpx.get(target.base_url + path, headers=headers, trust_env=False)
        assert refused.status_code == 401
        assert "run `polyvox ui`" in refused.text
        page = httpx.get(
            target.base_url + path, headers={**headers, "accept": "text/html"}, trust_env=False
        )
        assert page.status_code == 401
        assert 'action="/ui/sign-in"' in page.text
        assert "default-src 'none'" in page.headers["content-security-policy"]
        assert "<script" not in page.text
    key = httpx.get(
        target.base_url + "/ui/", headers={"x-api-key": target.admin_key}, trust_env=False
    )
    assert key.status_code == 401


def sign_in(browser: httpx.Client, key: str, origin: str | None = None, to: str = "/ui/") -> int:
    here = str(browser.base_url).rstrip("/")
    answer = browser.post(
        "/ui/sign-in", data={"key": key, "next": to}, headers={"origin": origin or here}
    )
    return answer.status_code


def test_an_admins_key_opens_a_session_that_ends_with_the_key(
    target: Target, browser: httpx.Client, run_id: str
) -> None:
    """Revoking it needs no restart."""
    key_id, secret = new_key(target, "admin")
    assert sign_in(browser, secret) == 303
    assert run_id in workflows(browser)
    command(target, "keys", "revoke", key_id)
    assert browser.get(f"/ui{NAMESPACE}/workflows").status_code == 401
    assert browser.get("/ui/").status_code == 401


def test_a_users_key_and_a_wrong_one_are_refused(target: Target, browser: httpx.Client) -> None:
    """The status tells which of these it is."""
    _, secret = new_key(target, "user")
    assert sign_in(browser, secret) == 403
    assert sign_in(browser, "nobody's key") == 401
    assert not browser.cookies


def test_the_sign_in_form_cannot_be_sent_by_another_page(
    target: Target, browser: httpx.Client
) -> None:
    """A request without an origin is refused as well, and the form redirects only below ``/ui``."""
    key_id, secret = new_key(target, "admin")
    assert sign_in(browser, secret, origin="http://evil.example") == 403
    assert sign_in(browser, secret, origin="null") == 403
    assert browser.post("/ui/sign-in", data={"key": secret}).status_code == 403
    for to in ("//evil.example", "https://evil.example/", "/ui/\\evil.example", "/api/runs"):
        here = str(browser.base_url).rstrip("/")
        answer = browser.post(
            "/ui/sign-in", data={"key": secret, "next": to}, headers={"origin": here}
        )
        assert answer.headers["location"] == "/ui/"
    command(target, "keys", "revoke", key_id)


def test_a_page_at_another_port_of_this_machine_cannot_use_the_session(
    signed_in: httpx.Client,
) -> None:
    """Cookies are shared by all ports; the browser marks the request as from another origin."""
    path = f"/ui{NAMESPACE}/workflows"
    for site in ("same-site", "cross-site"):
        headers = {"sec-fetch-site": site, "sec-fetch-mode": "no-cors"}
        assert signed_in.get(path, headers=headers).status_code == 403
        assert signed_in.post(path, headers=headers).status_code == 403
        headers["sec-fetch-mode"] = "navigate"
        assert signed_in.get("/ui/", headers=headers).status_code == 200
        assert signed_in.post("/ui/", headers=headers).status_code == 403


def test_changing_something_needs_the_web_uis_own_token_too(
    signed_in: httpx.Client, run_id: str
) -> None:
    """Its protection against forged requests works through the proxy."""
    path = f"/ui{NAMESPACE}/workflows/{run_id}/terminate"
    forged = signed_in.post(path, json={})
    assert forged.status_code in {400, 403}
    assert "csrf" in forged.text.lower()
    signed_in.get("/ui/")
    token = signed_in.cookies["_csrf"]
    told = signed_in.post(path, json={}, headers={"x-csrf-token": token})
    assert "csrf" not in told.text.lower()
    assert "already completed" in told.text


def test_a_body_larger_than_the_engine_takes_is_refused(signed_in: httpx.Client) -> None:
    """It is not forwarded, and is dropped as soon as its size is known."""
    refused = signed_in.post(f"/ui{NAMESPACE}/workflows/x", content=b"x" * (5 << 20))
    assert refused.status_code == 413
