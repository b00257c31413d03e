"""The state of one attempt of a model call, and its entries in the ledger."""

from dataclasses import replace
from datetime import UTC, datetime

from polyvox.activities.ledger.entries import CallEnded, CallStarted, EndStatus
from polyvox.activities.limits.provider_gates import Entry
from polyvox.activities.model_call.pricing import cost_of
from polyvox.activities.model_call.provider import Provider
from polyvox.activities.model_call.recorded_replies import NOTHING_SPENT
from polyvox.activities.model_call.redaction import RedactedEvents
from polyvox.activities.model_call.stop_sequences import Stopping
from polyvox.activities.model_call.visibility import Emission
from polyvox.protocols.history.answered_calls import AnsweredCalls
from polyvox.workflows.boundary.calls import ModelCall
from polyvox.workflows.errors import ModelError
from polyvox.workflows.events import Fold
from polyvox.workflows.reply import Reply


class Attempt:
    """The state of one attempt."""

    def __init__(
        self, call: ModelCall, *, flow: str, call_id: str, number: int, process: str = ""
    ) -> None:
        self.call = call
        self.flow = flow
        self.call_id = call_id
        self.number = number
        self.process = process
        self.folding = Fold()
        self.emission = Emission(call.hidden, hold_calls=call.hold_calls) if call.emit else None
        self.emitted = False
        self.answer_bytes = 0
        self.parts = 0
        self.losses: tuple[str, ...] = ()
        self.recorded = False
        self.reused = False
        """The Reply is that of an earlier attempt, which has the tokens and the cost."""
        self.asked = False
        self.redacted: RedactedEvents | None = None
        self.stopping: Stopping | None = None
        self.calls = AnsweredCalls(())
        self.provider: Provider | None = None
        self.entry: Entry
        self.http_status: int | None = None
        self.started_at = datetime.now(UTC)
        self.first_token_at: datetime | None = None

    def cost_usd(self) -> float | None:
        """Return the cost of a failed attempt: 0 if nothing was sent or it was rejected."""
        if self.provider is None or not self.asked or (self.http_status or 0) >= 400:
            return 0.0
        model = self.call.model.partition(":")[2]
        return cost_of(self.provider, model, self.folding.usage)

    def started(self) -> CallStarted:
        """Return the ledger entry of the attempt's start."""
        provider, _, model = self.call.model.partition(":")
        return CallStarted(
            run_id=self.call.run_id,
            step=self.call.step,
            attempt=self.number,
            provider=provider,
            model=model,
            started_at=self.started_at,
            call_id=self.call_id,
            process=self.process or None,
        )

    def ended(self, reply: Reply | None, error: ModelError | None) -> CallEnded:
        """Return the attempt's ledger entry; for a failed attempt with its cost so far."""
        provider, _, model = self.call.model.partition(":")
        status: EndStatus = "completed"
        if reply is not None and self.reused:
            reply = replace(reply, usage=NOTHING_SPENT, cost_usd=0.0)
        if error is not None:
            status = "cancelled" if error.kind == "cancelled" else "failed"
        return CallEnded(
            run_id=self.call.run_id,
            step=self.call.step,
            attempt=self.number,
            provider=provider,
            model=model,
            status=status,
            started_at=self.started_at,
            ended_at=datetime.now(UTC),
            first_token_at=self.first_token_at,
            usage=self.folding.usage if reply is None else reply.usage,
            finish=None if reply is None else reply.finish,
            response_model=None if reply is None else reply.model or None,
            error_kind=None if error is None else error.kind,
            error_message=None if error is None else error.message,
            http_status=self.http_status,
            recorded=self.recorded or self.reused,
            cost_usd=error.cost_usd if error else reply.cost_usd if reply else None,
            call_id=self.call_id,
            process=self.process or None,
        )
