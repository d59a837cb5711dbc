"""4-bit floating point."""

from __future__ import annotations

from typing import Any, ClassVar

from tuneoff.quantizations.nf4 import NF4


class FP4(NF4):
    """Floating-point numbers of 4 bits, with double quantisation."""

    name: ClassVar[str] = "fp4"

    @classmethod
    def options(cls, compute_dtype: Any) -> dict[str, Any]:
        return {**super().options(compute_dtype), "bnb_4bit_quant_type": "fp4"}
