"""The conditions of a run: what its costs depend on beside the run itself."""

from __future__ import annotations

from typing import Literal

from tuneoff.records.record import Record

EngineDescription = dict[str, bool | int | str | tuple[int, ...]]

ENGINE = ("batches", "micro_batch_size", "step", "compiled", "attention_dropout", "fused_modules")
"""What of an engine's description decides costs; the rest says why it is so, or follows from a seed's batches."""


class Conditions(Record):
    """What a run was computed on, and with what: its costs are comparable with those of equal conditions."""

    device_type: Literal["cpu", "cuda"]
    """the kind of device"""
    device: str
    """the name of the GPU or processor"""
    devices: int
    """that trained the run together; processes on a CPU"""
    parallel: Literal["none", "ddp", "fsdp"]
    """how they did"""
    precision: Literal["bf16", "fp32"]
    """of the weights that are computed with"""
    cores: int
    """threads of each of the run's processes"""
    shared_device: bool
    """whether other runs of the study computed on the same device at the same time"""
    engine: EngineDescription | None
    """how batches and steps were done: `packed` or `padded`, sequences computed at once, CUDA graph or eager and why;
    null of a run that ended before that was settled"""
    versions: dict[str, str]
    """of Python and of the packages that computed: `bitsandbytes` and `scikit-learn` only where the method uses them"""
    system: str
    """operating system and kind of machine"""

    def costs_depend_on(self, same_arm: bool = False) -> dict[str, str]:
        """What costs depend on, by name, in words; the same for runs whose costs may be compared.

        Args:
            same_arm: whether the engine is part of it.
        """
        return {
            "device": self.device,
            "devices": str(self.devices),
            "parallel": self.parallel,
            "precision": self.precision,
            # A GPU's run waits for its processor only while it sets up.
            **({"cores": str(self.cores)} if self.device_type == "cpu" else {}),
            "shared device": "yes" if self.shared_device else "no",
            "system": self.system,
            **{f"versions.{package}": version for package, version in self.versions.items()},
            **(engine_costs_depend_on(self.engine) if same_arm else {}),
        }


def engine_costs_depend_on(engine: EngineDescription | None) -> dict[str, str]:
    """What the costs of runs of one arm depend on in how batches and steps were done, likewise."""
    return {f"engine.{name}": str(engine[name]) for name in ENGINE if engine and name in engine}
