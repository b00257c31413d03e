"""The log of requests: one line each, and nothing in it that is private."""

import json
import logging
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from websockets.sync.client import connect

from polyvox.gateway.cli.output.logs import JsonFormatter
from polyvox.gateway.http.request_log import FACTS, RequestLog, facts_of, shown
from polyvox.workflows.errors import ModelError
from polyvox.workflows.reply import Usage
from tests.programs.clients import Client, Question, Said
from tests.programs.processes import command, running
from tests.programs.running import KEY, Live, until

SECRET = "pvx-0123456789abcdefghij"
PROMPT = "a prompt that nobody else may read"


async def fine(request: Request) -> PlainTextResponse:
    facts = facts_of(request)
    facts.key, facts.model, facts.usage = "my laptop", "team/panel", Usage(input=7, output=5)
    return PlainTextResponse("fine", headers={"x-request-id": "run_1"})


async def refused(request: Request) -> PlainTextResponse:
    facts_of(request).fail(ModelError("rate_limit", PROMPT, provider="openai"))
    return PlainTextResponse("later", 429)


async def broken(_request: Request) -> PlainTextResponse:
    raise ValueError("a defect")


APP = RequestLog(
    Starlette(
        routes=[
            Route("/fine/{name}", fine, methods=["GET", "POST"]),
            Route("/refused", refused),
            Route("/broken", broken),
            Route("/healthz", refused),
        ]
    )
)


async def logged(
    caplog: pytest.LogCaptureFixture, path: str, level: int = logging.INFO
) -> list[logging.LogRecord]:
    """Return the records of one request."""
    caplog.set_level(level, "polyvox.requests")
    transport = httpx.ASGITransport(APP, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        await client.get(path)
    return list(caplog.records)


async def test_a_request_is_one_line(caplog: pytest.LogCaptureFixture) -> None:
    """Parameters of a path are private, their names are not."""
    (line,) = await logged(caplog, f"/fine/{SECRET}?key={SECRET}")
    said = line.getMessage()
    assert said.startswith("GET /fine/{name} 200 ")
    assert said.endswith(" ms id=run_1 key=my_laptop model=team/panel tokens_in=7 tokens_out=5")
    assert line.levelname == "INFO"


async def test_a_refusal_is_a_warning_with_its_kind(caplog: pytest.LogCaptureFixture) -> None:
    """The message may quote the prompt, so it is not logged."""
    (line,) = await logged(caplog, "/refused")
    assert line.levelname == "WARNING"
    assert line.getMessage().endswith(" ms error=rate_limit provider=openai")
    assert PROMPT not in line.getMessage()


async def test_a_defect_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    """With one traceback, and the request's own line."""
    records = await logged(caplog, "/broken")
    assert [bool(record.exc_info) for record in records] == [True, False]
    assert records[1].getMessage().startswith("GET /broken 500 ")
    assert records[1].levelname == "ERROR"


@pytest.mark.parametrize(
    "path", [f"/{SECRET}/v1", "/a%20prompt%20with%20words%20%E2%98%95", "/x%0Aforged"]
)
async def test_an_unknown_path_is_shown_only_if_it_looks_like_one(
    caplog: pytest.LogCaptureFixture, path: str
) -> None:
    """A client may put anything there, also a line of its own."""
    (line,) = await logged(caplog, path)
    assert "GET (hidden) 404" in line.getMessage()


async def test_levels_and_probes(caplog: pytest.LogCaptureFixture) -> None:
    assert await logged(caplog, "/fine/x", logging.WARNING) == []
    (line,) = await logged(caplog, "/nowhere", logging.WARNING)
    assert "GET /nowhere 404" in line.getMessage()


async def test_a_line_as_json_has_the_values(caplog: pytest.LogCaptureFixture) -> None:
    (line,) = await logged(caplog, "/fine/x")
    document = json.loads(JsonFormatter().format(line))
    assert document["level"] == "info"
    assert document["time"].endswith("+00:00")
    assert {name: document[name] for name in ("status", "key", "model", "tokens_in", "id")} == {
        "status": 200,
        "key": "my_laptop",
        "model": "team/panel",
        "tokens_in": 7,
        "id": "run_1",
    }
    assert isinstance(document["ms"], int)


@pytest.mark.parametrize(
    ("name", "looks_like_one"),
    [
        ("openai:gpt-5.1@2", True),
        ("two words", False),
        (SECRET, False),
        ("sk-proj-abcdefgh", False),
        ("a\nb", False),
        ("x" * 121, False),
        ("What is “this”?", False),
    ],
)
def test_a_chosen_name_is_shown_only_if_it_looks_like_one(name: str, looks_like_one: bool) -> None:
    assert (shown(name) != "(hidden)") == looks_like_one


# -- The whole server ------------------------------------------------------------------------------


def written(caplog: pytest.LogCaptureFixture) -> list[dict[str, Any]]:
    """Return the values of the lines so far."""
    return [getattr(r, FACTS) for r in caplog.records if r.name == "polyvox.requests"]


def facts(caplog: pytest.LogCaptureFixture, run_id: str) -> dict[str, Any]:
    """Return the values of the line of a run, which is written when the answer has ended."""

    def look() -> dict[str, Any] | None:
        return next((values for values in written(caplog) if values["id"] == run_id), None)

    return until(look, "the request is not in the log")


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("model", ["sim-chat:main", "panel-auto"])
def test_an_answer_is_logged_with_its_tokens(
    live: Live, client: Client, caplog: pytest.LogCaptureFixture, model: str, stream: bool
) -> None:
    """Of all calls of its run; in every protocol."""
    caplog.set_level(logging.INFO, "polyvox.requests")
    answered = client.ask(Question(model, (Said(f"Should I? {PROMPT}"),)), stream=stream)
    values = facts(caplog, answered.run_id)
    run = live.ended(answered.run_id)
    assert (values["status"], values["model"], values["error"]) == (200, model, None)
    assert values["key"] == "from_the_environment:_short"
    assert values["tokens_out"] >= answered.tokens[1]
    assert values["tokens_in"] >= answered.tokens[0]
    assert run["status"] == "completed"
    text = "\n".join(record.getMessage() for record in caplog.records)
    assert PROMPT not in text
    assert KEY not in text


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
def test_failures_and_refused_keys_are_logged(
    live: Live, caplog: pytest.LogCaptureFixture, stream: bool
) -> None:
    """With the kind of the error, and with no names that may be something else."""
    caplog.set_level(logging.INFO, "polyvox")
    asked = {"messages": [{"role": "user", "content": PROMPT}], "stream": stream}
    live.post("chat", {"model": "sim-chat:main-err400", **asked})
    live.post("chat", {"model": "keyless:main", **asked})
    live.post("chat", {"model": PROMPT, **asked})
    live.post("chat", {"model": "sim-chat:main", **asked}, headers={"x-api-key": SECRET})

    wanted = {
        (400, "invalid_request", "sim-chat:main-err400", "sim-chat"),
        (502, "provider_authentication", "keyless:main", "keyless"),
        (404, "model_not_found", "(hidden)", None),
        (401, "authentication", None, None),
    }

    def lines() -> bool | None:
        # A line is written after its answer, so their order is open.
        found = {(f["status"], f["error"], f["model"], f["provider"]) for f in written(caplog)}
        return wanted <= found or None

    until(lines, "a request is not in the log")
    printed = [r.getMessage() for r in caplog.records if r.name.startswith("polyvox")]
    for private in (PROMPT, SECRET, KEY):
        assert private not in "\n".join(printed)


@pytest.mark.parametrize(
    ("model", "status", "error"),
    [("sim-chat:main", 200, None), ("sim-chat:main-err400", 400, "invalid_request")],
)
def test_a_background_response_is_logged_when_it_ends(
    live: Live, caplog: pytest.LogCaptureFixture, model: str, status: int, error: str | None
) -> None:
    """Beside the line of the request that began it."""
    caplog.set_level(logging.INFO, "polyvox.requests")
    answer = live.post("responses", {"model": model, "input": PROMPT, "background": True})
    run_id = answer.headers["x-polyvox-run"]

    def lines() -> dict[str, dict[str, Any]] | None:
        found = {values["method"]: values for values in written(caplog)}
        return found if {"POST", "BACKGROUND"} <= {*found} else None

    found = until(lines, "the end is not in the log")
    assert found["POST"]["status"] == 200
    ended = found["BACKGROUND"]
    assert (ended["status"], ended["error"], ended["model"]) == (status, error, model)
    assert ended["id"] == run_id
    assert ended["key"] == found["POST"]["key"] != ""


def test_each_request_of_a_websocket_is_logged(
    live: Live, caplog: pytest.LogCaptureFixture
) -> None:
    """With its own model and status."""
    caplog.set_level(logging.INFO, "polyvox.requests")
    url = live.base_url.replace("http", "ws") + "/v1/responses"
    with connect(url, additional_headers={"authorization": f"Bearer {KEY}"}, proxy=None) as socket:
        for model in ("sim-chat:main", "sim-chat:main-err400"):
            document = {"type": "response.create", "model": model, "input": PROMPT}
            socket.send(json.dumps(document))
            while json.loads(socket.recv())["type"] not in ("response.completed", "error"):
                continue

    def lines() -> list[dict[str, Any]] | None:
        found = written(caplog)
        return found if len(found) == 2 else None

    fine, failed = until(lines, "a request is not in the log")
    assert (fine["method"], fine["status"], fine["model"]) == ("WEBSOCKET", 200, "sim-chat:main")
    assert fine["tokens_out"] > 0
    assert (failed["status"], failed["error"]) == (400, "invalid_request")


STUMBLES = '''\
from polyvox.workflows import Params, Reply, Run, flow


class StumblesParams(Params):
    pass


@flow
async def stumbles(run: Run[StumblesParams]) -> Reply:
    """Fail on the second message."""
    if len(run.conversation.messages) > 1:
        raise ValueError(run.conversation.messages[-1].text)
    return await run.ask("simulator:main", step="main")
'''


@pytest.mark.parametrize("log_format", ["text", "json"])
def test_failures_do_not_fill_the_log(tmp_path: Path, log_format: str) -> None:
    """A line for each request, also where a flow or a provider fails; no traceback, no prompt."""
    (tmp_path / "stumbles.py").write_text(STUMBLES, "utf-8")
    data = ("--data", str(tmp_path / "data"))
    words = ("up", "--port", "0", "--log-format", log_format, *data)
    with running(*words, folder=tmp_path, environ={"POLYVOX_KEY": KEY}) as child:
        child.ready()
        child.printed(r"(-m \S+)")
        assert command("register", str(tmp_path / "stumbles.py"), *data).returncode == 0
        begin = len(child.output.read_text("utf-8"))
        messages = [{"role": "user", "content": PROMPT}, {"role": "user", "content": PROMPT}]
        models = ("simulator:main", "stumbles", "simulator:main-err400", "simulator:main-cut3")
        for model in models:
            httpx.post(
                f"{child.base_url}/v1/chat/completions",
                json={"model": model, "messages": messages},
                headers={"x-api-key": KEY},
                timeout=60,
                trust_env=False,
            )
        child.stop()
        lines = child.output.read_text("utf-8")[begin:].splitlines()
    said = [line for line in lines if "/v1/chat/completions" in line]
    assert len(said) == len(models), lines
    assert all(model in said[at] for at, model in enumerate(models))
    assert len(lines) <= len(models) + 4, lines
    assert PROMPT not in "\n".join(lines)
    if log_format == "json":
        assert [json.loads(line)["status"] for line in said] == [200, 500, 400, 502]
