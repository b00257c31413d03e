"""Spans as a real OTLP/HTTP collector receives them."""

import gzip
import socket
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from polyvox.activities.ledger.entries import CallEnded
from polyvox.activities.tracing.environment import tracing_of
from polyvox.activities.tracing.exporter import ExportedTracing, exporter
from polyvox.activities.tracing.spans import Tracing
from polyvox.workflows.errors import ModelError
from polyvox.workflows.reply import Usage

NOON = datetime(2030, 1, 2, 12, 0, tzinfo=UTC)


@dataclass
class Collector:
    """What arrived at a loopback OTLP/HTTP receiver."""

    url: str = ""
    spans: list[Span] = field(default_factory=list)
    resource: dict[str, object] = field(default_factory=dict)
    paths: set[str] = field(default_factory=set)
    headers: dict[str, str] = field(default_factory=dict)

    def span(self, name: str) -> Span:
        (found,) = [span for span in self.spans if span.name == name]
        return found


@contextmanager
def collecting() -> Iterator[Collector]:
    """Run an OTLP/HTTP receiver until the context is left."""
    arrived = Collector()

    class Receiver(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            if self.headers.get("content-encoding") == "gzip":
                body = gzip.decompress(body)
            arrived.paths.add(self.path)
            arrived.headers.update({k.lower(): v for k, v in self.headers.items()})
            for group in ExportTraceServiceRequest.FromString(body).resource_spans:
                arrived.resource.update(attributes(group.resource.attributes))
                for scope in group.scope_spans:
                    arrived.spans += scope.spans
            answer = ExportTraceServiceResponse().SerializeToString()
            self.send_response(200)
            self.send_header("content-type", "application/x-protobuf")
            self.send_header("content-length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
            """Keep the test's output clean."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Receiver) as server:
        arrived.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, args=[0.01])
        thread.start()
        yield arrived
        server.shutdown()
        thread.join()


@pytest.fixture
def collector() -> Iterator[Collector]:
    with collecting() as arrived:
        yield arrived


def attributes(pairs: Iterable[KeyValue]) -> dict[str, object]:
    return {pair.key: plain(pair.value) for pair in pairs}


def plain(value: AnyValue) -> object:
    kind = value.WhichOneof("value")
    if kind == "array_value":
        return [plain(item) for item in value.array_value.values]
    assert kind is not None
    return getattr(value, kind)


def tracing_to(collector: Collector, **environ: str) -> Tracing:
    return tracing_by({"OTEL_EXPORTER_OTLP_ENDPOINT": collector.url, **environ})


def tracing_by(environ: Mapping[str, str]) -> Tracing:
    """Build what ``environ`` asks for; the SDK reads the process's environment meanwhile."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environ.items():
            patch.setenv(name, value)
        return tracing_of(environ)


def call(**changes: object) -> CallEnded:
    known: dict[str, object] = {
        "run_id": "run-1",
        "step": "judge",
        "attempt": 2,
        "provider": "openai",
        "model": "gpt-5",
        "status": "completed",
        "started_at": NOON,
        "ended_at": NOON + timedelta(seconds=2),
        "first_token_at": NOON + timedelta(milliseconds=250),
        "usage": Usage(input=10, cache_read=90, output=7, reasoning=5),
        "finish": "stop",
        "response_model": "gpt-5-2030",
        "cost_usd": 0.0125,
    }
    return CallEnded(**{**known, **changes})  # type: ignore[arg-type]


def test_a_request_its_run_and_its_calls_are_one_tree(collector: Collector) -> None:
    """Each span names its parent by the traceparent it was given; all share one trace."""
    tracing = tracing_to(collector)
    request = tracing.request_span("POST", "/v1/messages")
    run = tracing.run_span(request.traceparent, run_id="run-1", flow="fusion@1", model="careful")
    tracing.call_span(run.traceparent, call(), flow="fusion@1")
    run.end("completed")
    request.end(200, run_id="run-1")
    tracing.shutdown()

    outer = collector.span("POST /v1/messages")
    middle = collector.span("run fusion@1")
    inner = collector.span("chat gpt-5")
    assert [s.kind for s in (outer, middle, inner)] == [
        Span.SPAN_KIND_SERVER,
        Span.SPAN_KIND_INTERNAL,
        Span.SPAN_KIND_CLIENT,
    ]
    assert not outer.parent_span_id
    assert middle.parent_span_id == outer.span_id
    assert inner.parent_span_id == middle.span_id
    assert {s.trace_id for s in (outer, middle, inner)} == {outer.trace_id}
    assert all(s.status.code == Status.STATUS_CODE_UNSET for s in (outer, middle, inner))
    assert attributes(outer.attributes)["polyvox.run_id"] == "run-1"
    assert attributes(middle.attributes)["polyvox.flow"] == "fusion@1"


def test_a_call_tells_what_the_conventions_for_generative_ai_name(collector: Collector) -> None:
    """Names are those of the conventions, times those of the ledger; unknown meters are absent."""
    tracing = tracing_to(collector)
    tracing.call_span(None, call(), flow="fusion@1")
    tracing.shutdown()
    span = collector.span("chat gpt-5")
    assert attributes(span.attributes) == {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "openai",
        "gen_ai.request.model": "gpt-5",
        "gen_ai.response.model": "gpt-5-2030",
        "gen_ai.response.finish_reasons": ["stop"],
        "gen_ai.response.time_to_first_chunk": 0.25,
        "gen_ai.usage.input_tokens": 100,
        "gen_ai.usage.cache_read.input_tokens": 90,
        "gen_ai.usage.output_tokens": 7,
        "gen_ai.usage.reasoning.output_tokens": 5,
        "polyvox.run_id": "run-1",
        "polyvox.flow": "fusion@1",
        "polyvox.step": "judge",
        "polyvox.attempt": 2,
        "polyvox.cost_usd": 0.0125,
        "polyvox.status": "completed",
    }
    assert span.start_time_unix_nano == int(NOON.timestamp()) * 10**9
    assert span.end_time_unix_nano - span.start_time_unix_nano == 2 * 10**9


def test_a_failure_is_named_by_its_kind_and_quotes_nobody(collector: Collector) -> None:
    """A provider's message may repeat the prompt, so it stays out of the spans."""
    quoting = ModelError("context_length", "too long: 'my diary ...'")
    failed = call(
        status="failed",
        error_kind="context_length",
        error_message=quoting.message,
        http_status=400,
    )
    tracing = tracing_to(collector)
    run = tracing.run_span(None, run_id="run-1", flow="direct@1", model="careful")
    tracing.call_span(run.traceparent, failed, flow="direct@1")
    run.end("failed", quoting)
    tracing.shutdown()
    for name in ("run direct@1", "chat gpt-5"):
        span = collector.span(name)
        assert span.status.code == Status.STATUS_CODE_ERROR
        assert attributes(span.attributes)["error.type"] == "context_length"
        assert b"diary" not in span.SerializeToString()
    assert attributes(collector.span("chat gpt-5").attributes)["http.response.status_code"] == 400


@pytest.mark.parametrize(
    ("status", "error", "code"),
    [
        (200, None, Status.STATUS_CODE_UNSET),
        (401, ModelError("authentication", "no key"), Status.STATUS_CODE_UNSET),
        (502, ModelError("stream_cut", "cut"), Status.STATUS_CODE_ERROR),
        (200, ModelError("stream_cut", "cut"), Status.STATUS_CODE_ERROR),
        (500, None, Status.STATUS_CODE_ERROR),
    ],
)
def test_a_request_is_an_error_when_the_server_is_to_blame(
    collector: Collector, status: int, error: ModelError | None, code: int
) -> None:
    """A client's mistake is none of the server's; a stream broken after a 200 is."""
    tracing = tracing_to(collector)
    tracing.request_span("POST", "/v1/responses").end(status, error)
    tracing.shutdown()
    assert collector.span("POST /v1/responses").status.code == code


def test_the_clients_own_trace_goes_on_below_it(collector: Collector) -> None:
    """A traceparent header of the client makes its span our parent; a broken one is ignored."""
    tracing = tracing_to(collector)
    client = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    tracing.request_span("POST", "/v1/messages", traceparent=client).end(200)
    tracing.request_span("GET", "/v1/models", traceparent="00-broken").end(200)
    tracing.shutdown()
    joined = collector.span("POST /v1/messages")
    assert joined.trace_id.hex() == "0af7651916cd43dd8448eb211c80319c"
    assert joined.parent_span_id.hex() == "b7ad6b7169203331"
    assert not collector.span("GET /v1/models").parent_span_id


def test_a_client_that_does_not_sample_is_not_traced(collector: Collector) -> None:
    """The sampling decision of the client holds for the whole tree below it."""
    tracing = tracing_to(collector)
    client = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00"
    request = tracing.request_span("POST", "/v1/messages", traceparent=client)
    tracing.call_span(request.traceparent, call(), flow="direct@1")
    request.end(200)
    tracing.shutdown()
    assert collector.spans == []


def test_the_standard_variables_are_honoured(collector: Collector) -> None:
    """Service name, resource attributes, headers, compression and an endpoint for traces only."""
    tracing = tracing_by(
        {
            "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9",
            "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": f"{collector.url}/own/path",
            "OTEL_EXPORTER_OTLP_HEADERS": "x-tenant=blue%20team",
            "OTEL_EXPORTER_OTLP_COMPRESSION": "gzip",
            "OTEL_SERVICE_NAME": "front-door",
            "OTEL_RESOURCE_ATTRIBUTES": "deployment.environment.name=test,service.name=ignored",
        }
    )
    tracing.call_span(None, call(), flow="direct@1")
    tracing.shutdown()
    assert collector.paths == {"/own/path"}
    assert collector.headers["x-tenant"] == "blue team"
    assert collector.headers["content-encoding"] == "gzip"
    assert collector.resource["service.name"] == "front-door"
    assert collector.resource["deployment.environment.name"] == "test"


def test_the_service_is_called_polyvox_unless_told_otherwise(collector: Collector) -> None:
    """Without a name of the operator's, spans are found under the product's."""
    tracing = tracing_to(collector)
    tracing.call_span(None, call(), flow="direct@1")
    tracing.shutdown()
    assert collector.paths == {"/v1/traces"}
    assert collector.resource["service.name"] == "polyvox"


@pytest.mark.parametrize(
    "environ",
    [
        {},
        {"OTEL_SERVICE_NAME": "polyvox"},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9", "OTEL_SDK_DISABLED": "true"},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9", "OTEL_TRACES_EXPORTER": "none"},
    ],
)
def test_without_an_endpoint_there_are_no_spans(environ: Mapping[str, str]) -> None:
    """Tracing nobody asked for makes no object and no traceparent."""
    tracing = tracing_by(environ)
    assert type(tracing) is Tracing
    request = tracing.request_span("POST", "/v1/messages")
    assert request is tracing.request_span("GET", "/v1/models")
    assert request.traceparent is None
    run = tracing.run_span(None, run_id="run-1", flow="direct@1", model="careful")
    assert run.traceparent is None
    tracing.call_span(None, call(), flow="direct@1")
    run.end("completed")
    request.end(200)
    tracing.shutdown()


def test_a_protocol_that_is_not_known_is_refused() -> None:
    """The SDK itself warns of other values and goes on with its defaults."""
    environ = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9",
        "OTEL_EXPORTER_OTLP_PROTOCOL": "http/json",
    }
    with pytest.raises(ValueError, match=r"OTEL_EXPORTER_OTLP_PROTOCOL='http/json'.*'grpc'"):
        tracing_by(environ)


def test_a_collector_that_does_not_answer_stops_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """A shutdown ends when its time is over, though an export is still under way."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        silent.settimeout(10)
        endpoint = f"http://127.0.0.1:{silent.getsockname()[1]}"
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint)
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "1")
        tracing = ExportedTracing(exporter("http/protobuf"), shutdown_s=0.2)
        tracing.call_span(None, call(), flow="direct@1")
        tracing.shutdown()
        connection, _ = silent.accept()
        with connection:
            assert connection.recv(4) == b"POST"
