"""4-bit floating point."""

from __future__ import annotations

from typing import Any, ClassVar

from tuneoff.spec.quantization import Quantization


class FP4(Quantization):
    """Floating-point numbers of 4 bits, with double quantisation."""

    name: ClassVar[str] = "fp4"
    bits: ClassVar[int] = 4

    @classmethod
    def options(cls, compute_dtype: Any) -> dict[str, Any]:
        return {
            "load_in_4bit": True,
            "bnb_4bit_quant_type": "fp4",
            "bnb_4bit_use_double_quant": True,
            "bnb_4bit_compute_dtype": compute_dtype,
        }
