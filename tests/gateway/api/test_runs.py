"""The HTTP API of runs, on a real ledger."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI

from polyvox.activities.ledger.entries import CallEnded, RunEnded, RunStarted
from polyvox.activities.ledger.ledger import Ledger
from polyvox.activities.storage.database import database_file, file_url
from polyvox.gateway.api.runs import api_router
from polyvox.protocols.table import PROTOCOLS
from polyvox.workflows.reply import Usage

NOON = datetime(2030, 1, 2, 12, 0, tzinfo=UTC)


@pytest.fixture
async def client(tmp_path: Path) -> AsyncIterator[httpx.AsyncClient]:
    """A client with a key, of a ledger with three runs; the last one failed."""
    async with Ledger.open(file_url(database_file(tmp_path))) as ledger:
        await ledger.add_key("test-key", "test", "admin")
        for number in range(3):
            at = NOON + timedelta(seconds=number)
            ledger.record(
                RunStarted(f"run-{number}", "careful", "direct@1", "chat", False, "key_1", at)
            )
        ledger.record(
            CallEnded(
                "run-2",
                "main",
                1,
                "openai",
                "gpt-5",
                "failed",
                NOON,
                NOON + timedelta(milliseconds=1500),
                usage=Usage(input=9),
                error_kind="rate_limit",
                error_message="slow down",
                http_status=429,
            )
        )
        ledger.record(
            RunEnded("run-2", "failed", NOON + timedelta(seconds=4), error_kind="rate_limit")
        )
        app = FastAPI()
        app.state.ledger = ledger
        app.state.protocols = PROTOCOLS
        app.state.client = None
        app.state.has_ui = True
        app.state.namespace = "default"
        app.include_router(api_router())
        async with httpx.AsyncClient(
            transport=httpx.ASGITransport(app),
            base_url="http://gateway",
            headers={"x-api-key": "test-key"},
        ) as client:
            yield client


async def test_runs_are_listed_page_by_page(client: httpx.AsyncClient) -> None:
    """`next` is what the next page's `before` must be, and null at the end."""
    first = (await client.get("/api/runs", params={"limit": 2})).json()
    assert [run["run_id"] for run in first["runs"]] == ["run-2", "run-1"]
    rest = (await client.get("/api/runs", params={"limit": 2, "before": first["next"]})).json()
    assert [run["run_id"] for run in rest["runs"]] == ["run-0"]
    assert rest["next"] is None


async def test_runs_are_narrowed_by_status_and_model(client: httpx.AsyncClient) -> None:
    """Both parameters narrow the list."""
    running = (await client.get("/api/runs", params={"status": "running"})).json()
    assert [run["run_id"] for run in running["runs"]] == ["run-1", "run-0"]
    assert (await client.get("/api/runs", params={"model": "other"})).json()["runs"] == []


async def test_a_run_is_shown_with_its_calls(client: httpx.AsyncClient) -> None:
    """Tokens by meter, durations in milliseconds, errors by kind, and a link to the Web UI."""
    run = (await client.get("/api/runs/run-2")).json()
    assert run["link"] == "http://gateway/ui/namespaces/default/workflows/run-2"
    assert run["duration_ms"] == 2000
    assert run["error"] == {"kind": "rate_limit", "message": None}
    assert run["spent"]["input"] == 9
    (call,) = run["calls"]
    assert (call["step"], call["http_status"], call["duration_ms"]) == ("main", 429, 1500)
    assert call["error"] == {"kind": "rate_limit", "message": "slow down"}
    assert call["started_at"] == "2030-01-02T12:00:00Z"
    assert call["first_token_ms"] is None
    assert call["tokens"] == {
        "input": 9,
        "cache_read": None,
        "cache_write": None,
        "cache_write_1h": None,
        "output": None,
        "reasoning": None,
    }


@pytest.mark.parametrize(
    ("path", "status", "kind", "names"),
    [
        ("/api/runs/none", 404, "not_found", "'none'"),
        ("/api/runs/run", 400, "invalid_request", "'run-0', 'run-1'"),
        ("/api/runs?before=none", 404, "not_found", "'none'"),
        ("/api/runs?limit=many", 400, "invalid_request", "limit: "),
        ("/api/runs?limit=0", 400, "invalid_request", "limit: "),
        ("/api/runs?status=sad", 400, "invalid_request", "status: "),
    ],
)
async def test_a_failure_is_typed_and_names_what_was_wrong(
    path: str, status: int, kind: str, names: str, client: httpx.AsyncClient
) -> None:
    """Every failure is a document with a kind and a message."""
    answer = await client.get(path)
    assert answer.status_code == status
    error = answer.json()["error"]
    assert error["kind"] == kind
    assert names in error["message"]


@pytest.mark.parametrize("path", ["/api/runs", "/api/runs/run-1", "/api/runs?limit=many"])
async def test_runs_are_shown_to_nobody_without_a_key(path: str, client: httpx.AsyncClient) -> None:
    """The API is as closed as the models."""
    answer = await client.get(path, headers={"x-api-key": "wrong-key"})
    assert answer.status_code == 401
    assert answer.json()["error"]["kind"] == "authentication"
