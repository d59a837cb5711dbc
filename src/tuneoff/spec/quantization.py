"""How an arm may have the frozen weights of its backbone stored."""

from __future__ import annotations

from typing import Any, ClassVar

from tuneoff.core.registry import Registry


class Quantization:
    """A way to store weights in fewer bits, by bitsandbytes.

    One is a subclass in a file of `tuneoff.quantizations`, or in another package, which names it as an entry point of
    the group `tuneoff.quantizations`. A method says how many bits it can be trained on.
    """

    name: ClassVar[str]
    """What `quantization` calls it."""
    bits: ClassVar[int]
    """Of a weight."""

    @classmethod
    def registered_name(cls) -> str | None:
        """Its name; None of a class that only others derive from."""
        return cls.__dict__.get("name")

    @classmethod
    def stored_bytes(cls, rows: int, columns: int) -> int:
        """What a weight of this shape takes: by default so many bits each, and a scale of 32 bits for each row."""
        return rows * columns * cls.bits // 8 + 4 * rows

    @classmethod
    def options(cls, compute_dtype: Any) -> dict[str, Any]:
        """What transformers' `BitsAndBytesConfig` is made with, but for the modules that stay as they are.

        Args:
            compute_dtype: what is computed in, a `torch.dtype`.
        """
        raise NotImplementedError


QUANTIZATIONS: Registry[Quantization] = Registry(
    "tuneoff.quantizations", "tuneoff.spec.quantization.Quantization", "quantization"
)
