"""The small interface between the training loop and what makes a step fast."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from tuneoff.data.tokens import Tokens

Step = tuple[NDArray[np.int64], float]
"""The rows of one optimiser step and its learning rate."""


class Engine(ABC):
    """Trains and evaluates one adapted model."""

    name: str
    """Recorded in `result.json`."""
    bucketed: bool
    """Whether the engine wants batches of similar lengths."""

    @abstractmethod
    def steps(self, tokens: Tokens, schedule: Sequence[Step]) -> Iterator[None]:
        """Carries out one optimiser step for each entry of `schedule`, yielding after each."""

    @abstractmethod
    def mean_loss(self) -> float:
        """Mean training loss over the examples since the last call; waits for the device."""

    @abstractmethod
    def logits(self, tokens: Tokens) -> NDArray[np.float32]:
        """Logits of every example in order, shape (examples, classes), without dropout or gradients."""
