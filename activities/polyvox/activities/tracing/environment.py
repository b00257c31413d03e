"""Selects the tracing that the standard OpenTelemetry variables configure."""

from collections.abc import Mapping

from polyvox.activities.tracing.spans import Tracing

ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT"
TRACES_ENDPOINT = "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"
PROTOCOL = "OTEL_EXPORTER_OTLP_PROTOCOL"
TRACES_PROTOCOL = "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL"
DEFAULT_PROTOCOL = "http/protobuf"


def tracing_of(environ: Mapping[str, str]) -> Tracing:
    """Return the Tracing that ``environ`` configures.

    Spans are exported only if ``OTEL_EXPORTER_OTLP_ENDPOINT`` or its ``TRACES`` variant is set,
    over ``http/protobuf`` unless ``OTEL_EXPORTER_OTLP_PROTOCOL`` says ``grpc``. The SDK reads the
    other variables from the process's environment. Raises ValueError for an unknown protocol.
    """
    off = environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true"
    none = environ.get("OTEL_TRACES_EXPORTER", "").strip().lower() == "none"
    if off or none or not (environ.get(TRACES_ENDPOINT) or environ.get(ENDPOINT)):
        return Tracing()
    # Imported here, because the exporter costs memory and start-up time.
    from polyvox.activities.tracing.exporter import ExportedTracing, exporter  # noqa: PLC0415

    protocol = environ.get(TRACES_PROTOCOL) or environ.get(PROTOCOL) or DEFAULT_PROTOCOL
    return ExportedTracing(exporter(protocol))
