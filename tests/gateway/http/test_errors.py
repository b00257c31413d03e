"""Errors that end Codex at once, and are what SDKs expect for everybody else."""

from typing import get_args

import pytest

from polyvox.gateway.http.errors import error_for
from polyvox.protocols.client_side import Ask
from polyvox.protocols.responses.client import response as answers
from polyvox.protocols.table import PROTOCOLS
from polyvox.workflows.conversation import Conversation, user
from polyvox.workflows.errors import FAULTS, ErrorKind, ModelError

CODEX = {"user-agent": "codex_exec/0.169.0 (Debian 12.0.0; x86_64) dumb (codex_exec; 0.169.0)"}
SDK = {"user-agent": "OpenAI/Python 3.54.0"}

KINDS = get_args(ErrorKind)
MAY_PASS = ("cancelled", "internal")
FINAL = [kind for kind in KINDS if not FAULTS[kind].retryable and kind not in MAY_PASS]
FINAL_CODES = (
    "context_length_exceeded",
    "insufficient_quota",
    "invalid_prompt",
    "server_is_overloaded",
)
"""The codes after which Codex 0.169 does not try again."""

STATUSES = (None, 401, 403, 404, 405, 409, 413, 422, 500)


@pytest.mark.parametrize("kind", FINAL)
def test_codex_stops_at_an_error_that_lasts(kind: ErrorKind) -> None:
    """It repeats a request after every status but 400, six to thirty times."""
    for given in STATUSES:
        error = error_for(ModelError(kind, "Said so.", status=given, param="p"), CODEX)
        status, document = answers.render_error(error, "r1")
        assert (status, document["error"]["type"]) == (400, "invalid_request_error")
        assert document["error"]["message"] == "Said so. (run r1)"
        assert document["error"]["param"] == "p"


def test_codex_is_told_what_is_wrong_by_the_code() -> None:
    """The message says what to do, the code names the kind."""
    codes = {}
    for kind in ("authentication", "context_length", "quota", "permission"):
        _, document = answers.render_error(error_for(ModelError(kind, "m"), CODEX), None)
        codes[kind] = document["error"]["code"]
    assert codes == {
        "authentication": "invalid_api_key",
        "context_length": "context_length_exceeded",
        "quota": "insufficient_quota",
        "permission": "insufficient_permissions",
    }


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind not in FINAL])
def test_codex_repeats_what_may_pass(kind: ErrorKind) -> None:
    """With the status that makes it wait or try again."""
    error = ModelError(kind, "m", status=None)
    assert error_for(error, CODEX) is error


@pytest.mark.parametrize("name", ["codex_cli_rs", "codex_vscode", "codex-tui", "Codex Desktop"])
def test_every_program_of_codex_is_recognized(name: str) -> None:
    """Each names itself and its version first."""
    error = error_for(ModelError("authentication", "m"), {"user-agent": f"{name}/0.169.0 (x)"})
    assert answers.render_error(error, None)[0] == 400


@pytest.mark.parametrize("headers", [SDK, {}, {"user-agent": "my-codex"}])
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_other_clients_get_the_usual_status(protocol: str, headers: dict[str, str]) -> None:
    """From which SDKs make their exceptions."""
    error = error_for(ModelError("authentication", "m"), headers)
    status, document = PROTOCOLS[protocol].answers.render_error(error, None)
    assert (status, document["error"]["type"]) == (401, "authentication_error")


@pytest.mark.parametrize("kind", KINDS)
def test_a_begun_stream_tells_codex_by_its_code_whether_to_try_again(kind: ErrorKind) -> None:
    """It repeats the request after ``server_error``, and not after ``invalid_prompt``."""
    ask = Ask("responses", "m", Conversation((user("hi"),)), stream=True)
    sent = answers.encoder(ask, run_id="r", created=1).fail(ModelError(kind, "m"))
    final = any(f'"error":{{"code":"{code}"'.encode() in sent for code in FINAL_CODES)
    assert final == (kind in FINAL or kind == "overloaded")
