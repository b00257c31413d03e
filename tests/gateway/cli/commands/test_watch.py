"""``polyvox runs watch`` as a person uses it."""

import signal
from pathlib import Path

from tests.gateway.api.test_run_events import background
from tests.gateway.generate.test_failures import request
from tests.programs.commands import told
from tests.programs.processes import running
from tests.programs.running import Live


def test_ctrl_c_stops_only_the_watching(live: Live, tmp_path: Path) -> None:
    """It prints text as it comes; the run goes on to its end."""
    run_id = background(live, "sim-chat:main-n500-itl40")
    with running("runs", "watch", run_id, "--data", str(live.data), folder=tmp_path) as child:
        child.printed(r"(main  asks sim-chat:main-n500-itl40)")
        child.printed(r"(plain words)")
        child.process.send_signal(signal.SIGINT)
        assert child.process.wait(60) == 130
        assert "Traceback" not in child.output.read_text("utf-8")
    assert live.ended(run_id)["status"] == "completed"


def test_a_panel_is_shown_step_by_step(live: Live) -> None:
    """Each with its model, tokens and cost; a failed one with the reason."""
    answer = live.post("chat", request("chat", "panel-main-fails", stream=False))
    run_id = answer.headers["x-polyvox-run"]
    live.ended(run_id)
    shown = told(live, "runs", "watch", run_id)
    assert "asks sim-messages:engineer" in shown
    assert "completed" in shown
    assert "tokens in " in shown
    assert "run  failed" in shown
    assert shown.splitlines()[-1].endswith("(invalid_request)")


def test_a_request_that_was_refused_is_shown_from_the_ledger(live: Live) -> None:
    """The engine never got it."""
    answer = live.post("chat", request("chat", "no-such-model", stream=False))
    assert answer.status_code == 404
    run_id = live.newest_run("no-such-model")
    assert run_id
    shown = told(live, "runs", "watch", run_id)
    assert "run  failed" in shown
    assert "No model named 'no-such-model'" in shown
