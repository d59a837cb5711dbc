"""Checkpoints within a run: all that the steps to come depend on, so that a resumed run ends in the same bits."""

from __future__ import annotations

import io
import pickle
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from tuneoff.files import replacing
from tuneoff.quantities import parse_seconds
from tuneoff.study.store import CHECKPOINT

if TYPE_CHECKING:
    from tuneoff.training.engine import Engine


class Checkpoints:
    """Writes a run's checkpoint now and then, and finds it again.

    Args:
        folder: the run's.
        run_id: a checkpoint of another run is not taken.
        every: a duration such as `5m`, a number of steps, or `epoch`.
    """

    def __init__(self, folder: Path, run_id: str, every: str | int) -> None:
        self._path = folder / CHECKPOINT
        self._run_id = run_id
        self._every_epoch = every == "epoch"
        self._steps = every if isinstance(every, int) else None
        self._seconds = parse_seconds(every) if isinstance(every, str) and not self._every_epoch else None
        self._written = time.monotonic()

    def load(self) -> dict[str, Any] | None:
        """What `save` was last given, or None where there is nothing usable; an unusable file is removed."""
        try:
            saved: dict[str, Any] = torch.load(self._path, map_location="cpu", weights_only=True)
        except FileNotFoundError:
            return None
        except (RuntimeError, EOFError, pickle.UnpicklingError, OSError) as error:
            print(f"{self._path.name} is damaged and left out: {error}", flush=True)
            saved = {}
        if saved.get("run_id") != self._run_id:
            self._path.unlink()
            return None
        return saved

    def due(self, step: int, end_of_epoch: bool = False) -> bool:
        """Whether a checkpoint should be written after `step` steps."""
        if self._every_epoch:
            return end_of_epoch
        if self._steps is not None:
            return not end_of_epoch and step % self._steps == 0
        assert self._seconds is not None
        return time.monotonic() - self._written >= self._seconds

    def save(self, engine: Engine, progress: dict[str, Any]) -> None:
        """Writes the engine's state and the run's progress, atomically."""
        buffer = io.BytesIO()  # torch.save hides what the operating system says of a full disk
        torch.save({"run_id": self._run_id, "engine": engine.state(), **progress}, buffer)
        with replacing(self._path) as temporary:
            temporary.write_bytes(buffer.getbuffer())
        self._written = time.monotonic()
