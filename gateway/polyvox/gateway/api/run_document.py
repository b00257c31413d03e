"""Runs as JSON documents, the same from the API and from the command line.

Times are ISO 8601 in UTC, durations milliseconds, unknown numbers null.
"""

from datetime import datetime
from typing import Any
from urllib.parse import quote

from polyvox.activities.ledger.entries import CallRecord, RunRecord
from polyvox.workflows.reply import Cost, Usage

Document = dict[str, Any]


def workflow_link(ui_url: str | None, namespace: str, run_id: str) -> str | None:
    """The run's page in the Temporal Web UI, or None where there is no Web UI.

    ``ui_url`` is our own door to it, such as ``http://127.0.0.1:8484/ui``.
    """
    return f"{ui_url}/{run_page(namespace, run_id)}" if ui_url else None


def run_page(namespace: str, run_id: str) -> str:
    """The path of the run's page below the Web UI's address."""
    return f"namespaces/{quote(namespace, safe='')}/workflows/{quote(run_id, safe='')}"


def render_run(run: RunRecord, link: str | None) -> Document:
    """Render a run without its calls."""
    return {
        "run_id": run.run_id,
        "model": run.model,
        "flow": run.flow,
        "protocol": run.protocol,
        "stream": run.stream,
        "status": run.status,
        "key_id": run.key_id,
        "started_at": _time(run.started_at),
        "ended_at": _time(run.ended_at),
        "duration_ms": run.duration_ms,
        "error": _error(run.error_kind, run.error_message),
        "finish": run.finish,
        "tokens": _tokens(run.usage),
        "cost": _cost(run.cost),
        "notes": list(run.notes),
        "losses": list(run.losses),
        "link": link,
    }


def render_run_with_calls(run: RunRecord, link: str | None) -> Document:
    """Render a run with its calls; ``spent`` are the tokens of all of them, failed ones too."""
    return {
        **render_run(run, link),
        "traceback": run.error_trace,
        "rerun_of": run.rerun_of,
        "spent": _tokens(run.spent),
        "calls": [_render_call(call) for call in run.calls],
    }


def _render_call(call: CallRecord) -> Document:
    return {
        "step": call.step,
        "attempt": call.attempt,
        "recorded": call.recorded,
        "provider": call.provider,
        "model": call.model,
        "response_model": call.response_model,
        "status": call.status,
        "error": _error(call.error_kind, call.error_message),
        "http_status": call.http_status,
        "finish": call.finish,
        "tokens": _tokens(call.usage),
        "cost_usd": call.cost_usd,
        "started_at": _time(call.started_at),
        "first_token_at": _time(call.first_token_at),
        "ended_at": _time(call.ended_at),
        "first_token_ms": call.first_token_ms,
        "duration_ms": call.duration_ms,
    }


def _tokens(usage: Usage) -> Document:
    return {
        "input": usage.input,
        "cache_read": usage.cache_read,
        "cache_write": usage.cache_write,
        "output": usage.output,
        "reasoning": usage.reasoning,
    }


def _cost(cost: Cost) -> Document:
    """Render what is known in US dollars, and how many calls' cost is not."""
    return {"usd": cost.usd, "unknown_calls": cost.unknown}


def _error(kind: str | None, message: str | None) -> Document | None:
    return None if kind is None else {"kind": kind, "message": message}


def _time(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat().replace("+00:00", "Z")
