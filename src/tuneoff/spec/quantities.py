"""Fields of a study that are durations or sizes, as people write them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

from pydantic import AfterValidator

from tuneoff.core.quantities import parse_bytes, parse_seconds


def _checked(parse: Callable[[str], float]) -> AfterValidator:
    def check(text: str) -> str:
        parse(text)
        return text

    return AfterValidator(check)


Duration = Annotated[str, _checked(parse_seconds)]
Size = Annotated[str, _checked(parse_bytes)]
