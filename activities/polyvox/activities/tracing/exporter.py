"""Spans that are exported over OTLP.

Attribute names follow OpenTelemetry's semantic conventions for HTTP and for generative AI
(https://github.com/open-telemetry/semantic-conventions-genai, docs/gen-ai/client-inference.md).
"""

import threading
from datetime import UTC, datetime, timedelta

from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import SERVICE_NAME, OTELResourceDetector, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter
from opentelemetry.trace import Span, SpanKind, Status, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from opentelemetry.util.types import AttributeValue

from polyvox.activities.ledger.entries import CallEnded, EndStatus, storable
from polyvox.activities.tracing.spans import RequestSpan, RunSpan, Tracing
from polyvox.workflows.errors import FAULTS, ErrorKind, ModelError

SHUTDOWN_S = 5.0

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_W3C = TraceContextTextMapPropagator()


def exporter(protocol: str) -> SpanExporter:
    """Build the exporter for ``http/protobuf`` or ``grpc``; raises ValueError for another protocol.

    The SDK reads the other OTEL_EXPORTER_OTLP_* variables itself, from the process's environment.
    """
    match protocol:
        case "http/protobuf":
            return OTLPSpanExporter()
        case "grpc":
            # gRPC is 20 MB of native code that the default protocol does not need.
            from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import (  # noqa: PLC0415
                OTLPSpanExporter as GrpcExporter,
            )

            return GrpcExporter()
        case _:
            raise ValueError(
                f"OTEL_EXPORTER_OTLP_PROTOCOL={protocol!r} is not supported. "
                "Use 'http/protobuf' or 'grpc'."
            )


class ExportedTracing(Tracing):
    """Exports spans in batches from its own thread."""

    def __init__(
        self,
        exporter: SpanExporter,
        *,
        shutdown_s: float = SHUTDOWN_S,
    ) -> None:
        self._shutdown_s = shutdown_s
        self._provider = TracerProvider(resource=_resource(), shutdown_on_exit=False)
        self._provider.add_span_processor(BatchSpanProcessor(exporter))
        self._tracer = self._provider.get_tracer("polyvox")

    def request_span(
        self, method: str, route: str, *, traceparent: str | None = None
    ) -> RequestSpan:
        return _Request(
            self._tracer.start_span(
                f"{method} {route}",
                _parent(traceparent),
                SpanKind.SERVER,
                {"http.request.method": method, "http.route": route, "url.path": route},
            )
        )

    def run_span(self, traceparent: str | None, *, run_id: str, flow: str, model: str) -> RunSpan:
        # No gen_ai.usage here: a backend that adds up spans would count each token twice.
        return _Run(
            self._tracer.start_span(
                f"run {flow}",
                _parent(traceparent),
                SpanKind.INTERNAL,
                {
                    "gen_ai.operation.name": "invoke_workflow",
                    "gen_ai.workflow.name": flow,
                    "polyvox.run_id": run_id,
                    "polyvox.flow": flow,
                    "polyvox.model": model,
                },
            )
        )

    def call_span(self, traceparent: str | None, call: CallEnded, *, flow: str) -> None:
        span = self._tracer.start_span(
            f"chat {call.model}",
            _parent(traceparent),
            SpanKind.CLIENT,
            _call_attributes(call, flow),
            start_time=_nanoseconds(call.started_at),
        )
        if call.status != "completed":
            _fail(span, call.error_kind or _DEFAULT_KIND[call.status])
        span.end(_nanoseconds(call.ended_at))

    def shutdown(self) -> None:
        # The SDK's limit is 30 s and does not cover an export that is in progress.
        ending = threading.Thread(target=self._provider.shutdown, name="otlp-shutdown", daemon=True)
        ending.start()
        ending.join(self._shutdown_s)


class _Request(RequestSpan):
    def __init__(self, span: Span) -> None:
        self._span = span
        self.traceparent = _traceparent(span)

    def end(self, status: int, error: ModelError | None = None, *, run_id: str = "") -> None:
        self._span.set_attribute("http.response.status_code", status)
        if run_id:
            self._span.set_attribute("polyvox.run_id", run_id)
        # By the HTTP conventions a client's mistake (4xx) is not an error of the server.
        if status >= 500 or (error is not None and status < 400):
            _fail(self._span, error.kind if error else "internal")
        self._span.end()


class _Run(RunSpan):
    def __init__(self, span: Span) -> None:
        self._span = span
        self.traceparent = _traceparent(span)

    def end(self, status: EndStatus, error: ModelError | None = None) -> None:
        self._span.set_attribute("polyvox.status", status)
        if status != "completed":
            _fail(self._span, error.kind if error else _DEFAULT_KIND[status])
        self._span.end()


_DEFAULT_KIND: dict[EndStatus, ErrorKind] = {"failed": "internal", "cancelled": "cancelled"}


def _call_attributes(call: CallEnded, flow: str) -> dict[str, AttributeValue]:
    usage = storable(call.usage)
    first = call.first_token_at
    attributes: dict[str, AttributeValue | None] = {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": call.provider,
        "gen_ai.request.model": call.model,
        "gen_ai.response.model": call.response_model or None,
        "gen_ai.response.finish_reasons": (call.finish,) if call.finish else None,
        "gen_ai.response.time_to_first_chunk": (
            (first - call.started_at).total_seconds() if first else None
        ),
        # By the conventions this includes cached tokens, unlike the ledger's meter.
        "gen_ai.usage.input_tokens": None if usage.input is None else usage.whole_input,
        "gen_ai.usage.cache_read.input_tokens": usage.cache_read,
        "gen_ai.usage.cache_write.input_tokens": usage.whole_cache_write,
        "gen_ai.usage.output_tokens": usage.output,
        "gen_ai.usage.reasoning.output_tokens": usage.reasoning,
        "http.response.status_code": call.http_status,
        "polyvox.run_id": call.run_id,
        "polyvox.flow": flow,
        "polyvox.step": call.step,
        "polyvox.attempt": call.attempt,
        "polyvox.recorded": call.recorded or None,
        "polyvox.cache_write_1h_tokens": usage.cache_write_1h,
        "polyvox.cost_usd": call.cost_usd,
        "polyvox.status": call.status,
    }
    return {name: value for name, value in attributes.items() if value is not None}


def _fail(span: Span, kind: ErrorKind) -> None:
    # Not the provider's message: it may quote the prompt.
    span.set_attribute("error.type", kind)
    span.set_status(Status(StatusCode.ERROR, FAULTS[kind].meaning))


def _parent(traceparent: str | None) -> Context:
    """Return the context in which a span is started; never the implicit one."""
    return _W3C.extract({"traceparent": traceparent} if traceparent else {}, Context())


def _traceparent(span: Span) -> str:
    context = span.get_span_context()
    return f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}"


def _nanoseconds(moment: datetime) -> int:
    return (moment - _EPOCH) // timedelta(microseconds=1) * 1000


def _resource() -> Resource:
    """Return the process's resource; the service is ``polyvox`` unless the operator names it."""
    named = OTELResourceDetector().detect().attributes.get(SERVICE_NAME)
    return Resource.create({SERVICE_NAME: named or "polyvox"})
