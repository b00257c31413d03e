"""Flows and virtual models over HTTP, with an admin's key and with a user's."""

from typing import Any

import httpx
import pytest

from tests.gateway.api.test_versions import ask
from tests.programs.commands import source
from tests.programs.running import ADMIN_KEY, Live


def send(live: Live, method: str, path: str, document: Any = None, key: str = ADMIN_KEY) -> Any:
    """Return the answer of the API."""
    return httpx.request(
        method,
        f"{live.base_url}/api{path}",
        json=document,
        headers={"x-api-key": key},
        timeout=60,
        trust_env=False,
    )


@pytest.fixture(scope="module")
def user_key(live: Live) -> str:
    _, secret = live.run(live.program.runtime.ledger.create_key("somebody", "user"))
    return secret


def test_a_flow_is_registered_and_served_at_once(live: Live) -> None:
    """Its parameters' schema is published; the author is the key."""
    made = send(live, "POST", "/flows", {"source": source("posted"), "message": "by HTTP"})
    assert made.status_code == 200, made.text
    assert made.json()["name"] == "posted@1"
    assert made.json()["author"].startswith("key_")
    assert ask(live, "posted")[0] == "one"
    shown = send(live, "GET", "/flows/posted").json()
    assert shown["params"]["properties"]["word"] == {
        "default": "one",
        "title": "Word",
        "type": "string",
    }
    assert shown["files"] == {"flow.py": source("posted")}


def test_a_registration_names_the_models_that_stay_on_an_older_version(live: Live) -> None:
    """As the command does; a model moves when somebody sets it."""
    first = send(live, "POST", "/flows", {"source": source("moving")})
    assert first.json()["left_behind"] == []
    assert send(live, "PUT", "/models/staying", {"flow": "moving"}).status_code == 200
    second = send(live, "POST", "/flows", {"source": source("moving", "two")}).json()
    assert second["name"] == "moving@2"
    assert second["left_behind"] == [{"model": "staying", "flow": "moving@1"}]
    assert send(live, "PATCH", "/models/staying", {"flow": "moving"}).status_code == 200
    again = send(live, "POST", "/flows", {"source": source("moving", "two")}).json()
    assert (again["name"], again["left_behind"]) == ("moving@2", [])


def test_a_folder_is_registered_as_one_flow(live: Live) -> None:
    """Modules import each other relatively and read their prompts; nothing is on a disk."""
    flow = source("foldered", body="return Reply((Text(WORD + PROMPT),))")
    head = (
        "from importlib.resources import files\n\nfrom .words import WORD\n\n"
        'PROMPT = files(__package__).joinpath("prompts/judge.md").read_text("utf-8")\n'
    )
    files = {"flow.py": head + flow, "words.py": 'WORD = "hello "', "prompts/judge.md": "judge"}
    made = send(live, "POST", "/flows", {"files": files, "filename": "foldered"})
    assert made.status_code == 200, made.text
    answer = live.post(
        "chat", {"model": "foldered", "messages": [{"role": "user", "content": "hi"}]}
    )
    assert answer.json()["choices"][0]["message"]["content"] == "hello judge"


def test_a_model_is_made_changed_rolled_back_and_retired(live: Live) -> None:
    """Each change is a version with author, time and message."""
    path = "/models/team/api-model"
    made = send(live, "PUT", path, {"flow": "direct", "params": {"model": "sim-chat:main"}})
    assert made.status_code == 200, made.text
    edit = {
        "params": {"model": "sim-chat:judge"},
        "limits": {"calls": 5},
        "card": {"context_window": 9000, "capabilities": ["tools"]},
        "message": "better",
    }
    (change,) = send(live, "PATCH", path, edit).json()["plan"]
    assert (change["action"], change["version"]) == ("changed", 2)
    assert [d["path"] for d in change["differences"]] == [
        "card.capabilities",
        "card.context_window",
        "limits.calls",
        "params.model",
    ]
    assert send(live, "PATCH", path, edit).json()["plan"][0]["action"] == "unchanged"
    assert send(live, "PATCH", path, {"card": {"capabilities": None}}).status_code == 200
    assert send(live, "GET", path).json()["card"] == {"context_window": 9000}
    send(live, "POST", f"{path}/rollback", {"version": 1})
    assert send(live, "GET", path).json()["params"] == {"model": "sim-chat:main"}
    send(live, "DELETE", path)
    assert send(live, "GET", path).status_code == 404
    history = send(live, "GET", f"{path}/history").json()["history"]
    assert [version["message"] for version in history] == [
        "retired",
        "back to version 1",
        "",
        "better",
        "",
    ]
    assert history[0]["retired"]


@pytest.mark.parametrize(
    ("document", "says"),
    [
        ({"flow": "fusion", "params": {"main": "sim-chat:main", "panel": [], "judge": 1}}, "panel"),
        ({"flow": "direct", "params": {"model": "nocolon"}}, "params.model: must be a model of"),
        ({"flow": "direct", "params": {"model": "opnai:x"}}, "names no known provider"),
        ({"flow": "direct", "params": {"modl": "a:b"}}, "params.modl: is not known. Known: model"),
        ({"flow": "dircet"}, "Did you mean 'direct'?"),
        (
            {"flow": "direct", "params": {"model": "sim-chat:x"}, "limits": {"calls": 0}},
            "limits.calls: Input should be greater than or equal to 1, not 0",
        ),
        (
            {"flow": "direct", "params": {"model": "sim-chat:x"}, "card": {"context": 1}},
            "card.context: is not known. Known: capabilities, context_window, efforts, max_output",
        ),
        (
            {
                "flow": "direct",
                "params": {"model": "sim-chat:x"},
                "card": {"capabilities": ["telepathy"]},
            },
            "card.capabilities.0: Input should be 'tools', 'images'",
        ),
    ],
)
def test_a_wrong_parameter_is_refused_with_its_path(live: Live, document: Any, says: str) -> None:
    """The path is that of the document, and nothing is changed."""
    answer = send(live, "PUT", "/models/refused", document)
    assert answer.status_code == 400
    assert answer.json()["error"]["message"].startswith("models.refused.")
    assert says in answer.json()["error"]["message"]
    assert send(live, "GET", "/models/refused").status_code == 404


def test_a_user_may_neither_look_nor_change(live: Live, user_key: str) -> None:
    """Prompts and sources are the operator's; the message says how to make an admin's key."""
    for method, path, document in (
        ("GET", "/flows", None),
        ("GET", "/flows/direct", None),
        ("GET", "/flows/no_such_flow", None),
        ("GET", "/flows/direct/diff?other=fusion", None),
        ("GET", "/models", None),
        ("GET", "/models/plain-chat", None),
        ("GET", "/models/no-such-model", None),
        ("GET", "/models/plain-chat/history", None),
        ("GET", "/models/plain-chat/diff", None),
        ("POST", "/flows", {"source": "x"}),
        ("DELETE", "/flows/fusion", None),
        ("PUT", "/models/x", {"flow": "direct"}),
        ("PATCH", "/models/x", {}),
        ("DELETE", "/models/plain-chat", None),
        ("POST", "/models/plain-chat/rollback", {}),
        ("POST", "/apply", {"models": {}}),
    ):
        answer = send(live, method, path, document, user_key)
        assert answer.status_code == 403, (method, path)
        assert "--role admin" in answer.json()["error"]["message"]


def test_a_flow_behind_a_model_cannot_be_retired(live: Live) -> None:
    """The models are named, so that they can be set to another flow first."""
    answer = send(live, "DELETE", "/flows/fusion")
    assert answer.status_code == 400
    assert "panel-auto" in answer.json()["error"]["message"]


def test_the_plan_of_a_whole_configuration_is_shown_before_it_is_made(live: Live) -> None:
    """A dry run changes nothing, and says what would be retired with it."""
    plan = send(live, "POST", "/apply", {"models": {}, "dry_run": True}).json()["plan"]
    assert {"plain-chat", "panel-auto"} <= {c["model"] for c in plan}
    assert {change["action"] for change in plan} == {"retired"}
    assert send(live, "GET", "/models/plain-chat").status_code == 200
