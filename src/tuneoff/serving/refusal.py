"""Requests that are not answered: a status, and an error in the shape of text-embeddings-inference."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel
from starlette.responses import JSONResponse

ErrorType = Literal["validation", "tokenizer", "backend", "overloaded", "unhealthy", "timeout"]


class ErrorAnswer(BaseModel):
    """Why a request is refused."""

    error: str
    error_type: ErrorType


class Refusal(Exception):  # noqa: N818  (no fault of the program)
    """A request that is not answered.

    Args:
        status: of HTTP.
        error_type: as text-embeddings-inference names it; `timeout` is ours.
        error: what is wrong, and where.
        headers: of the response.
    """

    def __init__(self, status: int, error_type: ErrorType, error: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(error)
        self.status = status
        self.error_type = error_type
        self.headers = headers

    def response(self) -> JSONResponse:
        """What the client is told."""
        return JSONResponse(
            ErrorAnswer(error=str(self), error_type=self.error_type).model_dump(), self.status, self.headers
        )


def overloaded(error: str) -> Refusal:
    """A refusal of what could be answered a little later."""
    return Refusal(429, "overloaded", error, {"retry-after": "1"})
