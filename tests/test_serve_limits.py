"""`tuneoff serve` at its limits: who is cut off or asked to come again, how it ends, and what it does not serve."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from conftest import Command
from serve_parts import Served, all_of, many, model, raw, serving, study

__all__ = ["study"]

SECONDS = 3
"""Of a server that is asked to be impatient."""


@pytest.fixture(scope="module")
def impatient(study: Path) -> Iterator[Served]:
    with serving(model(study / "single", "lora"), "--timeout", f"{SECONDS}s") as server:
        yield server


def test_who_sends_slowly_is_cut_off_and_harms_nobody(impatient: Served) -> None:
    def drip(connection: socket.socket) -> None:
        try:
            while True:
                connection.sendall(b"a")
                time.sleep(0.2)
        except OSError:  # it is closed
            pass

    body = raw({"inputs": "good"})
    starts = [b"", b"POST /predict HTT", body[:40] + b"X-Slow: ", body[:-5]]
    connections = [impatient.connect() for _ in range(40)]
    for number, connection in enumerate(connections):
        connection.sendall(starts[number % 4])
    drips = [threading.Thread(target=drip, args=[connection]) for connection in connections[2:4]]
    for thread in drips:
        thread.start()
    for _ in range(10):
        assert impatient.predict("good").status == 200
    answers = []
    for connection in connections:
        try:
            answers.append(all_of(connection))
        except ConnectionError:
            answers.append(b"")
    for thread in drips:
        thread.join()
    assert {answers[number] for number in range(40) if number % 4 < 2} == {b""}
    late = [answer for number, answer in enumerate(answers) if number % 4 == 3 and number != 3]
    assert {answer.split(b"\r\n")[0] for answer in late} == {b"HTTP/1.1 408 Request Timeout"}


@pytest.mark.parametrize("number", [signal.SIGTERM, pytest.param(signal.SIGINT, marks=pytest.mark.long)])
def test_one_model_answers_until_a_signal_and_then_what_it_has_accepted(study: Path, number: signal.Signals) -> None:
    with serving(model(study / "single", "lora")) as server:
        assert server.said[0].startswith("serving     lora at http://127.0.0.1:")
        assert len(server.predict("good").json) == 2
        if shutil.which("curl"):
            command = server.said[1].removeprefix("try ")
            told = subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=True)
            assert len(json.loads(told.stdout)) == 2

        def accepted() -> float:
            answered = server.counted('requests_total{path="/predict",status="200"}')
            return answered + server.counted("requests_in_progress")

        before = accepted()
        connections = [server.connect() for _ in range(20)]
        for seed, connection in enumerate(connections):
            connection.sendall(raw(many(seed)))
        idle = server.connect()
        while accepted() < before + 20:
            time.sleep(0.01)
        os.kill(server.process.pid, number)
        answers = [all_of(connection) for connection in connections]
        assert {answer.split(b"\r\n")[0] for answer in answers} == {b"HTTP/1.1 200 OK"}
        assert [len(json.loads(answer.split(b"\r\n\r\n")[1])) for answer in answers] == [128] * 20
        assert (server.process.wait(60), server.output.read()) == (0, "")
        assert all_of(idle) == b""
        with pytest.raises(ConnectionRefusedError):
            server.connect()


def test_more_than_may_wait_are_asked_to_come_again_and_a_second_signal_ends_it_at_once(study: Path) -> None:
    with serving(model(study / "single", "lora"), "--max-waiting", "2") as server:
        with ThreadPoolExecutor(30) as pool:
            answers = list(pool.map(lambda seed: server.ask("/predict", many(seed)), range(60)))
        refused = [answer for answer in answers if answer.status != 200]
        assert 0 < len(refused) < 60
        assert {answer.status for answer in refused} == {429}
        assert refused[0].json == {"error": "2 requests wait already", "error_type": "overloaded"}
        assert refused[0].headers["retry-after"] == "1"
        assert server.predict("good").status == 200

        with server.connect() as unfinished:
            unfinished.sendall(raw({"inputs": "good"})[:-3])
            while server.counted("requests_in_progress") < 2:
                time.sleep(0.01)
            os.kill(server.process.pid, signal.SIGTERM)
            with pytest.raises(subprocess.TimeoutExpired):
                server.process.wait(1)
            os.kill(server.process.pid, signal.SIGTERM)
            assert server.process.wait(60) == 130
        assert server.output.read().count("\n") == 1


def test_what_cannot_be_served_is_said_in_one_line(study: Path, tuneoff: Command, tmp_path: Path) -> None:
    lora = model(study / "single", "lora")
    damaged = tmp_path / "damaged"
    shutil.copytree(lora, damaged)
    (damaged / "adapter_model.safetensors").write_bytes(b"cut")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        cases: list[tuple[list[str | Path], str]] = [
            ([lora, "--port", str(port)], f"cannot listen at 127.0.0.1:{port}: Address already in use"),
            ([lora, "--host", "no.such.host.invalid"], "'no.such.host.invalid' is no address of this machine"),
            ([lora, "--host", "192.0.2.1"], "cannot listen at 192.0.2.1:8000"),
            ([tmp_path / "nothing"], "is no model that tuneoff saved"),
            ([damaged], "adapter_model.safetensors' is not as it was saved"),
            ([lora, model(study / "pairs", "lora")], "are both called 'lora'; write NAME=FOLDER"),
            (["name="], "write NAME=FOLDER"),
            ([lora, "--max-body", "much"], "--max-body: write a size"),
        ]
        for arguments, said in cases:
            answer = tuneoff("serve", *arguments)
            assert (answer.returncode, answer.stdout, answer.stderr.count("\n")) == (2, "", 1), answer.stderr
            assert said in answer.stderr


def test_without_its_packages_it_says_which_and_how(study: Path, tuneoff: Command, tmp_path: Path) -> None:
    (tmp_path / "hidden").mkdir()
    (tmp_path / "hidden" / "fastapi.py").write_text("raise ModuleNotFoundError(name='fastapi')")
    path = os.pathsep.join([str(tmp_path / "hidden"), os.environ.get("PYTHONPATH", "")])
    answer = tuneoff("serve", model(study / "single", "lora"), PYTHONPATH=path)
    assert answer.returncode == 2
    assert answer.stderr == "tuneoff: serve needs the package fastapi: pip install 'tuneoff[serve]'\n"
