"""A user key tries to see other keys' requests, their costs, and the operator's settings."""

from itertools import product
from typing import Any

import pytest

from tests.attack.asking import call, new_key, run_of
from tests.attack.conftest import Target
from tests.programs.running import until


@pytest.fixture(scope="module")
def stranger(target: Target) -> str:
    """The secret of another user's key."""
    return new_key(target, "stranger")


@pytest.fixture(scope="module")
def run_id(target: Target) -> str:
    """A run of the first user, known to the ledger."""
    made = run_of(target, target.key, "a secret question")
    until(
        lambda: call(target, "GET", f"/api/runs/{made}", target.key).is_success or None,
        "the run is not in the ledger",
    )
    return made


def test_another_keys_run_does_not_exist(target: Target, stranger: str, run_id: str) -> None:
    """Neither its id nor a prefix finds it; the message is the same as for an unknown run."""
    for given, more in product((run_id, run_id[:-4], run_id[:5]), ("", "/events")):
        answer = call(target, "GET", f"/api/runs/{given}{more}", stranger)
        assert answer.status_code == 404, answer.text
        assert answer.json()["error"] == {
            "kind": "not_found",
            "message": f"There is no run {given!r}. GET /api/runs lists them.",
        }
    assert call(target, "GET", f"/api/runs/{run_id[:-4]}", target.key).json()["run_id"] == run_id


def test_the_list_has_own_runs_only(target: Target, stranger: str, run_id: str) -> None:
    """No filter shows another key's run, and none can be used as a page marker."""
    own = run_of(target, stranger)
    until(
        lambda: call(target, "GET", f"/api/runs/{own}", stranger).is_success or None,
        "the run is not in the ledger",
    )
    queries: list[dict[str, Any]] = [{}, {"limit": 1000}, {"model": "simulator:main"}]
    for query in [*queries, {"status": "completed"}]:
        listed = call(target, "GET", "/api/runs", stranger, params=query).json()["runs"]
        assert [run["run_id"] for run in listed] == [own]
    for before in (run_id, "run_none"):
        answer = call(target, "GET", "/api/runs", stranger, params={"before": before})
        assert answer.status_code == 404
        assert answer.json()["error"]["message"] == (
            f"There is no run {before!r} to list the runs before."
        )


def test_a_prefix_of_several_runs_names_own_ones_only(
    target: Target, stranger: str, run_id: str
) -> None:
    """The message that asks for a longer prefix shows no other ids."""
    mine = {run_of(target, stranger) for _ in range(2)}

    def listed() -> bool | None:
        runs = call(target, "GET", "/api/runs", stranger).json()["runs"]
        return mine <= {run["run_id"] for run in runs} or None

    until(listed, "the runs are not in the ledger")
    answer = call(target, "GET", "/api/runs/run_", stranger)
    assert answer.status_code == 400
    assert run_id not in answer.text


def test_an_admin_sees_all_runs(target: Target, run_id: str) -> None:
    """Somebody must be able to look up what a run cost."""
    assert call(target, "GET", f"/api/runs/{run_id}", target.admin_key).status_code == 200
    runs = call(target, "GET", "/api/runs?limit=1000", target.admin_key).json()["runs"]
    assert run_id in {run["run_id"] for run in runs}


def test_a_user_cannot_tell_whether_a_run_waits_for_approval(
    target: Target, stranger: str, run_id: str
) -> None:
    """It is refused before anything is looked up, with the same message for every id."""
    said = {
        call(target, "POST", f"/api/runs/{given}/approve", stranger, {"approved": True}).text
        for given in (run_id, "run_none")
    }
    assert len(said) == 1
    assert "is a user key" in said.pop()


REGISTRY = [
    ("GET", "/api/models"),
    ("GET", "/api/models/{}"),
    ("GET", "/api/models/{}/history"),
    ("GET", "/api/models/{}/diff"),
    ("PUT", "/api/models/{}"),
    ("PATCH", "/api/models/{}"),
    ("DELETE", "/api/models/{}"),
    ("POST", "/api/models/{}/rollback"),
    ("GET", "/api/flows"),
    ("GET", "/api/flows/{}"),
    ("GET", "/api/flows/{}/diff?other=direct"),
    ("POST", "/api/flows"),
    ("DELETE", "/api/flows/{}"),
    ("POST", "/api/apply"),
]


@pytest.mark.parametrize(("method", "path"), REGISTRY)
def test_the_registry_is_closed_to_users(target: Target, method: str, path: str) -> None:
    """The answer is the same for existing and unknown names, and for a malformed body."""
    answers = [
        call(target, method, path.format(name), target.key, content=body)
        for name in ("simulated-fusion", "fusion", "none")
        for body in (b"", b"{", b"{}")
    ]
    assert {answer.status_code for answer in answers} == {403}
    assert len({answer.text for answer in answers}) == 1
    assert "polyvox keys create NAME --role admin" in answers[0].json()["error"]["message"]


def test_models_are_listed_to_users_without_what_they_are_made_of(target: Target) -> None:
    """The list has names, descriptions and sizes, but no prompts, parameters or flows."""
    admin = call(target, "GET", "/api/models/simulated-fusion", target.admin_key).json()
    hidden = {str(value) for value in admin["params"].values() if isinstance(value, str)}
    for path in ("/v1/models", "/v1/models/simulated-fusion", "/v1/models?client_version=1"):
        for headers in ({}, {"anthropic-version": "2023-06-01"}):
            answer = call(target, "GET", path, target.key, headers=headers)
            assert answer.status_code == 200
            assert not [value for value in hidden if value in answer.text]


def test_kept_answers_are_their_keys_own(target: Target, stranger: str) -> None:
    """Another key cannot read, continue, cancel or delete a response."""
    made = call(
        target, "POST", "/v1/responses", target.key, {"model": "simulator:main", "input": "hi"}
    ).json()["id"]
    for method, path in (
        ("GET", f"/v1/responses/{made}"),
        ("GET", f"/v1/responses/{made}/input_items"),
        ("POST", f"/v1/responses/{made}/cancel"),
        ("DELETE", f"/v1/responses/{made}"),
    ):
        for key in (stranger, target.admin_key):
            assert call(target, method, path, key).status_code == 404, path
    on = {"model": "simulator:main", "input": "on", "previous_response_id": made}
    assert call(target, "POST", "/v1/responses", stranger, on).status_code in (400, 404)
    assert call(target, "GET", f"/v1/responses/{made}", target.key).status_code == 200


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/"])
def test_what_needs_no_key_tells_nothing(target: Target, path: str) -> None:
    """They show whether the server is healthy, but no models, keys, runs or folders."""
    said = call(target, "GET", path, "").text
    for told in ("simulat", "key_", "run_", str(target.data), "/tmp", "temporal:"):
        assert told not in said
