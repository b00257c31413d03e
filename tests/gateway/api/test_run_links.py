"""Links to Temporal's Web UI: only runs that the engine got have a page there."""

from typing import Any

from tests.gateway.generate.test_failures import request
from tests.programs.commands import refused, told, told_json
from tests.programs.running import ADMIN_KEY, Live, until


def listed(live: Live, run_id: str) -> dict[str, Any] | None:
    runs = live.ask("/api/runs?limit=20", **{"x-api-key": ADMIN_KEY}).json()["runs"]
    return next((run for run in runs if run["run_id"] == run_id), None)


def test_a_run_without_a_workflow_has_no_link(live: Live) -> None:
    """A request for an unknown model never reached the engine; a run that did has its page."""
    unknown = live.post("chat", request("chat", "no-such-model", stream=False))
    assert unknown.status_code == 404
    run_id = unknown.headers["x-polyvox-run"]
    run = until(lambda: listed(live, run_id), "the run is not listed")
    assert (run["status"], run["link"]) == ("failed", None)
    assert live.ask(f"/api/runs/{run_id}").json()["link"] is None
    assert "/ui/" not in told(live, "runs", "show", run_id)
    assert told_json(live, "runs", "show", run_id)["link"] is None
    answered = live.post("chat", request("chat", "plain-chat", stream=False))
    known = live.ended(answered.headers["x-polyvox-run"])
    assert known["link"].endswith(f"/workflows/{known['run_id']}")
    assert known["link"].rpartition("/ui/")[2] in told(live, "runs", "show", known["run_id"])


def test_the_command_for_a_page_says_that_there_is_none(live: Live) -> None:
    unknown = live.post("chat", request("chat", "no-such-model", stream=False))
    run_id = unknown.headers["x-polyvox-run"]
    until(lambda: listed(live, run_id), "the run is not listed")
    assert f"Run {run_id} has no page in the Web UI" in refused(live, "ui", run_id)
