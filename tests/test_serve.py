"""`tuneoff serve`, the real server on loopback: what it answers and refuses, what it counts, and its page."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, ViewportSize, sync_playwright

from conftest import reviews
from serve_parts import CLASSES, MAX_LENGTH, Served, all_of, many, model, raw, serving, study

__all__ = ["study"]

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium (apt-get install chromium)")
DESKTOP = ViewportSize(width=1280, height=900)
PHONE = ViewportSize(width=390, height=844)


@pytest.fixture(scope="module")
def server(study: Path) -> Iterator[Served]:
    """Two arms by their own names, and a model of pairs."""
    single, pairs = study / "single", study / "pairs"
    with serving(
        *(model(single, "lora"), f"whole={model(single, 'full')}", f"pairs={model(pairs, 'lora')}"),
        *("--max-body", "100kB", "--precision", "fp32"),
    ) as server:
        yield server


def test_answers_are_those_of_the_study(server: Served, study: Path) -> None:
    texts = pd.read_csv(study / "test.csv")["text"].tolist()
    for name, arm in (("lora", "lora"), ("whole", "full")):
        rows = pd.read_parquet(model(study / "single", arm).parent / "predictions.parquet")
        answers = server.predict([[text] for text in texts], model=name, raw_scores=True).json
        by_label = [{score["label"]: score["score"] for score in scores} for scores in answers]
        logits = [[scores[label] for label in CLASSES.values()] for scores in by_label]
        np.testing.assert_allclose(logits, np.stack(rows["logits"].tolist()), atol=0.02)
        assert all(scores[0]["score"] >= scores[1]["score"] for scores in answers)


def test_shapes_are_those_of_text_embeddings_inference(server: Served) -> None:
    one = server.predict("a lovely film", model="lora").json
    assert [set(score) for score in one] == [{"label", "score"}] * 2
    assert sum(score["score"] for score in one) == pytest.approx(1)
    assert server.predict(["a lovely film"], model="lora").json == one
    batch = server.predict([["a lovely film"], ["dull"]], model="lora").json
    assert [score["label"] for score in batch[0]] == [score["label"] for score in one]
    assert server.predict([["a lovely film"]], model="lora").json == [one]
    pair = server.predict(["a lovely film", "lovely"], model="pairs").json
    assert server.predict([["a lovely film", "lovely"]], model="pairs").json == [pair]
    other = server.predict(["a lovely film", "dull and awful"], model="pairs", raw_scores=True).json
    assert other != server.predict(["a lovely film", "lovely"], model="pairs", raw_scores=True).json


def test_info_tells_the_models_and_nothing_of_this_machine(server: Served, tiny_model: Path) -> None:
    answer = server.ask("/info")
    info = answer.json
    assert set(info["models"]) == {"lora", "whole", "pairs"}
    assert info["models"]["whole"]["method"] == "full"
    assert info["models"]["pairs"] == {
        "base_model": tiny_model.name,
        "base_revision": None,
        "study": "tiny",
        "arm": "lora",
        "method": "lora",
        "kind": "class",
        "labels": list(CLASSES.values()),
        "thresholds": [],
        "pairs": True,
        "max_input_length": MAX_LENGTH,
    }
    assert str(tiny_model.parent).encode() not in answer.body
    assert server.ask("/health").status == 200


@pytest.mark.parametrize(
    ("body", "status", "said"),
    [
        (b"{", 400, "no JSON"),
        (b"", 415, "application/json"),
        (b'{"inputs": "\xff\xfe", "model": "lora"}', 400, "no JSON"),
        (b'{"inputs": "\\ud800", "model": "lora"}', 400, "no JSON"),
        (b"[" * 50_000, 400, "no JSON"),
        (b'{"inputs": ' + b"[" * 40_000 + b"]" * 40_000 + b"}", 400, "no JSON"),
        (b"[]", 422, "the body"),
        ({}, 422, "inputs: it is missing from the body"),
        ({"input": "a"}, 422, "inputs: it is missing from the body (it has input)"),
        ({"inputs": "", "model": "lora"}, 422, "inputs: number 1 holds no tokens"),
        ({"inputs": [["good"], [" "]], "model": "lora"}, 422, "inputs: number 2 holds no tokens"),
        ({"inputs": [], "model": "lora"}, 422, "inputs: it is a text"),
        ({"inputs": [[]], "model": "lora"}, 422, "inputs: it is a text"),
        ({"inputs": 3, "model": "lora"}, 422, "inputs: it is a text"),
        ({"inputs": ["a", "b", "c"], "model": "lora"}, 422, "inputs: it is a text"),
        ({"inputs": [["a"], "b"], "model": "lora"}, 422, "inputs: it is a text"),
        ({"inputs": "a", "model": "lora", "truncate": "yes"}, 422, "truncate"),
        ({"inputs": "a", "model": "lora", "raw_score": True}, 422, "raw_score"),
        ({"inputs": "a"}, 422, "name one of lora, whole, pairs"),
        ({"inputs": "a", "model": "nope"}, 422, "there are lora, whole, pairs"),
        ({"inputs": ["a", "b"], "model": "lora"}, 422, 'single texts; a batch is [["a"], ["b"]]'),
        ({"inputs": "a", "model": "pairs"}, 422, 'pairs of texts, such as [["a", "b"]]'),
        ({"inputs": [["a"]] * 129, "model": "lora"}, 413, "129 of them; at most 128"),
        ({"inputs": "good " * 50, "model": "lora", "truncate": False}, 413, "has 52 tokens; the model takes 32"),
        ({"inputs": "good " * 20_001, "model": "lora"}, 413, "larger than 100,000 bytes"),
    ],
)
def test_what_cannot_be_answered_is_refused(server: Served, body: Any, status: int, said: str) -> None:
    if body == b"":
        answer = server.ask("/predict", b"x", {"Content-Type": "text/plain"})
        assert (answer.status, answer.json["error_type"]) == (status, "validation")
        assert said in answer.json["error"]
        return
    assert said in server.refused(status, body)["error"]


def test_paths_that_are_not_there_are_refused_in_the_same_shape(server: Served) -> None:
    assert server.ask("/nothing").status == 404
    got = server.ask("/predict")
    assert (got.status, got.headers["allow"], set(got.json)) == (405, "POST", {"error", "error_type"})
    assert server.ask("/docs").status == 404  # it would load scripts from elsewhere


def test_long_texts_are_cut_as_in_the_study(server: Served) -> None:
    long = server.predict("good " * 50, model="lora", raw_scores=True).json
    cut = server.predict("good " * (MAX_LENGTH - 2), model="lora", raw_scores=True, truncate=False).json
    assert [score["score"] for score in long] == pytest.approx([score["score"] for score in cut], abs=0.02)


def test_pages_of_other_sites_reach_nothing(server: Served) -> None:
    for host in ("evil.example", "evil.example:80", f"127.0.0.1.evil.example:{server.port}", ""):
        answer = server.ask("/info", headers={"Host": host})
        assert (answer.status, answer.json["error_type"]) == (403, "validation")
    for host in (f"localhost:{server.port}", "LOCALHOST", "127.0.0.1", f"[::1]:{server.port}"):
        assert server.ask("/info", headers={"Host": host}).status == 200
    answer = server.ask("/info", headers={"Origin": "https://evil.example"})
    assert not any(name.lower().startswith("access-control") for name in answer.headers)
    for kind in (
        "text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data",
        "text/plain; application/json",
    ):
        assert server.ask("/predict", {"inputs": "a", "model": "lora"}, {"Content-Type": kind}).status == 415


def test_a_chunked_body_is_measured_while_it_is_read(server: Served) -> None:
    """It has no length to be refused by, and no end."""
    head = "POST /predict HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n"
    head += "Content-Type: application/json\r\n\r\n"
    chunks = b"2000\r\n" + b"a" * 0x2000 + b"\r\n"
    with server.connect() as connection:
        connection.sendall(head.encode())
        with pytest.raises((ConnectionError, BrokenPipeError)):  # the server has closed it
            connection.sendall(chunks * 6000)
    assert server.counted('requests_total{path="/predict",status="413"}') > 0
    with server.connect() as connection:  # a little too much, and the answer is read
        connection.sendall(head.encode())
        for _ in range(13):
            connection.sendall(chunks)
        assert connection.makefile("rb").readline().startswith(b"HTTP/1.1 413 ")
    assert server.predict("good", model="lora").status == 200


def test_connections_are_counted(server: Served) -> None:
    with ExitStack() as open_ones:
        for _ in range(512):
            open_ones.enter_context(server.connect())
        head, body = all_of(server.connect()).split(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 503 ")
    assert json.loads(body) == {"error": "too many connections", "error_type": "overloaded"}
    assert server.predict("good", model="lora").status == 200


def test_requests_at_once_share_batches_and_get_their_own_answers(server: Served) -> None:
    texts = reviews(60, seed=5)["text"].tolist()
    alone = [server.predict(text, model="lora").json[0]["label"] for text in texts]
    before = server.counted("batch_texts_count")
    asked = [(text, "lora") for text in texts] + [(text, "whole") for text in texts]
    with ThreadPoolExecutor(40) as pool:
        answers = list(pool.map(lambda one: server.predict(one[0], model=one[1]), asked))
    assert [answer.status for answer in answers] == [200] * len(asked)
    labels = [answer.json[0]["label"] for answer in answers[: len(texts)]]
    assert np.mean([one == other for one, other in zip(alone, labels, strict=True)]) > 0.95
    assert server.counted("batch_texts_count") - before < len(asked)


def test_metrics_count_what_was_done(server: Served) -> None:
    texts, requests = server.counted('texts_total{model="lora"}'), 'requests_total{path="/predict",status="200"}'
    before, errors = server.counted(requests), server.counted('errors_total{error_type="validation"}')
    tokens = server.counted("batch_tokens_sum")
    server.predict([["good"], ["bad film"]], model="lora")
    server.predict("good", model="nope")
    assert server.counted('texts_total{model="lora"}') == texts + 2
    assert server.counted(requests) == before + 1
    assert server.counted('errors_total{error_type="validation"}') == errors + 1
    assert server.counted("batch_tokens_sum") == tokens + 3 + 4
    assert server.counted("queue_requests") == 0
    assert server.ask("/metrics").headers["content-type"].startswith("text/plain; version=")


def test_openapi_describes_what_is_answered(server: Served) -> None:
    described = server.ask("/openapi.json").json
    assert set(described["paths"]) == {"/predict", "/info", "/health", "/metrics"}
    predict = described["paths"]["/predict"]["post"]
    schema = predict["requestBody"]["content"]["application/json"]["schema"]
    assert set(schema["properties"]) == {"inputs", "raw_scores", "truncate", "model"}
    assert schema["properties"]["model"]["anyOf"] == [{"enum": ["lora", "whole", "pairs"]}]
    assert set(predict["responses"]) == {"200", "400", "403", "408", "413", "415", "422", "424", "429", "503"}


def test_who_leaves_is_not_computed_and_harms_nobody(server: Served) -> None:
    before, computed = server.counted('requests_total{path="/predict",status="aborted"}'), 'texts_total{model="lora"}'
    texts = server.counted(computed)
    with ThreadPoolExecutor(4) as pool:
        others = [pool.submit(server.predict, "good", model="whole") for _ in range(40)]
        leaving = [server.connect() for _ in range(30)]
        for seed, connection in enumerate(leaving):
            connection.sendall(raw(many(seed)))
        for connection in leaving:
            connection.close()
        half = server.connect()
        half.sendall(raw(many(0))[:-100])
        half.close()
        assert {other.result().status for other in others} == {200}
    until_idle(server)
    assert server.counted('requests_total{path="/predict",status="aborted"}') > before
    assert server.counted(computed) - texts < 30 * 128
    assert server.predict("good", model="lora").status == 200


def until_idle(server: Served) -> None:
    while server.counted("requests_in_progress") > 1:  # which is the one that asks
        time.sleep(0.02)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@needs_chromium
@pytest.mark.parametrize(("size", "scheme"), [(DESKTOP, "light"), (PHONE, "dark")], ids=["desktop-light", "phone-dark"])
def test_a_text_is_tried_on_the_page(
    browser: Browser, server: Served, size: ViewportSize, scheme: Literal["light", "dark"]
) -> None:
    context = browser.new_context(viewport=size, color_scheme=scheme)
    page = context.new_page()
    said: list[str] = []
    asked: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("request", lambda request: asked.append(request.url))
    page.goto(server.url)
    page.get_by_label("Text", exact=True).fill("a <i>lovely</i> film")
    page.get_by_role("button", name="Classify").click()
    page.wait_for_selector("[data-model=whole]")
    status = page.get_by_role("status")
    expected = server.predict("a <i>lovely</i> film", model="lora").json
    assert f"lora: {expected[0]['label']}; whole: " in status.inner_text()
    rows = page.locator("[data-model=lora] tr").all()
    told = [row.locator("th, td.score").all_inner_texts() for row in rows]
    assert told == [[score["label"], f"{100 * score['score']:.1f}%"] for score in expected]
    assert page.locator("[data-model=pairs]").count() == 0

    page.get_by_label("Second text").fill("lovely")
    page.keyboard.press("Control+Enter")
    page.wait_for_selector("[data-model=pairs]")
    assert "pairs: " in status.inner_text()

    assert said == []
    assert all(url.startswith(server.url) for url in asked)
    assert page.evaluate("document.documentElement.scrollWidth") == size["width"]
    violations = Axe().run(page).response["violations"]
    assert [(violation["id"], violation["nodes"][0]["html"]) for violation in violations] == []
    context.close()


@needs_chromium
def test_the_page_says_when_the_server_is_gone(browser: Browser, server: Served) -> None:
    context = browser.new_context()
    page = context.new_page()
    page.goto(server.url)
    page.get_by_text("3 models: lora, whole, pairs.").wait_for()
    context.set_offline(True)
    page.get_by_label("Text", exact=True).fill("good")
    page.get_by_role("button", name="Classify").click()
    assert page.locator("[data-model=lora] .wrong").inner_text() != ""
    context.close()


@pytest.mark.long
def test_schemathesis_finds_no_server_error(server: Served, tmp_path: Path) -> None:
    done = subprocess.run(
        [
            *(sys.executable, "-m", "schemathesis.cli", "run", f"{server.url}/openapi.json"),
            *("--max-examples", "60", "--seed", "1", "--no-color", "--generation-database", "none"),
            # No schema says which models take pairs, and which texts hold no tokens.
            *("--exclude-checks", "positive_data_acceptance", "--continue-on-failure"),
        ],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    assert "Server error" not in done.stdout
