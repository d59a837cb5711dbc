"""What each run of a study computes on, with every `auto` resolved."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from tuneoff.measure.environment import processor, system, versions
from tuneoff.records.conditions import Conditions, EngineDescription

if TYPE_CHECKING:
    from tuneoff.spec import ExecutionSpec, TrainingSpec
    from tuneoff.spec.arms import ArmSpec

PACKAGES = ("python", "tuneoff", "torch", "transformers", "peft")
"""Whose versions costs depend on, whatever the method."""


@dataclass(frozen=True)
class Allocation:
    """What each run of a study gets. An executor decides it once, from the settings and from what it computes on.

    It depends on nothing that comes and goes, such as load or the runs under way, since much of it names the runs.

    Attributes:
        device: the kind of device.
        precision: of the weights that are computed with.
        devices: of a run; on a CPU its processes.
        parallel: how several of them work together; `none` with one.
        cores: processor cores of a run, over all of its processes.
        shared_device: whether runs compute on the same device at the same time.
    """

    device: Literal["cpu", "cuda"]
    precision: Literal["bf16", "fp32"]
    devices: int
    parallel: Literal["none", "ddp", "fsdp"]
    cores: int
    shared_device: bool = False

    @property
    def on_cpu(self) -> bool:
        """Whether runs compute on a CPU."""
        return self.device == "cpu"

    @property
    def threads(self) -> int:
        """Threads of each of a run's processes."""
        return max(1, self.cores // self.devices)

    def resolve(self, training: TrainingSpec) -> TrainingSpec:
        """A study's `[training]` as its runs are told it."""
        resolved = {"device": self.device, "precision": self.precision, "parallel": self.parallel}
        return training.model_copy(update=resolved)

    def decisive(self, arm: ArmSpec) -> dict[str, str | int]:
        """What of it changes the bits of an arm's results, by the names of the study file.

        On a CPU the number of threads decides in what order sums are taken. On a GPU it does so only for a head that
        is fitted, which is always done on the processor.
        """
        decisive: dict[str, str | int] = {
            "device": self.device,
            "precision": self.precision,
            "devices": self.devices,
            "parallel": self.parallel,
        }
        return {**decisive, "cores": self.threads} if self.on_cpu or arm.fitted else decisive

    @classmethod
    def of(cls, conditions: Conditions) -> Allocation:
        """What a run had that was computed under such conditions."""
        return cls(
            device=conditions.device_type,
            precision=conditions.precision,
            devices=conditions.devices,
            parallel=conditions.parallel,
            cores=conditions.cores * conditions.devices,
            shared_device=conditions.shared_device,
        )

    def conditions(self, arm: ArmSpec, gpu: str | None, engine: EngineDescription | None = None) -> Conditions:
        """The conditions of a run, in a process of the machine that it computes on.

        Args:
            arm: whose run it is.
            gpu: the name of the GPU; None on a CPU.
            engine: its description, once it is there.
        """
        packages = (*PACKAGES, *(["bitsandbytes"] if arm.quantised else []), *(["scikit-learn"] if arm.fitted else []))
        return Conditions(
            device_type=self.device,
            device=gpu or processor(),
            devices=self.devices,
            parallel=self.parallel,
            precision=self.precision,
            cores=self.threads,
            shared_device=self.shared_device,
            engine=engine,
            versions={name: version for name, version in versions().items() if name in packages},
            system=system(),
        )


def devices_of_a_run(execution: ExecutionSpec, training: TrainingSpec, on_cpu: bool, gpus: int) -> int:
    """The number of devices of a run, with `auto` resolved.

    Args:
        execution: the study's `[execution]`.
        training: its `[training]`.
        on_cpu: whether runs compute on a CPU, where each of a run's processes counts as a device.
        gpus: the most that a run can have.
    """
    if training.parallel == "none":
        return 1
    if execution.devices_per_run == "auto":
        return 1 if on_cpu else gpus
    return execution.devices_per_run
