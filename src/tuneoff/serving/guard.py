"""What stands before every request: where it goes, its body's size, its time, and whether it is still wanted."""

from __future__ import annotations

import asyncio
import sys
import time

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tuneoff.core.errors import one_line
from tuneoff.serving.limits import Limits
from tuneoff.serving.metrics import PATHS, Metrics
from tuneoff.serving.refusal import Refusal

CLOSING = {"connection": "close"}
"""Of refusals before a body is read, so that what is left of it is not taken for the next request."""


class Guard:
    """An ASGI middleware.

    A request is refused where its Host is none of `hosts` (so that no page of another site reaches a server on
    loopback by a name of its own), and where its body is too large or too slow, which is seen while it is read. It is
    cancelled where its client has left, or its time is over.

    Args:
        app: what answers.
        limits: of body and time.
        metrics: count every request.
        hosts: names without ports; None where any will do.
    """

    def __init__(self, app: ASGIApp, limits: Limits, metrics: Metrics, hosts: frozenset[str] | None) -> None:
        self._app = app
        self._limits = limits
        self._metrics = metrics
        self._hosts = hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers a request, in one way or another."""
        started = time.perf_counter()
        answer = _Answer(send)
        with self._metrics.requests_in_progress.track_inprogress():
            await self._answered(scope, receive, answer)
        path = scope["path"] if scope["path"] in PATHS else "other"
        self._metrics.requests.labels(path, answer.status or "aborted").inc()
        self._metrics.request_seconds.labels(path).observe(time.perf_counter() - started)

    async def _answered(self, scope: Scope, receive: Receive, answer: _Answer) -> None:
        try:
            await self._within_limits(scope, receive, answer)
        except Refusal as refusal:
            self._metrics.errors.labels(refusal.error_type).inc()
            await refusal.response()(scope, receive, answer)
        except Exception as error:
            print(f"tuneoff: {scope['path']!a} failed: {type(error).__name__}: {one_line(error)}", file=sys.stderr)
            await Refusal(500, "backend", "the server failed").response()(scope, receive, answer)

    async def _within_limits(self, scope: Scope, receive: Receive, answer: _Answer) -> None:
        headers = {name: value.decode("latin-1") for name, value in scope["headers"]}
        if self._hosts is not None and _host(headers.get(b"host", "")) not in self._hosts:
            allowed = ", ".join(sorted(self._hosts))
            raise Refusal(403, "validation", f"this server answers to {allowed}, not to another Host", CLOSING)
        body = await self._body(headers.get(b"content-length"), receive)
        if body is None:
            return
        task = asyncio.current_task()
        assert task is not None
        watch = answer.watch = asyncio.create_task(_cancel_where_gone(receive, task))
        try:
            async with asyncio.timeout(self._limits.seconds):
                await self._app(scope, _giving(body), answer)
        except TimeoutError as error:
            raise Refusal(
                503, "timeout", f"not answered within {self._limits.seconds:g} s", {"retry-after": "1"}
            ) from error
        except asyncio.CancelledError:
            task.uncancel()
            if not watch.done():  # the client is there
                raise Refusal(503, "unhealthy", "the server stops", CLOSING) from None
        finally:
            watch.cancel()

    async def _body(self, declared: str | None, receive: Receive) -> bytes | None:
        """A request's body; None where the client has left."""
        most = self._limits.body_bytes
        too_large = Refusal(413, "validation", f"the body is larger than {most:,} bytes", CLOSING)
        if declared is not None and int(declared) > most:
            raise too_large
        body = bytearray()
        try:
            async with asyncio.timeout(self._limits.body_seconds):
                while True:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        return None
                    body += message.get("body", b"")
                    if len(body) > most:
                        raise too_large
                    if not message.get("more_body", False):
                        return bytes(body)
        except TimeoutError as error:
            raise Refusal(
                408, "timeout", f"the body did not come within {self._limits.body_seconds:g} s", CLOSING
            ) from error


class _Answer:
    """Sends an answer, and knows its status."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self.status: int | None = None
        self.watch: asyncio.Task[None] | None = None

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            if self.watch is not None:  # an end of the answer looks like the client's leaving
                self.watch.cancel()
        await self._send(message)


async def _cancel_where_gone(receive: Receive, task: asyncio.Task[None]) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    task.cancel()


def _giving(body: bytes) -> Receive:
    async def receive() -> Message:
        return {"type": "http.request", "body": body, "more_body": False}

    return receive


def _host(header: str) -> str:
    name, colon, port = header.rpartition(":")
    return (name if colon and port.isdigit() else header).lower()
