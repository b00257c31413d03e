"""What a run leaves behind in the engine and at an OTLP receiver."""

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from polyvox.worker.engine.ports import free_port
from polyvox.workflows.boundary.backend import CALL_MODEL
from tests.activities.tracing.test_spans import Collector, attributes, collector
from tests.gateway.generate.test_failures import request
from tests.programs.running import ENVIRON, Live, live_program, until

__all__ = ["collector"]

ADVICE = "Should we move the billing system to Rust this year?"


def test_the_engine_names_run_and_steps(live: Live) -> None:
    """The workflow's type is the flow version; each call's summary names step and model."""
    asked = request("chat", "panel-auto", stream=False, text=ADVICE)
    run_id = live.post("chat", asked).headers["x-polyvox-run"]

    async def looked() -> tuple[str, list[str]]:
        handle = live.handle(run_id)
        described = await handle.describe()
        history = await handle.fetch_history()
        summaries = [
            json.loads(event.user_metadata.summary.data)
            for event in history.events
            if event.activity_task_scheduled_event_attributes.activity_type.name == CALL_MODEL
        ]
        return described.workflow_type, summaries

    kind, summaries = live.run(looked())
    assert kind == "fusion@1"
    assert summaries == [
        "main: sim-chat:main",
        "branch 1: sim-chat:optimist",
        "branch 2: sim-responses:skeptic",
        "branch 3: sim-messages:engineer",
        "synthesis: sim-chat:judge",
        "main: sim-chat:main",
    ]


def test_no_key_and_no_word_lies_in_a_history(live: Live) -> None:
    """Only references and names travel; what was said is in the blob store."""
    asked = request("chat", "sim-chat:main", stream=False, text="The password is swordfish.")
    run_id = live.post("chat", asked).headers["x-polyvox-run"]

    async def started() -> bytes:
        history = await live.handle(run_id).fetch_history()
        return history.events[0].SerializeToString()

    event = live.run(started())
    assert b"swordfish" not in event
    assert ENVIRON["POLYVOX_KEY"].encode() not in event


@pytest.fixture
def traced(tmp_path: Path, collector: Collector, monkeypatch: pytest.MonkeyPatch) -> Iterator[Live]:
    exporting = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": collector.url,
        "OTEL_BSP_SCHEDULE_DELAY": "50",
    }
    # OpenTelemetry's SDK reads the environment of the process.
    for name, value in exporting.items():
        monkeypatch.setenv(name, value)
    environ = {"PATH": os.environ["PATH"], "HOME": os.environ["HOME"], **exporting, **ENVIRON}
    with live_program(tmp_path, f"http://127.0.0.1:{free_port()}/v1", environ) as running:
        yield running


def test_one_request_is_one_tree_of_spans(traced: Live, collector: Collector) -> None:
    """Request, run and one span per call, each below the right one, in the client's own trace."""
    trace, parent = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
    answer = traced.post(
        "chat",
        request("chat", "panel-auto", stream=True, text=ADVICE),
        headers={"traceparent": f"00-{trace}-{parent}-01"},
    )
    run_id = answer.headers["x-polyvox-run"]
    traced.ended(run_id, 6)
    until(lambda: len(collector.spans) >= 8, "not all spans have arrived")
    spans = {span.span_id: span for span in collector.spans}
    assert {span.trace_id.hex() for span in spans.values()} == {trace}
    (request_span,) = [s for s in spans.values() if s.name == "POST /v1/chat/completions"]
    (run_span,) = [s for s in spans.values() if s.name == "run fusion@1"]
    calls = [s for s in spans.values() if s not in (request_span, run_span)]
    assert request_span.parent_span_id.hex() == parent
    assert run_span.parent_span_id == request_span.span_id
    assert {call.parent_span_id for call in calls} == {run_span.span_id}
    asked = sorted(str(attributes(call.attributes)["gen_ai.request.model"]) for call in calls)
    assert asked == ["engineer", "judge", "main", "main", "optimist", "skeptic"]
    assert all(run_id in str(attributes(s.attributes)) for s in (request_span, run_span))
    assert ADVICE not in str(collector.spans)
