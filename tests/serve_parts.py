"""What the tests of `tuneoff serve` share: a server that runs, the models that it serves, and raw requests."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TextIO

import pytest

import tuneoff as api
from commands import Running, server_for, start_command
from conftest import reviews, study_toml

JSON = {"Content-Type": "application/json"}
CLASSES = {0: "<b>bad</b>", 1: "good"}
MAX_LENGTH = 32


@dataclass
class Answered:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Served:
    """A server that runs."""

    process: Running | subprocess.Popen[bytes]
    output: TextIO
    port: int
    said: list[str] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def ask(self, path: str, body: Any = None, headers: dict[str, str] | None = None) -> Answered:
        data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data, {**(JSON if data else {}), **(headers or {})})
        try:
            with urllib.request.urlopen(request, timeout=60) as response:
                return Answered(response.status, dict(response.headers), response.read())
        except urllib.error.HTTPError as error:
            return Answered(error.code, dict(error.headers), error.read())

    def predict(self, inputs: Any, **asked: Any) -> Answered:
        return self.ask("/predict", {"inputs": inputs, **asked})

    def refused(self, status: int, body: Any) -> dict[str, str]:
        """What is said of a request that is refused."""
        answer = self.ask("/predict", body)
        assert (answer.status, set(answer.json)) == (status, {"error", "error_type"}), answer.body
        return answer.json

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=60)

    def counted(self, metric: str) -> float:
        """A metric's value, as /metrics tells it."""
        found = re.search(rf"^tuneoff_{re.escape(metric)} (\S+)$", self.ask("/metrics").body.decode(), re.MULTILINE)
        return 0.0 if found is None else float(found[1])


@contextmanager
def serving(*arguments: str | Path) -> Iterator[Served]:
    """A server on a free port, from when it says so until it is ended."""
    words = ["serve", *map(str, arguments), "--port", "0", "--device", "cpu"]
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    reading, writing = os.pipe()
    with open(os.devnull, "rb") as nothing:  # noqa: PTH123
        streams = [nothing.fileno(), writing, writing]
        process = start_command(words, Path.cwd(), environment, streams, server_for("serve"))
    os.close(writing)
    with os.fdopen(reading) as output:
        said = [output.readline(), output.readline()]
        try:
            found = re.search(r"http://127\.0\.0\.1:(\d+)", said[0])
            assert found is not None, said + output.readlines()
            yield Served(process, output, int(found[1]), said)
        finally:
            if process.poll() is None:
                os.kill(process.pid, signal.SIGKILL)
                process.wait()


@pytest.fixture(scope="module")
def study(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study of two arms on single texts, and one of pairs in `pairs/`."""
    folder = tmp_path_factory.mktemp("serve")
    for name, rows in (("train", reviews(80, seed=1)), ("test", reviews(20, seed=2, first_row=1000))):
        rows["label"] = rows["label"].map(CLASSES)
        rows["text_a"], rows["text_b"] = rows["text"], rows["text"].str.split().str[:3].str.join(" ")
        rows.to_csv(folder / f"{name}.csv", index=False)
    lora, full = 'method = "lora"\nlearning_rate = 5e-3', 'method = "full"\nlearning_rate = 2e-3'
    columns = 'text = "text"\nlabel = "label"\n'
    for out, arms, more in (
        ("single", [lora, full], columns),
        ("pairs", [lora], ""),  # found by their names
    ):
        text = study_toml(tiny_model, folder, arms, seeds=1, epochs=1)
        (folder / f"{out}.toml").write_text(text.replace("[training]", f"{more}[training]"))
        assert api.run_study(api.load_study(folder / f"{out}.toml"), folder / out, report=False).failed == []
    return folder


def model(study: Path, arm: str) -> Path:
    return next(study.glob(f"runs/{arm}-*")) / "model"


def many(seed: int) -> dict[str, Any]:
    """A request that takes a while."""
    return {"inputs": [[f"{text} " * 4] for text in reviews(128, seed)["text"]], "model": "lora"}


def raw(body: Any) -> bytes:
    content = json.dumps(body).encode()
    head = "POST /predict HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: application/json\r\n"
    return f"{head}Content-Length: {len(content)}\r\n\r\n".encode() + content


def all_of(connection: socket.socket) -> bytes:
    with connection, connection.makefile("rb") as file:
        return file.read()
