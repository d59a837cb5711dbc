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
from tuneoff.training.parallel import Alone

if TYPE_CHECKING:
    from tuneoff.training.engine import Engine


class Checkpoints:
    """Writes a run's checkpoint now and then, and finds it again. The first of the run's processes does so for all.

    Args:
        folder: the run's.
        run_id: a checkpoint of another run is not taken.
        every: a duration such as `5m`, a number of steps, or `epoch`.
        parallel: how the run uses its devices.
    """

    def __init__(self, folder: Path, run_id: str, every: str | int, parallel: Alone | None = None) -> None:
        parallel = parallel or Alone()
        self._path = folder / CHECKPOINT
        self._ranks = parallel.ranks
        self._of = {"run_id": run_id, "ranks": self._ranks.count if parallel.sharded else None}
        self._every_epoch = every == "epoch"
        self._steps = every if isinstance(every, int) else None
        self._seconds = parse_seconds(every) if isinstance(every, str) and not self._every_epoch else None
        self._written = time.monotonic()

    def load(self) -> dict[str, Any] | None:
        """What `save` was last given, or None where there is nothing usable; an unusable file is removed."""
        saved = self._load() if self._ranks.first else None
        if any(self._ranks.first_says([saved is not None])) and not self._ranks.first:
            saved = self._load()
        return saved

    def _load(self) -> dict[str, Any] | None:
        try:
            saved: dict[str, Any] = torch.load(self._path, map_location="cpu", weights_only=True)
        except FileNotFoundError:
            return None
        except (RuntimeError, EOFError, pickle.UnpicklingError, OSError) as error:
            print(f"{self._path.name} is damaged and left out: {error}", flush=True)
            saved = {}
        if {key: saved.get(key) for key in self._of} != self._of:
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
        state = engine.state()
        if self._ranks.first:
            buffer = io.BytesIO()  # torch.save hides what the operating system says of a full disk
            torch.save({**self._of, "engine": state, **progress}, buffer)
            with replacing(self._path) as temporary:
                temporary.write_bytes(buffer.getbuffer())
        self._ranks.wait()
        self._written = time.monotonic()
