"""A tracker whose server is slow: no study waits for it, news wait in order, and the end waits for a limited time."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from operator import methodcaller
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib import request

import pytest

import tuneoff as api
from tracking_parts import Notes, environment, finished, names_of, spec_of, study, track
from tuneoff.analysis.results import StudyResults
from tuneoff.records.run import RunResult
from tuneoff.runs.run import Run
from tuneoff.tracking import delivery
from tuneoff.tracking.base import Tracked, Tracker
from tuneoff.tracking.remembered import Remembered

__all__ = ["environment", "finished", "study"]


class Server:
    """An HTTP server that answers nothing before it is let go on, and then each POST after a while, and GETs with 500.

    Attributes:
        bodies: of POSTs, in the order in which they came.
        impatient: whether a request was held to the end of `HELD_SECONDS`.
    """

    HELD_SECONDS = 60.0

    def __init__(self) -> None:
        self.bodies: list[str] = []
        self.asked, self.go_on = threading.Event(), threading.Event()
        self.impatient = False
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"])).decode()
                server.hold()
                time.sleep(0.02)
                server.bodies.append(body)
                self.send_response(200)
                self.end_headers()

            def do_GET(self) -> None:
                server.hold()
                self.send_error(500)

            def log_message(self, *_: object) -> None: ...

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._http.server_port}"
        threading.Thread(target=self._http.serve_forever, daemon=True).start()

    def hold(self) -> None:
        self.asked.set()
        if not self.go_on.wait(self.HELD_SECONDS):
            self.impatient = True

    def close(self) -> None:
        self.go_on.set()
        self._http.shutdown()


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    yield server
    server.close()


def test_a_study_does_not_wait_for_a_tracker_whose_server_is_slow(
    finished: tuple[Path, list[dict[str, Any]]], server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server.url)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "100")

    class LetsGoOn(Notes):
        """Lets the server answer once it has been asked and all runs have ended, with the first still held."""

        def run_finished(self, run: Run, result: RunResult) -> None:
            super().run_finished(run, result)
            if len(self.results) == 2:
                assert server.asked.wait(30)
                assert not server.impatient
                server.go_on.set()

        def say(self, message: str) -> None:
            said.append(message)

    said: list[str] = []
    notes = LetsGoOn()
    spec = spec_of(finished[0], "tracking.mlflow=true", "tuning.trials=1")
    assert api.run_study(spec, tmp_path / "new", notes, report=False).failed == []
    assert [result.status for result in notes.results] == ["ok", "ok"]
    assert not server.impatient, "the second run began while the tracker waited for its server"
    (line,) = (line for line in said if line.startswith("mlflow: "))
    assert f"mlflow: {notes.results[0].run_id} was not tracked: " in line


class Poster(Tracker):
    """Posts what it is told to a server."""

    url = ""

    @classmethod
    def check(cls, spec: api.StudySpec) -> bool:
        return True

    def track_run(self, result: RunResult) -> None:
        request.urlopen(self.url, data=result.run_id.encode(), timeout=90).close()

    def track_study(self, results: StudyResults) -> None: ...

    def where(self) -> str:
        return self.url


def test_news_wait_for_a_slow_server_in_order_and_within_bounds(
    server: Server, study: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(delivery, "MOST_WAITING", 3)
    remembered = Remembered(tmp_path)
    poster = Poster(Tracked(spec_of(study), study, remembered.token))
    poster.url = server.url
    one = delivery.Delivery("poster", poster, remembered)
    names = [f"run-{number}" for number in range(9)]
    news = [delivery.News(name, name, methodcaller("track_run", SimpleNamespace(run_id=name))) for name in names]
    one.tell(news[0])
    assert server.asked.wait(30)  # that is under way, and three wait
    for other in news[1:]:
        one.tell(other)
    assert one.wait(0) == 4
    server.go_on.set()
    assert one.wait(60) == 0
    assert server.bodies == names[:4]
    one.tell(news[8])
    assert one.wait(0) == 0, "what was left out comes first"
    for other in news:
        one.tell(other, whatever_waits=True)
    assert one.wait(60) == 0
    assert server.bodies == names
    assert Remembered(tmp_path).has("poster", names[8], names[8])
    one.close()


def test_the_end_of_a_study_waits_for_a_server_for_a_limited_time(
    server: Server, study: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server.url)
    monkeypatch.setattr("tuneoff.tracking.END_SECONDS", 1.0)
    monkeypatch.setattr("tuneoff.tracking.SOON_SECONDS", 0.1)
    said = track(study, "tracking.mlflow=true", "tracking.tensorboard=true")
    assert {path.name for path in (study / "tensorboard").iterdir()} == names_of(study)
    assert [line.partition(": ")[0] for line in said] == ["mlflow", "mlflow", "tensorboard"]
    assert "its server is waited for, 1 s at most" in said[0]
    entries = len(names_of(study))
    assert said[1] == (
        f"mlflow: {entries} entries were not taken within 1 s; results are not affected, and the same command tracks "
        "what is missing"
    )
    server.go_on.set()
    assert "mlflow" not in json.loads((study / "tracked.json").read_text())
