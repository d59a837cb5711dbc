"""Checkpoints within a run: all that the steps to come depend on, so that a resumed run ends in the same bits."""

from __future__ import annotations

import time
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from tuneoff.core.files import writing
from tuneoff.core.quantities import parse_seconds
from tuneoff.training.parallel.devices import SingleDevice

if TYPE_CHECKING:
    from tuneoff.training.engines.base import Engine, Saved


CHECKPOINT_VERSION = 4


class Checkpoints:
    """Writes a run's checkpoint now and then, and finds it again. The first of the run's processes does so for all.

    Args:
        path: of the file.
        run_id: a checkpoint of another run is not taken.
        every: a duration such as `5m`, a number of steps, or `epoch`.
        parallel: how the run uses its devices.
    """

    def __init__(self, path: Path, run_id: str, every: str | int, parallel: SingleDevice | None = None) -> None:
        parallel = parallel or SingleDevice()
        self._path = path
        self._ranks = parallel.ranks
        self._of = {
            "version": CHECKPOINT_VERSION,
            "run_id": run_id,
            "ranks": self._ranks.world_size if parallel.sharded else None,
        }
        self._every_epoch = every == "epoch"
        self._steps = every if isinstance(every, int) else None
        self._seconds = parse_seconds(every) if isinstance(every, str) and not self._every_epoch else None
        self._written = time.monotonic()

    def load(self, micro_batch: int) -> Saved | None:
        """What `save` was last given, with the engine's state in `engine` and the `micro_batch` it was reached with.

        Args:
            micro_batch: the most sequences that are to be computed at once; what was reached with more is not taken.

        Returns:
            None where there is nothing usable. A file that is not usable is removed, and the log says why.
        """
        saved = self._load(micro_batch) if self._ranks.first else None
        if any(self._ranks.broadcast([saved is not None])) and not self._ranks.first:
            saved = self._load(micro_batch)
        return saved

    def _load(self, micro_batch: int) -> Saved | None:
        try:
            saved = self._read()
            why = _why_not(saved, self._of, micro_batch)
        except FileNotFoundError:
            return None
        except Exception as error:  # there is no saying what zipfile and torch make of a damaged file
            saved, why = {}, f"it is damaged ({type(error).__name__}: {error})".splitlines()[0]
        if why is None:
            return saved
        print(f"{self._path.name} is left out, and the run starts anew: {why}", flush=True)
        self._path.unlink()
        return None

    def _read(self) -> Saved:
        with zipfile.ZipFile(self._path) as archive:
            damaged = archive.testzip()  # torch does not look at checksums
        if damaged is not None:
            raise zipfile.BadZipFile(f"the checksum of {damaged} is wrong")
        saved: Saved = torch.load(self._path, map_location="cpu", weights_only=True, mmap=True)
        return saved

    def due(self, step: int, end_of_epoch: bool = False) -> bool:
        """Whether a checkpoint should be written after `step` steps."""
        if self._every_epoch:
            return end_of_epoch
        if self._steps is not None:
            return not end_of_epoch and step % self._steps == 0
        assert self._seconds is not None
        return time.monotonic() - self._written >= self._seconds

    def save(self, engine: Engine, progress: Saved) -> None:
        """Writes the engine's state and the run's progress, atomically."""
        state = engine.state()
        if self._ranks.first:
            content = {**self._of, "micro_batch": engine.micro_batch, "engine": state, **progress}
            with writing(self._path) as writer:
                torch.save(content, writer)  # type: ignore[arg-type]  # nothing else of a file is used
        self._ranks.barrier()
        self._written = time.monotonic()


def _why_not(saved: Saved, wanted: Saved, micro_batch: int) -> str | None:
    """Why a run cannot go on from a checkpoint that is whole."""
    if saved.get("version") != wanted["version"]:
        return "it was written by another version of tuneoff"
    if saved.get("run_id") != wanted["run_id"]:
        return "it belongs to another run"
    if saved.get("ranks") != wanted["ranks"]:
        return f"it was written by {saved['ranks']} processes, each with a share of the weights, not {wanted['ranks']}"
    if saved["micro_batch"] > micro_batch:
        return f"it was reached with {saved['micro_batch']} sequences at once, not {micro_batch}"
    return None
