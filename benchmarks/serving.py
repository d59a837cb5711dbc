"""`tuneoff serve` under load, beside one request at a time and beside FastAPI with a transformers pipeline.

    python benchmarks/serving.py FOLDER                  a saved model that holds all of its weights (an arm `full`)
    python benchmarks/serving.py FOLDER --seconds 10     shorter than a minute a measurement

Each server is a process of its own on loopback, and only one runs at a time; clients are connections of this process
that each send their next request once the last is answered. benchmarks/README.md says how to read the table.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import random
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from importlib.resources import files
from pathlib import Path

import psutil

HOST = "127.0.0.1"
START_SECONDS = 120
SERVERS = ("tuneoff", "tuneoff-fp32", "pipeline", "pipeline-bf16")


@dataclass(frozen=True)
class Measured:
    """One server with so many clients."""

    server: str
    clients: int
    seconds: float
    answers: int
    errors: int
    per_second: float
    p50_ms: float
    p95_ms: float
    p99_ms: float
    cpu_ms: float
    """Of the server's process, a request."""


def texts(count: int, longest: int) -> list[str]:
    """Pieces of the shipped reviews, from one word to `longest` words."""
    draw = random.Random(0)
    reviews = files("tuneoff.data").joinpath("reviews.jsonl").read_text(encoding="utf-8").splitlines()
    words = [json.loads(review)["text"].split() for review in reviews]
    return [" ".join(draw.choice(words)[: draw.randint(1, longest)]) for _ in range(count)]


def request(text: str, port: int) -> bytes:
    """As it is sent."""
    body = json.dumps({"inputs": text}).encode()
    head = f"POST /predict HTTP/1.1\r\nHost: {HOST}:{port}\r\nContent-Type: application/json\r\n"
    return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body


async def ask(requests: Iterator[bytes], port: int, until: float, seconds: list[float], errors: list[str]) -> None:
    """One client: a connection that is kept, and one request after another."""
    reader, writer = await asyncio.open_connection(HOST, port)
    while time.perf_counter() < until:
        started = time.perf_counter()
        try:
            writer.write(next(requests))
            head = await reader.readuntil(b"\r\n\r\n")
            length = next(line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
            body = await reader.readexactly(int(length.split(b":")[1]))
        except (OSError, asyncio.IncompleteReadError) as error:
            errors.append(repr(error))
            reader, writer = await asyncio.open_connection(HOST, port)
            continue
        if head.startswith(b"HTTP/1.1 200"):
            seconds.append(time.perf_counter() - started)
        else:
            errors.append(body.decode())
    writer.close()


async def load(
    server: str, process: psutil.Process, port: int, clients: int, duration: float, sent: Sequence[str]
) -> Measured:
    """Clients that ask for so many seconds."""
    requests = itertools.cycle([request(text, port) for text in sent])
    seconds: list[float] = []
    errors: list[str] = []
    computed = cpu_seconds(process)
    started = time.perf_counter()
    await asyncio.gather(*(ask(requests, port, started + duration, seconds, errors) for _ in range(clients)))
    took = time.perf_counter() - started
    if errors:
        print(f"{server}: {len(errors)} errors, such as {errors[0]}", file=sys.stderr)
    percentiles = statistics.quantiles(seconds or [float("nan")] * 2, n=100)
    return Measured(
        server=server,
        clients=clients,
        seconds=took,
        answers=len(seconds),
        errors=len(errors),
        per_second=len(seconds) / took,
        p50_ms=1000 * percentiles[49],
        p95_ms=1000 * percentiles[94],
        p99_ms=1000 * percentiles[98],
        cpu_ms=1000 * (cpu_seconds(process) - computed) / max(1, len(seconds)),
    )


def cpu_seconds(process: psutil.Process) -> float:
    """That a process has computed, in all of its threads."""
    times = process.cpu_times()
    return times.user + times.system


def command(server: str, folder: Path, port: int) -> list[str]:
    """What starts a server."""
    if server.startswith("tuneoff"):
        precision = "fp32" if server.endswith("fp32") else "auto"
        start = [sys.executable, "-m", "tuneoff", "serve", str(folder)]
        return [*start, "--port", str(port), "--precision", precision]
    start = [sys.executable, __file__, str(folder), "--serve-pipeline", str(port)]
    return [*start, "--bf16"] if server.endswith("bf16") else start


@contextmanager
def running(server: str, folder: Path, port: int) -> Iterator[psutil.Process]:
    """A server, from when it listens until the end."""
    process = subprocess.Popen(command(server, folder, port), stdout=subprocess.DEVNULL)
    try:
        for _ in range(START_SECONDS * 10):
            try:
                with socket.create_connection((HOST, port)):
                    break
            except OSError:
                time.sleep(0.1)
            if process.poll() is not None:
                raise SystemExit(f"{server} did not start")
        yield psutil.Process(process.pid)
    finally:
        process.terminate()
        process.wait()


def serve_pipeline(folder: Path, port: int, bf16: bool) -> None:
    """What people write: FastAPI, a pipeline, an endpoint in its thread pool."""
    import torch
    import uvicorn
    from fastapi import FastAPI
    from pydantic import BaseModel
    from transformers import pipeline

    classify = pipeline("text-classification", str(folder), top_k=None, dtype=torch.bfloat16 if bf16 else torch.float32)
    longest = json.loads((folder / "tuneoff.json").read_text())["texts"]["max_length"]
    app = FastAPI()

    class Asked(BaseModel):
        inputs: str

    def predict(asked: Asked) -> list[dict[str, object]]:
        found: list[list[dict[str, object]]] = classify([asked.inputs], truncation=True, max_length=longest)
        return found[0]

    predict.__annotations__["asked"] = Asked
    app.post("/predict")(predict)
    uvicorn.run(app, host=HOST, port=port, log_level="warning", access_log=False)


def table(measured: Sequence[Measured]) -> str:
    """In Markdown."""
    head = "| server | clients | requests/s | p50 ms | p95 ms | p99 ms | CPU ms/request | errors |\n|" + " --- |" * 8
    rows = [
        f"| {one.server} | {one.clients} | {one.per_second:.0f} | {one.p50_ms:.1f} | {one.p95_ms:.1f} | "
        f"{one.p99_ms:.1f} | {one.cpu_ms:.1f} | {one.errors} |"
        for one in measured
    ]
    return "\n".join([head, *rows])


def main() -> None:
    """Measures each server with one client and with many."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="a saved model with all of its weights")
    parser.add_argument("--clients", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--words", type=int, default=60, help="of the longest text")
    parser.add_argument("--servers", nargs="+", default=SERVERS, choices=SERVERS)
    parser.add_argument("--port", type=int, default=8917)
    parser.add_argument("--json", type=Path, help="write all figures there as well")
    parser.add_argument("--serve-pipeline", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--bf16", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.serve_pipeline:
        serve_pipeline(given.folder, given.serve_pipeline, given.bf16)
        return
    sent = texts(2000, given.words)
    measured: list[Measured] = []
    for number, server in enumerate(given.servers):
        port = given.port + number
        with running(server, given.folder, port) as process:
            for clients in (1, given.clients):
                asyncio.run(load(server, process, port, clients, 2, sent))  # until all is warm
                measured.append(asyncio.run(load(server, process, port, clients, given.seconds, sent)))
                print(f"{server}, {clients} clients: {measured[-1].per_second:.0f} requests/s", file=sys.stderr)
    print(table(measured))
    if given.json:
        given.json.write_text(json.dumps([asdict(one) for one in measured], indent=2) + "\n")


if __name__ == "__main__":
    main()
