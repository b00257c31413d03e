"""Spans of requests, runs and calls, for any OpenTelemetry backend; nothing unless asked for.

One tree per request::

    POST /v1/messages        SERVER    the whole exchange with the client
      run fusion@1           INTERNAL  the run
        chat gpt-5           CLIENT    one per upstream attempt of a step

* Nothing is global and no context is implicit: a parent is a W3C ``traceparent`` string, which
  crosses Temporal inside our own values.
* A call's span is made when the call has ended, from the same CallEnded the ledger keeps. So both
  tell the same times and tokens, and a replayed workflow makes no span twice.
* Spans hold names, numbers and error kinds; never a word of prompt or answer, and no key.
* ``Tracing()`` itself does nothing. ``from_environment`` returns one that exports if an OTLP
  endpoint is configured.
"""

from collections.abc import Mapping

from polyvox.activities.ledger.entries import CallEnded, EndStatus
from polyvox.workflows.errors import ModelError

ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT"
TRACES_ENDPOINT = "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"
PROTOCOL = "OTEL_EXPORTER_OTLP_PROTOCOL"
TRACES_PROTOCOL = "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL"
DEFAULT_PROTOCOL = "http/protobuf"


class RequestSpan:
    """The span of one HTTP request. ``traceparent`` is what its children need."""

    traceparent: str | None = None

    def end(self, status: int, error: ModelError | None = None, *, run_id: str = "") -> None:
        """End it with the HTTP status sent; ``error`` also for a stream that broke after a 200."""


class RunSpan:
    """The span of one run. ``traceparent`` is what its calls need."""

    traceparent: str | None = None

    def end(self, status: EndStatus, error: ModelError | None = None) -> None:
        """End it as the run ended."""


class Tracing:
    """Makes spans, or as here none at all."""

    @staticmethod
    def from_environment(environ: Mapping[str, str]) -> "Tracing":
        """Return what the standard OpenTelemetry variables ask for.

        Spans are exported only if ``OTEL_EXPORTER_OTLP_ENDPOINT`` or its ``TRACES`` variant is
        set, over ``http/protobuf`` unless ``OTEL_EXPORTER_OTLP_PROTOCOL`` says ``grpc``. The SDK
        reads the other variables from the process's own environment. Raises ValueError for a
        value that is not known.
        """
        off = environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true"
        none = environ.get("OTEL_TRACES_EXPORTER", "").strip().lower() == "none"
        if off or none or not (environ.get(TRACES_ENDPOINT) or environ.get(ENDPOINT)):
            return Tracing()
        # The exporter costs memory and start-up time that only its users should pay.
        from polyvox.activities.tracing.exporter import ExportedTracing, exporter  # noqa: PLC0415

        protocol = environ.get(TRACES_PROTOCOL) or environ.get(PROTOCOL) or DEFAULT_PROTOCOL
        return ExportedTracing(exporter(protocol))

    def request_span(
        self, method: str, route: str, *, traceparent: str | None = None
    ) -> RequestSpan:
        """Start the span of a request; ``traceparent`` is the client's own header, if any."""
        return _NO_REQUEST

    def run_span(self, traceparent: str | None, *, run_id: str, flow: str, model: str) -> RunSpan:
        """Start the span of a run below the one ``traceparent`` names."""
        return _NO_RUN

    def call_span(self, traceparent: str | None, call: CallEnded, *, flow: str) -> None:
        """Record a call that has ended, below the run that ``traceparent`` names."""

    def shutdown(self) -> None:
        """Send what is left, for at most 5 s. Blocks."""


_NO_REQUEST = RequestSpan()
_NO_RUN = RunSpan()
