"""What a server says of itself while it runs: metrics for Prometheus, and a line of JSON for each request.

Neither has texts, labels or tokens in it.
"""

from __future__ import annotations

import datetime
import json
import logging
import sys
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

LOGGER = logging.getLogger("tanzaku.serving")
_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)


class Metrics:
    """The counters of one server."""

    def __init__(self) -> None:
        registry = CollectorRegistry()
        self._registry = registry
        self.requests = Counter("tanzaku_requests", "Answered requests.", ["route", "status"], registry=registry)
        self.seconds = Histogram(
            "tanzaku_request_seconds",
            "From a request's first byte to its answer.",
            ["route"],
            buckets=_SECONDS,
            registry=registry,
        )
        self.texts = Counter("tanzaku_texts", "Classified texts.", ["task"], registry=registry)
        self.turn_texts = Histogram(
            "tanzaku_turn_texts",
            "Texts that were computed together.",
            buckets=(1, 2, 4, 8, 16, 32, 64),
            registry=registry,
        )
        self.turn_requests = Histogram(
            "tanzaku_turn_requests",
            "Requests whose texts were computed together.",
            buckets=(1, 2, 4, 8, 16, 32),
            registry=registry,
        )
        self.in_flight = Gauge("tanzaku_requests_in_flight", "Requests being computed or waiting.", registry=registry)
        self.waiting = Gauge("tanzaku_texts_waiting", "Texts that wait for their turn.", registry=registry)
        self.tasks = Gauge("tanzaku_tasks", "Loaded tasks.", registry=registry)

    def observe_turn(self, texts: int, requests: int) -> None:
        """Count a turn of the engine."""
        self.turn_texts.observe(texts)
        self.turn_requests.observe(requests)

    def text(self) -> bytes:
        """All of it in Prometheus's format."""
        return generate_latest(self._registry)


def log(event: str, *, level: int = logging.INFO, **facts: Any) -> None:
    """Write a line of the log."""
    LOGGER.log(level, event, extra={"facts": facts})


class _JsonLines(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        content = {
            "time": datetime.datetime.fromtimestamp(record.created, datetime.UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "event": record.getMessage(),
            **getattr(record, "facts", {}),
        }
        if record.exc_info:
            content["exception"] = self.formatException(record.exc_info)
        return json.dumps(content, ensure_ascii=False, default=str)


def write_logs() -> None:
    """Send the log of this server, and uvicorn's, to standard error as lines of JSON."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_JsonLines())
    for name in (LOGGER.name, "uvicorn", "uvicorn.error"):
        logger = logging.getLogger(name)
        logger.handlers = [handler]
        logger.propagate = False
        logger.setLevel(logging.INFO if logger is LOGGER else logging.WARNING)
