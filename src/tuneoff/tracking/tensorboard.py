"""TensorBoard: event files in the study's folder."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tuneoff.core.files import replacing_directory
from tuneoff.tracking.base import (
    TABLE,
    Tracked,
    Tracker,
    Value,
    numbers,
    require,
    run_config,
    run_curve,
    run_outcome,
    study_charts,
    study_outcome,
    study_table,
)

if TYPE_CHECKING:
    from tuneoff.analysis.results import StudyResults
    from tuneoff.records.run import RunResult
    from tuneoff.spec import StudySpec

STUDY_FOLDER = "study"


class TensorboardTracker(Tracker):
    """A folder of event files a run, `tensorboard/<run id>`, and `tensorboard/study`; each is whole or absent."""

    name = "tensorboard"

    def __init__(self, study: Tracked) -> None:
        super().__init__(study)
        self._folder = study.folder / "tensorboard"

    @classmethod
    def check(cls, spec: StudySpec) -> bool:
        require("tensorboard", "tensorboard")
        return True

    def waits_for_server(self) -> bool:
        return False

    def track_run(self, result: RunResult) -> None:
        from tensorboard.plugins.hparams.summary_v2 import hparams_pb  # `api` would bring TensorFlow

        with self._writing(result.run_id) as events:
            events.add(hparams_pb(run_config(self._study, result), trial_id=result.run_id))
            for step, values in run_curve(result):
                events.add_numbers(values, step)
            events.add_numbers(_summary(run_outcome(result)), result.steps)

    def track_study(self, results: StudyResults) -> None:
        from PIL import Image
        from tensorboard.compat.proto.summary_pb2 import Summary
        from tensorboard.plugins.text.summary_v2 import text_pb

        with self._writing(STUDY_FOLDER) as events:
            events.add_numbers(_summary(study_outcome(results.summary)))
            events.add(text_pb("arms", _markdown(study_table(results.summary))))
            for path in study_charts(results):
                with Image.open(path) as image:
                    width, height = image.size
                drawing = Summary.Image(encoded_image_string=path.read_bytes(), width=width, height=height)
                events.add(Summary(value=[Summary.Value(tag=f"charts/{path.stem}", image=drawing)]))

    def where(self) -> str:
        return f"tensorboard --logdir {self._folder}"

    @contextmanager
    def _writing(self, name: str) -> Iterator[_Events]:
        with replacing_directory(self._folder / name) as temporary:
            events = _Events(temporary)
            try:
                yield events
            finally:
                events.close()


class _Events:
    """One file of events."""

    def __init__(self, folder: Path) -> None:
        from tensorboard.summary.writer.event_file_writer import EventFileWriter

        self._writer = EventFileWriter(str(folder))

    def add(self, summary: Any, step: int = 0) -> None:
        """Adds one of TensorBoard's summaries."""
        from tensorboard.compat.proto.event_pb2 import Event

        self._writer.add_event(Event(wall_time=time.time(), step=step, summary=summary))

    def add_numbers(self, values: Mapping[str, float], step: int = 0) -> None:
        """Adds a point of a curve for each."""
        from tensorboard.plugins.scalar.summary_v2 import scalar_pb

        for name, value in values.items():
            self.add(scalar_pb(name, value), step)

    def close(self) -> None:
        """Writes all of it."""
        self._writer.close()


def _summary(values: Mapping[str, Value]) -> dict[str, float]:
    return {f"summary/{name}": value for name, value in numbers(values).items()}


def _markdown(table: list[dict[str, Value | None]]) -> str:
    rows = [list(TABLE), ["---"] * len(TABLE), *([str(row[column]) for column in TABLE] for row in table)]
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)
