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

    def same_costs(self, other: Conditions, same_arm: bool = False) -> bool:
        """Whether seconds and bytes under both may be compared; arguments as for `differences`."""
        return not self.differences(other, same_arm)

    def differences(self, other: Conditions, same_arm: bool = False) -> list[str]:
        """In what both differ that costs depend on, in words: `device: NVIDIA H100 and NVIDIA A100`.

        A package that only one of them has is no difference: it is one that only that arm's method needs.

        Args:
            other: conditions of another run.
            same_arm: whether both are runs of one arm, so that their engines count. Those of two arms may differ,
                since a method decides by what engine it can be trained.
        """
        a, b = self.costs_depend_on(same_arm), other.costs_depend_on(same_arm)
        only_one = (a.keys() ^ b.keys()) & {name for name in {*a, *b} if name.startswith("versions.")}
        names = [name for name in {**a, **b} if name not in only_one]
        return [
            f"{name}: {a.get(name, 'none')} and {b.get(name, 'none')}" for name in names if a.get(name) != b.get(name)
        ]

    def costs_depend_on(self, same_arm: bool = False) -> dict[str, str]:
        """What costs depend on, by name, in words; the same for runs whose costs may be compared.

        Args:
            same_arm: whether the engine is part of it.
        """
        engine = (self.engine or {}) if same_arm else {}
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
            **{f"engine.{name}": str(engine[name]) for name in ENGINE if name in engine},
        }
