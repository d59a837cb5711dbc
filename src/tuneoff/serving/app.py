"""The application: what is answered at each path."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from fastapi import FastAPI, Request, Response
from numpy.typing import NDArray
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from pydantic import BaseModel
from starlette.exceptions import HTTPException

from tuneoff import __version__
from tuneoff.data.encode import Encoded
from tuneoff.data.tokens import Tokens
from tuneoff.records.label_kind import LabelKind
from tuneoff.serving.batching import Batcher
from tuneoff.serving.guard import Guard
from tuneoff.serving.limits import Limits
from tuneoff.serving.metrics import Metrics
from tuneoff.serving.page import add_page
from tuneoff.serving.predictor import Predictor
from tuneoff.serving.refusal import ErrorAnswer, Refusal
from tuneoff.serving.wire import PredictAnswer, PredictRequest, answer_json, read_request
from tuneoff.training.device import precision_name

if TYPE_CHECKING:
    from tuneoff.tasks.base import Task, Thresholds

REFUSALS = {
    400: "The request is malformed.",
    403: "The Host is not this server's.",
    408: "The body came too slowly.",
    413: "The body, the batch or a text is too large.",
    415: "The body is not said to be JSON.",
    422: "The body says something else than is asked for, or a text holds no tokens.",
    424: "The model failed.",
    429: "Too many requests wait.",
    503: "There was no answer in time.",
}


class ModelInfo(BaseModel):
    """One model of a server."""

    base_model: str
    base_revision: str | None
    study: str
    arm: str
    method: str
    kind: LabelKind
    labels: list[str]
    thresholds: list[float]
    """The probability above which each label is an answer; empty where the most probable is, or of a number."""
    pairs: bool
    max_input_length: int


class Info(BaseModel):
    """What a server is."""

    version: str
    device: Literal["cpu", "cuda"]
    precision: Literal["fp32", "bf16"]
    max_client_batch_size: int
    max_batch_tokens: int
    max_concurrent_requests: int
    max_body_bytes: int
    models: dict[str, ModelInfo]


def make_app(
    predictor: Predictor,
    batcher: Batcher,
    metrics: Metrics,
    limits: Limits,
    budget: int,
    hosts: frozenset[str] | None,
) -> FastAPI:
    """The application.

    Args:
        predictor: encodes texts, and knows its models.
        batcher: computes.
        metrics: are told at `/metrics`.
        limits: see there.
        budget: tokens of a batch.
        hosts: see `Guard`.
    """
    app = FastAPI(
        title="Tuneoff", version=__version__, docs_url=None, redoc_url=None, redirect_slashes=False, debug=False
    )
    app.add_middleware(Guard, limits=limits, metrics=metrics, hosts=hosts)
    app.add_exception_handler(HTTPException, _unknown)
    # One thread, so that a request with long texts does not hold up those that are received and answered meanwhile.
    tokenising = ThreadPoolExecutor(1, "tuneoff-tokens")
    info = _info(predictor, limits, budget)

    @app.post(
        "/predict",
        responses=_responses(400, 403, 408, 413, 415, 422, 424, 429, 503),
        openapi_extra=_body(predictor.names),
    )
    async def predict(request: Request) -> Response:
        """Classify texts, or pairs of them."""
        kind = request.headers.get("content-type", "").split(";")[0].strip().lower()
        if kind != "application/json":  # which no page of another site may send unasked
            raise Refusal(415, "validation", "the header Content-Type must be application/json")
        asked = read_request(await request.body())
        name = _model(asked.model, predictor.names)
        rules = predictor.saved[name].texts
        texts = asked.texts(rules.text_pair is not None)
        if len(texts) > limits.inputs:
            raise Refusal(413, "validation", f"inputs: {len(texts)} of them; at most {limits.inputs} are taken at once")
        loop = asyncio.get_running_loop()
        encoded = await loop.run_in_executor(tokenising, predictor.encode, name, texts)
        _check_texts(predictor.says_something(name, texts, encoded.lengths))
        _check_lengths(encoded, rules.max_length, asked.truncate)
        logits = await batcher.logits(Tokens.of(encoded, rules.long_texts), name)
        return Response(answer_json(logits, predictor.task(name), asked), media_type="application/json")

    @app.get("/info", responses=_errors(403))
    async def tell_info() -> Info:
        """Say which models there are, and what is taken."""
        return info

    @app.get("/health", response_class=Response, responses={**_errors(403, 503), 200: {"content": {}}})
    async def health() -> Response:
        """Say whether requests are answered."""
        if not batcher.alive:
            raise Refusal(503, "unhealthy", "nothing is computed any more")
        return Response()

    @app.get("/metrics", response_class=Response, responses={**_errors(403), 200: {"content": {"text/plain": {}}}})
    async def tell_metrics() -> Response:
        """Tell Prometheus what was counted."""
        return Response(generate_latest(metrics.registry), media_type=CONTENT_TYPE_LATEST)

    add_page(app)
    return app


def _model(asked: str | None, names: tuple[str, ...]) -> str:
    if asked is None:
        if len(names) > 1:
            raise Refusal(422, "validation", f"model: name one of {', '.join(names)}")
        return names[0]
    if asked not in names:
        raise Refusal(422, "validation", f"model: there are {', '.join(names)}")
    return asked


def _check_texts(says_something: NDArray[np.bool_]) -> None:
    if not says_something.all():
        raise Refusal(422, "tokenizer", f"inputs: number {int(says_something.argmin()) + 1} holds no tokens")


def _check_lengths(encoded: Encoded, most: int, truncate: bool) -> None:
    if not truncate and encoded.lost.any():
        row = int(encoded.lost.argmax())
        tokens = int(encoded.lengths[row] + encoded.lost[row])
        raise Refusal(413, "validation", f"inputs: number {row + 1} has {tokens} tokens; the model takes {most}")


def _info(predictor: Predictor, limits: Limits, budget: int) -> Info:
    models = {
        name: ModelInfo(
            base_model=saved.base.id,
            base_revision=saved.base.revision,
            study=saved.study,
            arm=saved.arm,
            method=saved.method,
            kind=predictor.task(name).kind,
            labels=list(saved.texts.label_names),
            thresholds=list(_thresholds(predictor.task(name))),
            pairs=saved.texts.text_pair is not None,
            max_input_length=saved.texts.max_length,
        )
        for name, saved in predictor.saved.items()
    }
    return Info(
        version=__version__,
        device="cuda" if predictor.device.type == "cuda" else "cpu",
        precision=precision_name(predictor.precision),
        max_client_batch_size=limits.inputs,
        max_batch_tokens=budget,
        max_concurrent_requests=limits.waiting,
        max_body_bytes=limits.body_bytes,
        models=models,
    )


def _thresholds(task: Task) -> Thresholds:
    """What is above which probability an answer; of a number none."""
    rules = task.rules
    if task.kind == "labels":
        return rules.thresholds or (0.5,) * len(rules.label_names)
    return (1 - rules.thresholds[0], rules.thresholds[0]) if rules.thresholds else ()


def _errors(*statuses: int) -> dict[int | str, dict[str, Any]]:
    return {status: {"model": ErrorAnswer, "description": REFUSALS[status]} for status in statuses}


def _responses(*statuses: int) -> dict[int | str, dict[str, Any]]:
    return {
        200: {"model": PredictAnswer, "description": "The scores of every class or label, or the number."},
        **_errors(*statuses),
    }


def _body(names: tuple[str, ...]) -> dict[str, Any]:
    """What a request holds, as OpenAPI describes it, with the names of this server's models."""
    schema = PredictRequest.model_json_schema()
    schema["properties"]["model"] |= {"anyOf": [{"enum": list(names)}]}
    if len(names) > 1:
        schema["required"].append("model")
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": schema}}}}


async def _unknown(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    told = f"{request.method} {request.url.path}: {error.detail}"
    raise Refusal(error.status_code, "validation", told, dict(error.headers or {}))
