"""The server: an address, models, a thread that computes, until a signal comes."""

from __future__ import annotations

import asyncio
import ipaddress
import shlex
import signal
import socket
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import uvicorn

from tuneoff.core.processes import SIGNALS
from tuneoff.serving.address import bracketed
from tuneoff.serving.app import make_app
from tuneoff.serving.batching import Batcher
from tuneoff.serving.connections import limited
from tuneoff.serving.limits import Limits
from tuneoff.serving.metrics import Metrics
from tuneoff.serving.predictor import Predictor
from tuneoff.training.engines.base import EVALUATION_TOKENS

LOOPBACK = frozenset({"localhost", "127.0.0.1", "[::1]"})


def serve(
    folders: Mapping[str, Path],
    listening: socket.socket,
    host: str,
    base: str | None,
    device: str,
    precision: str,
    limits: Limits,
) -> None:
    """Answers requests until a signal comes, and then those that it has accepted.

    Args:
        folders: of saved models, by name.
        listening: a socket with an address, from `bound`.
        host: what its address was called.
        base: see `Predictor`.
        device: likewise.
        precision: likewise.
        limits: see there.

    Raises:
        UserError: where a folder cannot be used.
        KeyboardInterrupt: at a second signal.
    """
    address, port = listening.getsockname()[:2]
    local = ipaddress.ip_address(address).is_loopback
    hosts = LOOPBACK | {bracketed(host)} if local else None
    predictor = Predictor(folders, base, device, precision)
    metrics = Metrics()
    budget = EVALUATION_TOKENS[predictor.device.type]
    with Batcher(predictor.compute, budget, limits.waiting, metrics) as batcher:
        config = uvicorn.Config(
            make_app(predictor, batcher, metrics, limits, budget, hosts),
            http=limited(limits),
            ws="none",
            lifespan="off",
            log_config=None,
            log_level="critical",
            access_log=False,
            server_header=False,
            proxy_headers=False,
            timeout_graceful_shutdown=int(limits.stop_seconds),
        )
        server = _Server(config, predictor, f"http://{bracketed(host)}:{port}", local)
        server.run(sockets=[listening])
    if server.unanswered:
        print(f"tuneoff: {server.unanswered} requests were not answered in time", file=sys.stderr)


class _Server(uvicorn.Server):
    """uvicorn's server, which says where it is, and for which signals are a request and no accident."""

    def __init__(self, config: uvicorn.Config, predictor: Predictor, url: str, local: bool) -> None:
        super().__init__(config)
        self._predictor = predictor
        self._url = url
        self._local = local
        self.unanswered = 0

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        asyncio.get_running_loop().set_exception_handler(_say_what_failed)
        await super().startup(sockets)
        names = self._predictor.names
        pairs = self._predictor.saved[names[0]].texts.text_pair is not None
        body = '{"inputs": ' + ('["a text", "another"]' if pairs else '"a text"')
        body += f', "model": "{names[0]}"}}' if len(names) > 1 else "}"
        curl = ["curl", f"{self._url}/predict", "-H", "Content-Type: application/json", "-d", body]
        print(f"serving     {', '.join(names)} at {self._url} (Ctrl-C ends it)")
        print(f"try         {shlex.join(curl)}", flush=True)
        if not self._local:
            print("tuneoff: whoever reaches this address can use it; nothing asks for a password", file=sys.stderr)

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        before = {number: signal.getsignal(number) for number in SIGNALS}
        for number, handler in before.items():
            if handler != signal.SIG_IGN:
                signal.signal(number, self.handle_exit)
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        if self.should_exit:
            raise KeyboardInterrupt
        self.should_exit = True

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        await super().shutdown(sockets)
        self.unanswered = len(self.server_state.tasks)


def _say_what_failed(_loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    error = context.get("exception")
    print(f"tuneoff: {context['message']}{f' ({error})' if error else ''}", file=sys.stderr)
