"""Runs as JSON documents, the same from the API and from the command line."""

from datetime import datetime
from typing import Annotated, Any
from urllib.parse import quote

from pydantic import BeforeValidator, Field

from polyvox.activities.ledger.tables import RunRecord
from polyvox.gateway.api.document import Document, Problem


class Tokens(Document):
    """Tokens by meter; disjoint, except that ``reasoning`` is a part of ``output``.

    ``cache_write_1h`` are written to a cache for an hour, ``cache_write`` for a shorter time.
    """

    input: int | None
    cache_read: int | None
    cache_write: int | None
    cache_write_1h: int | None
    output: int | None
    reasoning: int | None


class CostDocument(Document):
    """The known cost of calls in US dollars, and the number of calls whose cost is unknown."""

    usd: float
    unknown_calls: int = Field(validation_alias="unknown")


class CallDocument(Document):
    """One upstream attempt of a step, ``recorded`` if it replayed an earlier run's answer.

    ``ended_at`` and ``duration_ms`` are null while it is running.
    """

    step: str
    attempt: int
    recorded: Annotated[bool, BeforeValidator(bool)]
    provider: str
    model: str
    response_model: str | None
    status: str
    error: Problem | None
    http_status: int | None
    finish: str | None
    tokens: Tokens = Field(validation_alias="usage")
    cost_usd: float | None
    started_at: datetime
    first_token_at: datetime | None
    ended_at: datetime | None
    first_token_ms: int | None
    duration_ms: int | None


class RunDocument(Document):
    """A run without its calls; ``tokens`` are those that its answer reports, ``link`` its page."""

    run_id: str
    model: str
    flow: str
    protocol: str
    stream: bool
    status: str
    key_id: str | None
    started_at: datetime
    ended_at: datetime | None
    duration_ms: int | None
    error: Problem | None
    finish: str | None
    tokens: Tokens = Field(validation_alias="usage")
    cost: CostDocument
    notes: list[Any]
    losses: list[str]
    link: str | None = None


class WholeRunDocument(RunDocument):
    """A run with its calls; ``spent`` are the tokens of all of them, failed ones too.

    They are at least these if ``unmetered_calls``, whose tokens are unknown, is not 0.
    ``questions`` are those that a running one waits for, null if the engine cannot be asked.
    """

    traceback: str | None = Field(validation_alias="error_trace")
    rerun_of: str | None
    spent: Tokens
    unmetered_calls: int
    calls: list[CallDocument]
    questions: list[str] | None = Field(default_factory=list)


class RunPage(Document):
    """Runs, newest first; ``next`` is the ``before`` of the next page, null on the last one."""

    runs: list[RunDocument]
    next: str | None


class ApprovalDocument(Document):
    """The question that was answered, and how."""

    run_id: str
    question: str
    approved: bool


def workflow_link(ui_url: str | None, namespace: str, run_id: str) -> str | None:
    """Return the run's page in the Temporal Web UI, or None without a Web UI.

    ``ui_url`` is the Web UI's address, such as ``http://127.0.0.1:8484/ui``.
    """
    return f"{ui_url}/{run_page(namespace, run_id)}" if ui_url else None


def run_page(namespace: str, run_id: str) -> str:
    """Return the path of the run's page below the Web UI's address."""
    return f"namespaces/{quote(namespace, safe='')}/workflows/{quote(run_id, safe='')}"


def render_run(run: RunRecord, link: str | None) -> RunDocument:
    """Render a run without its calls."""
    return RunDocument.model_validate(run).model_copy(update={"link": link})


def render_whole_run(
    run: RunRecord, link: str | None, questions: list[str] | None
) -> WholeRunDocument:
    """Render a run with its calls and the questions it waits for."""
    rendered = WholeRunDocument.model_validate(run)
    return rendered.model_copy(update={"link": link, "questions": questions})
