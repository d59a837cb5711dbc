"""What requests ask and answers say, in the shape of text-embeddings-inference."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from tuneoff.core.texts import in_line
from tuneoff.data.encode import Texts
from tuneoff.serving.refusal import Refusal

if TYPE_CHECKING:
    from tuneoff.tasks.base import Task

Input = Annotated[list[str], Field(min_length=1, max_length=2)]
"""One text, or a pair of them, as a list."""


class PredictRequest(BaseModel):
    """Texts to classify."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    inputs: Annotated[
        str | Input | Annotated[list[Input], Field(min_length=1)],
        Field(
            description='A text; a pair of texts, ["a", "b"]; or a batch of either, [["a"], ["b"]] or [["a", "b"]].',
            examples=["a lovely film", [["a lovely film"], ["a dull one"]]],
        ),
    ]
    raw_scores: Annotated[bool, Field(description="Logits in place of probabilities.")] = False
    truncate: Annotated[
        bool, Field(description="Cut texts that are too long, as the study did; where false, they are refused.")
    ] = True
    model: Annotated[
        str | None, Field(description="The name of a model, as /info has it; needed where there are several.")
    ] = None

    @property
    def single(self) -> bool:
        """Whether it asks for one answer, rather than a list of them."""
        return isinstance(self.inputs, str) or isinstance(self.inputs[0], str)

    @property
    def rows(self) -> list[list[str]]:
        """Of one text or two each."""
        if isinstance(self.inputs, str):
            return [[self.inputs]]
        return [self.inputs] if self.single else self.inputs  # type: ignore[list-item, return-value]

    def texts(self, pairs: bool) -> Texts:
        """What a model is to encode.

        Args:
            pairs: whether the model takes pairs.

        Raises:
            Refusal: where it is given the other.
        """
        rows = self.rows
        if any(len(row) != (2 if pairs else 1) for row in rows):
            takes = 'pairs of texts, such as [["a", "b"]]' if pairs else 'single texts; a batch is [["a"], ["b"]]'
            raise Refusal(422, "validation", f"inputs: the model takes {takes}")
        return [(row[0], row[1]) for row in rows] if pairs else [row[0] for row in rows]


class Score(BaseModel):
    """Of one class."""

    label: str
    score: float


Scores = Annotated[list[Score], Field(description="Of all classes or labels, the highest score first; or the number.")]
PredictAnswer = Scores | list[Scores]


def read_request(body: bytes) -> PredictRequest:
    """A request's body.

    Raises:
        Refusal: where it is no JSON (400) or says something else (422).
    """
    try:
        return PredictRequest.model_validate_json(body)
    except ValidationError as error:
        errors = error.errors(include_url=False, include_input=False)
    first = next((one for one in errors if one["type"] == "missing"), errors[0])
    if first["type"] == "json_invalid":
        raise Refusal(400, "validation", f"the body is no JSON ({first['ctx']['error']})")
    where = str(first["loc"][0]) if first["loc"] else "the body"
    if first["type"] == "missing":
        others = [str(one["loc"][0]) for one in errors if one["type"] == "extra_forbidden"]
        instead = f" (it has {in_line(others)})" if others else ""
        raise Refusal(422, "validation", f"{where}: it is missing from the body{instead}")
    if where == "inputs":
        raise Refusal(
            422, "validation", 'inputs: it is a text, a pair ["a", "b"], or a batch, [["a"], ["b"]] or [["a", "b"]]'
        )
    raise Refusal(422, "validation", f"{where}: {first['msg']}")


def answer_json(logits: NDArray[np.float32], task: Task, asked: PredictRequest) -> bytes:
    """What is answered: scores of every class or label, or the number; nested where the request is a batch.

    Args:
        logits: shape (texts, outputs).
        task: says what they mean.
        asked: the request.
    """
    labels = task.rules.label_names
    scores = logits.astype(np.float64) if asked.raw_scores else task.probabilities(logits)
    if not scores.shape[1]:
        scores = task.answers(logits)[:, None]
    order = np.argsort(-scores, axis=1, kind="stable")
    if task.kind == "class":  # the answer is first, also where its threshold is not a half
        answers = task.answers(logits)
        order = np.take_along_axis(order, np.argsort(order != answers[:, None], axis=1, kind="stable"), axis=1)
    rows: list[Any] = []
    for of_text, places in zip(scores.tolist(), order.tolist(), strict=True):
        rows.append([{"label": labels[index], "score": of_text[index]} for index in places])
    return json.dumps(rows[0] if asked.single else rows, ensure_ascii=False, allow_nan=False).encode()
