"""Executors: where the runs of a study are carried out. Each file here defines one."""

from __future__ import annotations

from tuneoff.study.executors.base import Event, Executor
from tuneoff.study.executors.local import LocalExecutor
from tuneoff.study.executors.ray import RayExecutor

__all__ = ["EXECUTORS", "Event", "Executor"]

EXECUTORS: dict[str, type[Executor]] = {"local": LocalExecutor, "ray": RayExecutor}
