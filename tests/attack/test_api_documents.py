"""JSON that only Python accepts, names that no database can store, and endless bodies.

Each is sent to every route of ``/api`` that accepts a body. None may break the route, or break
what other clients read afterwards.
"""

import gzip
import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest

from tests.attack.asking import call
from tests.attack.conftest import ADMIN_KEY, KEY, Target
from tests.attack.escape import SOURCE
from tests.programs.processes import running

CONFIG = """\
[server]
register_over_http = true
max_body_mib = 2

[models.kept]
flow = "direct"
params = { model = "simulator:main" }
"""

WRITES = [
    ("POST", "/api/flows"),
    ("PUT", "/api/models/attacked"),
    ("PATCH", "/api/models/kept"),
    ("POST", "/api/models/kept/rollback"),
    ("POST", "/api/apply"),
    ("POST", "/api/runs/run_none/approve"),
]

READS = [
    "/api/models",
    "/api/models/kept",
    "/api/models/kept/history",
    "/api/models/kept/diff",
    "/api/flows",
    "/api/flows/direct",
    "/api/flows/direct/diff?other=fusion",
    "/api/runs",
    "/v1/models",
    "/v1/models/kept",
]


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    """A server on which flows can be registered over HTTP."""
    folder = tmp_path_factory.mktemp("documents")
    (folder / "polyvox.toml").write_text(CONFIG, "utf-8")
    environ = {"POLYVOX_KEY": KEY, "POLYVOX_ADMIN_KEY": ADMIN_KEY}
    data = folder / "data"
    with running("up", "--port", "0", "--data", str(data), folder=folder, environ=environ) as child:
        yield Target(child.ready(), child.base_url, data)


def refused(target: Target, method: str, path: str, body: bytes, **headers: str) -> str:
    """Send ``body``, which must be refused with a client error; return the message."""
    answer = call(target, method, path, target.admin_key, content=body, headers=headers)
    assert 400 <= answer.status_code < 500, (method, path, answer.status_code, answer.text)
    error = answer.json()["error"]
    assert error["message"].endswith(".") or ": " in error["message"]
    return str(error["message"])


def still_readable(target: Target) -> None:
    """Every list and document is available, in valid JSON."""
    for path in READS:
        answer = call(target, "GET", path, target.admin_key)
        assert answer.status_code == 200, (path, answer.text)
        json.loads(answer.text, parse_constant=pytest.fail)


BODIES = {
    "no JSON": b"{",
    "no object": b"[]",
    "empty": b"",
    "NaN": b'{"message": NaN}',
    "half of a surrogate pair": b'{"message": "\\ud800"}',
    "invalid UTF-8": b'{"message": "\xff"}',
    "NUL in a text": b'{"message": "a\\u0000b"}',
    "NUL in a key": b'{"a\\u0000b": 1}',
    "30 digits": b'{"message": 123456789012345678901234567890}',
    "5000 digits": b'{"message": ' + b"9" * 5000 + b"}",
    "deep lists": b'{"message": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "deep objects": b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
    "unknown field": b'{"nothing": 1}',
    "too large": b'{"message": "' + b"x" * 3 * 1024 * 1024 + b'"}',
}


@pytest.mark.parametrize(("method", "path"), WRITES)
def test_a_document_nobody_can_keep_is_refused(target: Target, method: str, path: str) -> None:
    """Every route refuses it with a message, and stores nothing."""
    for name, body in BODIES.items():
        assert refused(target, method, path, body), name
    packed = gzip.compress(b'{"message": "' + b"x" * 30 * 1024 * 1024 + b'"}')
    message = refused(target, method, path, packed, **{"content-encoding": "gzip"})
    assert "larger than 2 MiB" in message
    still_readable(target)


VALUES: dict[str, Any] = {
    "30 digits": 123456789012345678901234567890,
    "30 digits below zero": -123456789012345678901234567890,
    "beyond a float": 10**400,
    "a NUL": "a\0b",
    "deep": json.loads("[" * 70 + "]" * 70),
}


@pytest.mark.parametrize("value", VALUES.values(), ids=VALUES)
@pytest.mark.parametrize(
    "place",
    [
        ("card", "context_window"),
        ("card", "max_output_tokens"),
        ("limits", "calls"),
        ("params", "model"),
        ("description",),
        ("flow",),
    ],
    ids=".".join,
)
def test_a_value_nobody_can_keep_is_refused_with_its_path(
    target: Target, place: tuple[str, ...], value: Any
) -> None:
    """It is refused in every field of a model, by every route that creates one."""
    inner: Any = value
    for name in reversed(place[1:]):
        inner = {name: inner}
    model = {"flow": "direct", "params": {"model": "simulator:main"}, place[0]: inner}
    for method, path, document in (
        ("PUT", "/api/models/attacked", model),
        ("PATCH", "/api/models/kept", {place[0]: inner}),
        ("POST", "/api/apply", {"models": {"attacked": model}}),
        ("POST", "/api/apply", {"models": {"attacked": model}, "dry_run": True}),
    ):
        message = refused(target, method, path, json.dumps(document).encode())
        assert place[-1] in message or "valid JSON" in message, message
    assert call(target, "GET", "/api/models/attacked", target.admin_key).status_code == 404
    still_readable(target)


FLOWS: dict[str, dict[str, Any]] = {
    "NUL in the file's name": {"filename": "a\0b.py"},
    "a new line in the file's name": {"filename": "a\nb.py"},
    "no file name": {"filename": ""},
    "a long file name": {"filename": "x" * 10_000},
    "NUL in the source": {"source": "x = 1\0"},
    "a deep source": {"source": "x = " + "(" * 5000 + ")" * 5000},
    "a long sum": {"source": "x = " + "-" * 100_000 + "1"},
    "many attributes": {"source": "x" + ".a" * 100_000},
    "a folder's text as source": {"source": '{"polyvox_flow_folder":1,"files":[1]}'},
    "a broken folder's text": {"source": '{"polyvox_flow_folder":1,"files":'},
    "NUL in a path": {"source": None, "files": {"a\0b.md": "x", "flow.py": ""}},
    "a path upwards": {"source": None, "files": {"../x.md": "x", "flow.py": ""}},
    "an absolute path": {"source": None, "files": {"/etc/x.md": "x", "flow.py": ""}},
    "a file and a folder": {"source": None, "files": {"a.py": "", "a/b.py": "", "a.md/b.md": ""}},
    "no files": {"source": None, "files": {}},
    "both": {"files": {"flow.py": "x"}},
    "params": {"params": {"x": 10**30}},
}


@pytest.mark.parametrize("change", FLOWS.values(), ids=FLOWS)
def test_a_flow_nobody_can_keep_is_refused(target: Target, change: dict[str, Any]) -> None:
    """Its name, its files' names and its text are checked before they are used."""
    document = {"source": SOURCE.format(top="", body="    found = 1"), **change}
    refused(target, "POST", "/api/flows", json.dumps(document).encode())
    still_readable(target)


ADDRESSES = [
    "/api/models/a%00b",
    "/api/models/%00",
    "/api/models/a%00b/history",
    "/api/models/a%00b/diff",
    "/api/models/%ff%fe",
    "/api/models/" + "x" * 5000,
    "/api/models/kept/diff?before=" + "9" * 5000,
    "/api/models/kept/diff?before=" + "9" * 30 + "&after=-1",
    "/api/models/kept/diff?before=NaN",
    "/api/flows/a%00b",
    "/api/flows/a%00b/diff?other=direct",
    "/api/flows/direct/diff?other=a%00b",
    "/api/flows/direct/diff",
    "/api/runs/a%00b",
    "/api/runs/%ff",
    "/api/runs?model=a%00b&status=completed",
    "/api/runs?before=%00",
    "/api/runs?limit=" + "9" * 30,
    "/api/runs?limit=" + "9" * 5000,
    "/api/runs?limit=1e3",
    "/api/runs?status=%00",
]


@pytest.mark.parametrize("path", ADDRESSES, ids=lambda path: str(path)[:60])
def test_an_odd_address_is_the_clients_mistake(target: Target, path: str) -> None:
    """The status is a client error for every method."""
    for method in ("GET", "DELETE", "PUT", "PATCH", "POST"):
        answer = call(target, method, path, target.admin_key, content=b"{}")
        assert 400 <= answer.status_code < 500, (method, answer.status_code, answer.text)


def test_what_was_stored_before_is_still_read(target: Target) -> None:
    """Older versions stored such values: the lists work, and the model can be set again."""
    digits = 123456789012345678901234567890

    def put(name: str) -> None:
        document = {"flow": "direct", "params": {"model": "simulator:main"}}
        made = call(target, "PUT", f"/api/models/{name}", target.admin_key, document)
        assert made.status_code == 200, made.text

    put("old")
    card = json.dumps({"context_window": digits})
    with closing(sqlite3.connect(target.data / "polyvox.db", timeout=30)) as database, database:
        change = "UPDATE virtual_models SET card = ? WHERE name = 'old'"
        assert database.execute(change, (card,)).rowcount == 1
    put("other")  # for the server reads the registry anew when it was changed
    listed = call(target, "GET", "/api/models", target.admin_key).json()["models"]
    assert next(m for m in listed if m["model"] == "old")["card"] == {"context_window": digits}
    still_readable(target)
    edit = {"card": {"context_window": 1000}}
    mended = call(target, "PATCH", "/api/models/old", target.admin_key, edit)
    assert mended.status_code == 200, mended.text
    still_readable(target)
