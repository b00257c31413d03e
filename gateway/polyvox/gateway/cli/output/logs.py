"""The log of the server on standard error: as text, or as one JSON object on each line."""

import logging
from datetime import UTC, datetime
from typing import Any

import orjson

from polyvox.gateway.http.request_log import FACTS
from polyvox.worker.settings.file import LogFormat, LogLevel

_TEXT = "%(asctime)s %(levelname)s %(message)s"


class JsonFormatter(logging.Formatter):
    """Formats a record as a JSON object: time (UTC), level, logger, message, the values of a
    request's line, and the traceback of an exception."""

    def format(self, record: logging.LogRecord) -> str:
        document: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        facts = getattr(record, FACTS, {})
        document |= {name: value for name, value in facts.items() if value is not None}
        if record.exc_info:
            document["exception"] = self.formatException(record.exc_info)
        return orjson.dumps(document, default=str).decode()


def configure_logs(level: LogLevel = "warning", log_format: LogFormat = "text") -> None:
    """Log Polyvox's records of at least ``level``, and the warnings of libraries."""
    formatter = JsonFormatter() if log_format == "json" else logging.Formatter(_TEXT)
    handler = logging.StreamHandler()
    handler.setFormatter(formatter)
    root = logging.getLogger()
    root.handlers[:] = [handler]
    least = logging.getLevelNamesMapping()[level.upper()]
    root.setLevel(max(least, logging.WARNING))
    logging.getLogger("polyvox").setLevel(least)
