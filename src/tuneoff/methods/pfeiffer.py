"""Bottleneck adapters as Pfeiffer et al. place them: one small network behind the feed-forward part of each block."""

from __future__ import annotations

from typing import ClassVar, Literal

from tuneoff.methods.houlsby import BottleneckMethod
from tuneoff.models.architecture import Layers


class Pfeiffer(BottleneckMethod):
    title: ClassVar[str] = "Pfeiffer adapters"
    summary: ClassVar[str] = "trains small networks behind the feed-forward part, and the head"
    reference: ClassVar[str] = "Pfeiffer et al. 2021 (AdapterFusion): 1e-4, a 16th of the width"
    starting_rate: ClassVar[float] = 2e-3

    method: Literal["pfeiffer"] = "pfeiffer"

    def behind(self, layers: Layers) -> tuple[str, ...]:
        return layers.feedforward[-1:]
