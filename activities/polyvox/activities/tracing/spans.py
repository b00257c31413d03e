"""Spans of requests, runs and calls for any OpenTelemetry backend; off by default.

One tree per request::

    POST /v1/messages        SERVER    the whole exchange with the client
      run fusion@1           INTERNAL  the run
        chat gpt-5           CLIENT    one per upstream attempt of a step

* Nothing is global and no context is implicit: a parent is a W3C ``traceparent`` string, which
  passes through Temporal in Polyvox's values.
* A call's span is made when the call has ended, from the CallEnded that the ledger stores. So both
  have the same times and tokens, and a replayed workflow does not make a span again.
* Spans contain names, numbers and error kinds; no text of prompts or answers, and no keys.
* ``Tracing()`` itself does nothing. ``environment.tracing_of`` returns one that exports if an OTLP
  endpoint is configured.
"""

from polyvox.activities.ledger.entries import CallEnded, EndStatus
from polyvox.workflows.errors import ModelError


class RequestSpan:
    """The span of one HTTP request. ``traceparent`` is the parent of its children."""

    traceparent: str | None = None

    def end(self, status: int, error: ModelError | None = None, *, run_id: str = "") -> None:
        """End the span with the HTTP status; ``error`` also if a stream broke after a 200."""


class RunSpan:
    """The span of one run. ``traceparent`` is the parent of its calls."""

    traceparent: str | None = None

    def end(self, status: EndStatus, error: ModelError | None = None) -> None:
        """End the span with the run's status."""


class Tracing:
    """Makes spans; this class makes none."""

    def request_span(
        self, method: str, route: str, *, traceparent: str | None = None
    ) -> RequestSpan:
        """Start the span of a request; ``traceparent`` is the client's header, if any."""
        return _NO_REQUEST

    def run_span(self, traceparent: str | None, *, run_id: str, flow: str, model: str) -> RunSpan:
        """Start the span of a run with the parent ``traceparent``."""
        return _NO_RUN

    def call_span(self, traceparent: str | None, call: CallEnded, *, flow: str) -> None:
        """Make the span of a call that has ended; ``traceparent`` is that of its run."""

    def shutdown(self) -> None:
        """Export the remaining spans, for at most 5 s. Blocks."""


_NO_REQUEST = RequestSpan()
_NO_RUN = RunSpan()
