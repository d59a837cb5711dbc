"""What a server counts, for Prometheus."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

SECONDS = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0)
TOKENS = tuple(float(2**power) for power in range(4, 18))
TEXTS = tuple(float(2**power) for power in range(11))

PATHS = frozenset({"/", "/predict", "/info", "/health", "/metrics", "/openapi.json"})
"""Those that are counted by name; a label must not have as many values as requests can make up."""


class Metrics:
    """The counters, gauges and histograms of one server."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        own = {"namespace": "tuneoff", "registry": self.registry}
        self.requests = Counter(
            "requests", "Requests, by path and status; those whose client left are aborted.", ["path", "status"], **own
        )
        self.requests_in_progress = Gauge("requests_in_progress", "Requests that are not answered yet.", **own)
        self.errors = Counter("errors", "Requests that got no answer, by why.", ["error_type"], **own)
        self.texts = Counter("texts", "Texts that were classified, by model.", ["model"], **own)
        self.request_seconds = Histogram(
            "request_seconds", "From a request's headers to its answer.", ["path"], buckets=SECONDS, **own
        )
        self.queue_seconds = Histogram(
            "queue_seconds", "That a request's first text waited to be computed.", buckets=SECONDS, **own
        )
        self.batch_seconds = Histogram("batch_seconds", "That a batch was computed.", buckets=SECONDS, **own)
        self.batch_tokens = Histogram("batch_tokens", "Tokens of a batch.", buckets=TOKENS, **own)
        self.batch_texts = Histogram("batch_texts", "Texts of a batch.", buckets=TEXTS, **own)
        self.queue_requests = Gauge("queue_requests", "Requests that wait to be computed.", **own)
