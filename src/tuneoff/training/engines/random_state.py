"""PyTorch's random states, put back after something that was tried."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def random_state_kept(device: torch.device) -> Iterator[None]:
    """Afterwards PyTorch's generators, the host's and that of `device`, are as before, also after an error."""
    state = torch.get_rng_state()
    try:
        if device.type == "cuda":
            with _kept_on_cuda():
                yield
        else:
            yield
    finally:
        torch.set_rng_state(state)


@contextmanager
def _kept_on_cuda() -> Iterator[None]:
    generator = torch.cuda.default_generators[torch.cuda.current_device()]
    before = generator.clone_state()
    try:
        yield
    except BaseException:
        # A capture that fails leaves the state believing that it is captured, and refusing to draw. It is replaced.
        generator.graphsafe_set_state(before)
        raise
    # Graphs hold on to the state that they were captured with. Its content is replaced.
    generator.set_state(before.get_state())
