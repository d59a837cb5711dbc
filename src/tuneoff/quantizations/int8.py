"""8-bit integers."""

from __future__ import annotations

from typing import Any, ClassVar

from tuneoff.spec.quantization import Quantization


class Int8(Quantization):
    """Integers of 8 bits with a scale for each row, as in LLM.int8() without its threshold.

    With a threshold, columns in which any text of a batch has an outlier are computed apart: what a text gives would
    depend on those that it is computed with.
    """

    name: ClassVar[str] = "int8"
    bits: ClassVar[int] = 8

    @classmethod
    def options(cls, compute_dtype: Any) -> dict[str, Any]:
        del compute_dtype
        return {"load_in_8bit": True, "llm_int8_threshold": 0.0}
