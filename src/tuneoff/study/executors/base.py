"""What every executor does, seen from the driver of a study."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, ClassVar, Self

if TYPE_CHECKING:
    from tuneoff.runs.allocation import Allocation
    from tuneoff.runs.progress import RunProgress
    from tuneoff.runs.task import Outcome, RunTask
    from tuneoff.spec import ExecutionSpec, TrainingSpec


@dataclass(frozen=True)
class Event:
    """What is new of a run: how far it is, its outcome, or a line for whoever follows the study."""

    run_id: str
    progress: RunProgress | None = None
    outcome: Outcome | None = None
    note: str | None = None


class Executor(ABC):
    """Carries out runs, each in a fresh process. Used as a context: at its end nothing is left running.

    Args:
        execution: the study's `[execution]`.
        training: the study's `[training]`.
    """

    name: ClassVar[str | None] = None
    """What `execution.executor` calls it."""
    computes_here: ClassVar[bool] = True
    """Whether runs compute on this machine, so that it shows here what they can do."""
    allocation: Allocation
    """What each run computes on; its id says so, so this is the same whenever the study is carried out there again."""

    def __init__(self, execution: ExecutionSpec, training: TrainingSpec) -> None:
        self.execution = execution
        self._training = training

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @classmethod
    def registered_name(cls) -> str | None:
        """What `execution.executor` calls it."""
        return cls.name

    @classmethod  # noqa: B027  # an executor may have nothing of the kind
    def warm_up(cls) -> None:
        """Begins what takes long before the first run can start, and does not wait for it."""

    @property
    def shareable_bytes(self) -> int | None:
        """Memory of each GPU where runs go on side by side as far as it goes; None where each has its device alone."""
        return None

    @abstractmethod
    def has_room(self, task: RunTask) -> bool:
        """Whether this run can be started now."""

    @abstractmethod
    def start(self, task: RunTask) -> None:
        """Starts a run; only where there is room."""

    @abstractmethod
    def events(self, timeout: float) -> list[Event]:
        """What has happened since the last call; waits up to `timeout` seconds for something to happen."""

    @abstractmethod
    def stop(self) -> None:
        """Asks all runs to write a checkpoint and end; their outcomes still arrive as events."""

    @abstractmethod
    def close(self) -> None:
        """Ends what still runs, at once."""
