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
        self.registry = registry = CollectorRegistry()
        self.requests = Counter(
            "tuneoff_requests",
            "Requests, by path and status; those whose client left are aborted.",
            ["path", "status"],
            registry=registry,
        )
        self.errors = Counter(
            "tuneoff_errors", "Requests that were refused, by why.", ["error_type"], registry=registry
        )
        self.texts = Counter("tuneoff_texts", "Texts that were classified, by model.", ["model"], registry=registry)
        self.requests_in_progress = Gauge(
            "tuneoff_requests_in_progress", "Requests that are not answered yet.", registry=registry
        )
        self.queue_requests = Gauge("tuneoff_queue_requests", "Requests that wait to be computed.", registry=registry)
        self.request_seconds = Histogram(
            "tuneoff_request_seconds",
            "From a request's headers to its answer.",
            ["path"],
            registry=registry,
            buckets=SECONDS,
        )
        self.queue_seconds = Histogram(
            "tuneoff_queue_seconds",
            "That a request's first text waited to be computed.",
            registry=registry,
            buckets=SECONDS,
        )
        self.batch_seconds = Histogram(
            "tuneoff_batch_seconds", "That a batch was computed.", registry=registry, buckets=SECONDS
        )
        self.batch_tokens = Histogram("tuneoff_batch_tokens", "Tokens of a batch.", registry=registry, buckets=TOKENS)
        self.batch_texts = Histogram("tuneoff_batch_texts", "Texts of a batch.", registry=registry, buckets=TEXTS)
