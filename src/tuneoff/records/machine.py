"""What a machine can do: what `tuneoff doctor --json` prints."""

from __future__ import annotations

from tuneoff.records.environment import Environment
from tuneoff.records.record import Record


class Gpu(Record):
    """A GPU."""

    name: str
    """as its driver says"""
    memory_bytes: int
    """all of it"""


class Machine(Environment):
    """What this machine can do."""

    device: str
    """what `device = "auto"` stands for: `cuda` or `cpu`"""
    gpus: tuple[Gpu, ...]
    """that can be used"""
    bf16: bool
    """whether the device computes in bfloat16 in hardware"""
    free_disk_bytes: int
    """where the command was given"""
    quickstart_model_installed: bool
    """whether the offline quickstart has its model"""
    hub_reachable: bool
    """whether the Hugging Face Hub answers"""
    hub_unreachable: str | None
    """why it does not"""
