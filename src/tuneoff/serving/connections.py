"""Connections that may not be more than so many, and that may not send their headers for ever."""

from __future__ import annotations

import asyncio

from uvicorn.protocols.http.h11_impl import H11Protocol

from tuneoff.serving.limits import Limits

FULL = (
    b"HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/json\r\nretry-after: 1\r\nconnection: close\r\n"
    b'\r\n{"error":"too many connections","error_type":"overloaded"}'
)


def limited(limits: Limits) -> type[H11Protocol]:
    """The connections of uvicorn, which itself waits for headers without an end, within limits."""

    class Connection(H11Protocol):
        _late: asyncio.TimerHandle | None = None

        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            super().connection_made(transport)
            if len(self.connections) > limits.connections:
                transport.write(FULL)
                transport.close()
            self._time_headers()

        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            self._time_headers()

        def connection_lost(self, exc: Exception | None) -> None:
            super().connection_lost(exc)
            self._stop_timing()

        def _time_headers(self) -> None:
            """Between requests, uvicorn waits for a first byte; from there on, and at first, it is this timer."""
            if self.cycle is not None and not self.cycle.response_complete:
                self._stop_timing()
            elif self._late is None:
                self._late = self.loop.call_later(limits.header_seconds, self.transport.abort)

        def _stop_timing(self) -> None:
            if self._late is not None:
                self._late.cancel()
                self._late = None

    return Connection
