"""How much a server takes, of whom it answers, and how long anything may last."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """What a server refuses, so that no request harms another.

    Attributes:
        body_bytes: of a request's body.
        inputs: texts or pairs of one request.
        waiting: requests that wait to be computed; further ones are refused with 429.
        seconds: from a request's headers to its answer.
        header_seconds: until a connection has sent a request's headers.
        body_seconds: until it has sent the body.
        connections: at a time.
        stop_seconds: until what was accepted is answered, once the server is told to stop.
    """

    body_bytes: int = 2_000_000
    inputs: int = 128
    waiting: int = 512
    seconds: float = 60.0
    header_seconds: float = 10.0
    body_seconds: float = 20.0
    connections: int = 512
    stop_seconds: float = 30.0
