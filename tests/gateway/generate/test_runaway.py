"""Flows that block, loop, raise or return nothing: each is named, ended and harms nobody else."""

import re
import time

import httpx
import pytest

from polyvox.workflows import language
from polyvox.workflows.confinement.surface import names_of
from tests.gateway.generate.test_failures import request
from tests.programs.commands import source, told
from tests.programs.running import PROTOCOLS, Live

ASK = 'await run.ask(run.params.model, step="again")'


def serve(live: Live, name: str, body: str) -> None:
    """Register a flow that would be refused by the command line."""
    live.program.runtime.registry.register(source(name, body=body), f"{name}.py")


def failed(live: Live, model: str, *, stream: bool = False) -> tuple[httpx.Response, str]:
    """Return the answer of a model that fails, and what ``runs show`` says of its run."""
    answer = live.post("chat", request("chat", model, stream=stream))
    run_id = answer.headers["x-polyvox-run"]
    assert run_id in answer.text
    assert live.ended(run_id, 0)["status"] == "failed"
    shown = told(live, "runs", "show", run_id)
    assert live.post("chat", request("chat", "plain-chat", stream=False)).status_code == 200
    return answer, shown


@pytest.mark.parametrize(
    ("name", "body"),
    [
        ("busy", "while True:\n        pass"),
        ("napping", f"language.language_of(4)\n    return {ASK}"),
    ],
)
def test_a_flow_that_holds_its_worker_is_cut_off_and_named(
    live: Live, name: str, body: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Computing or sleeping: the client is told soon, and other runs go on.

    No flow can import what sleeps; here a function that it can import does.
    """
    assert "language_of" in names_of("polyvox.workflows.language")
    monkeypatch.setattr(language, "language_of", time.sleep)
    body = f"from polyvox.workflows import language\n    {body}" if name == "napping" else body
    serve(live, name, body)
    answer, shown = failed(live, name)
    assert answer.status_code == 500
    assert answer.json()["error"]["code"] == "flow_error"
    assert f"Flow {name}@1 was cut off" in answer.json()["error"]["message"]
    assert "was cut off" in shown


def test_a_flow_that_raises_shows_the_traceback_of_its_own_lines(live: Live) -> None:
    """Only the flow's files, and the line at fault last."""
    serve(live, "stumbling", '{}["nothing"]')
    for stream in (False, True):
        answer, shown = failed(live, "stumbling", stream=stream)
        assert "KeyError: 'nothing' at line 12" in answer.json()["error"]["message"]
        assert 'File "stumbling.py (stumbling@1)", line 12, in stumbling' in shown
        assert "host.py" not in shown


def test_a_flow_that_returns_nothing_is_told_what_to_return(live: Live) -> None:
    """A flow's value is a Reply."""
    serve(live, "silent", "return None  # type: ignore[return-value]")
    answer, _ = failed(live, "silent")
    assert "returned NoneType instead of a Reply" in answer.json()["error"]["message"]


def test_a_run_makes_no_more_calls_than_its_limit(live: Live) -> None:
    """The limit is the virtual model's, and the error says how to raise it."""
    serve(live, "looping", f"while True:\n        {ASK}")
    told(live, "models", "set", "looping-3", "--flow", "looping", "--limit", "calls=3")
    answer, shown = failed(live, "looping-3")
    assert answer.status_code == 500
    assert "its limit is calls = 3" in answer.json()["error"]["message"]
    assert shown.count("attempt 1") == 3


def test_a_run_ends_at_its_deadline(live: Live) -> None:
    """A timeout in the client's protocol; the call under way is hung up."""
    serve(live, "waiting", ASK.replace("run.params.model", '"sim-chat:main-stall0-iddeadline"'))
    told(live, "models", "set", "waiting-1", "--flow", "waiting", "--limit", "deadline_s=0.3")
    answer, _ = failed(live, "waiting-1")
    assert answer.status_code == 504
    assert "deadline_s = 0.3" in answer.json()["error"]["message"]


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_client_is_told_not_to_repeat_what_would_fail_again(live: Live, protocol: str) -> None:
    """SDKs try a 500 again by themselves, and Codex all but a 400: it would cost the same again."""
    serve(live, "hopeless", 'raise ValueError("no")')
    answer = live.post(protocol, request(protocol, "hopeless", stream=True))
    if protocol == "responses":
        assert answer.status_code == 400
    else:
        assert (answer.status_code, answer.headers["x-should-retry"]) == (500, "false")


# The flow is cut off wherever it stands, which may be in the reading of a file.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_flow_that_holds_the_interpreter_is_not_tried_again(live: Live) -> None:
    """An expression that tries every way cannot be interrupted, so it must not begin twice."""
    search = 're.search("(a+)+$", "a" * 26 + "b")'
    begun = time.perf_counter()
    re.search("(a+)+$", "a" * 26 + "b")
    once = time.perf_counter() - begun
    serve(live, "searching", f"import re\n    {search}\n    return {ASK}")
    begun = time.perf_counter()
    answer, _ = failed(live, "searching")
    assert time.perf_counter() - begun < 3 * once
    assert answer.json()["error"]["code"] == "flow_error"
