"""4-bit NormalFloat."""

from __future__ import annotations

from typing import Any, ClassVar

from tuneoff.spec.quantization import Quantization


class NF4(Quantization):
    """16 values at the quantiles of a normal distribution, with double quantisation, as in QLoRA's paper."""

    name: ClassVar[str] = "nf4"
    bits: ClassVar[int] = 4

    @classmethod
    def stored_bytes(cls, rows: int, columns: int) -> int:
        """With a scale of 8 bits for each block of 64, and one of 32 bits for 256 of those."""
        blocks = -(-rows * columns // 64)
        return rows * columns // 2 + blocks + 4 * -(-blocks // 256)

    @classmethod
    def options(cls, compute_dtype: Any) -> dict[str, Any]:
        return {
            "load_in_4bit": True,
            "bnb_4bit_quant_type": "nf4",
            "bnb_4bit_use_double_quant": True,
            "bnb_4bit_compute_dtype": compute_dtype,
        }
