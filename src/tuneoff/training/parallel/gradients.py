"""Gradients of all processes added up, while the backward pass goes on."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

if TYPE_CHECKING:
    from tuneoff.training.parallel.ranks import Ranks

BUCKET_ELEMENTS = 1 << 24
"""Gradients are sent in buckets of about this size: fewer messages than one each, and the first leave early."""
APART = 16
"""In a bucket every gradient begins at a multiple of so many elements, where the optimiser's wide loads may."""


class GradientSums:
    """Sends a bucket of gradients to the other processes as soon as the backward pass has made all of them.

    A backward pass makes gradients from the last layer to the first, and so are buckets filled. All processes send the
    same buckets in the same order, which is what makes their messages meet: a bucket waits for those before it. In a
    CUDA graph the messages are part of it, on a branch of their own.

    Args:
        model: whose trained parameters have gradients.
        ranks: the run's processes.
    """

    def __init__(self, model: nn.Module, ranks: Ranks) -> None:
        self._ranks = ranks
        trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
        self._buckets = list(_in_buckets(reversed(trained)))
        self._bucket_of = {parameter: index for index, bucket in enumerate(self._buckets) for parameter in bucket}
        self._coming = False
        self._start()
        for parameter in trained:
            parameter.register_post_accumulate_grad_hook(self._arrived)

    @contextmanager
    def sent_as_they_come(self) -> Iterator[None]:
        """Inside, a gradient that a backward pass has made is finished."""
        self._coming = True
        try:
            yield
        finally:
            self._coming = False

    @torch.no_grad()
    def finish(self) -> None:
        """Sends what was not sent, since some of it had no gradient; gradients are then views of the sums."""
        while len(self._sent) < len(self._buckets):
            self._send()
        for parameters, flat, message in self._sent:
            if message is not None:
                message.wait()
            start = 0
            for parameter in parameters:
                end = start + parameter.numel()
                parameter.grad = flat[start:end].view_as(parameter)
                start = end + -end % APART
        self._start()

    def _start(self) -> None:
        self._missing = [len(bucket) for bucket in self._buckets]
        self._sent: list[tuple[list[nn.Parameter], torch.Tensor, Any]] = []

    @torch.no_grad()
    def _arrived(self, parameter: Any) -> None:
        if not self._coming:
            return
        self._missing[self._bucket_of[parameter]] -= 1
        while len(self._sent) < len(self._buckets) and not self._missing[len(self._sent)]:
            self._send()

    def _send(self) -> None:
        parameters = [parameter for parameter in self._buckets[len(self._sent)] if parameter.grad is not None]
        if not parameters:
            self._sent.append(([], torch.empty(0), None))
            return
        pieces: list[torch.Tensor] = []
        for parameter in parameters:
            assert parameter.grad is not None
            pieces.append(parameter.grad.flatten())
            if gap := -parameter.numel() % APART:
                pieces.append(parameter.grad.new_zeros(gap))
        flat = torch.cat(pieces)
        self._sent.append((parameters, flat, self._ranks.begin_all_reduce(flat)))


def _in_buckets(parameters: Iterable[nn.Parameter]) -> Iterator[list[nn.Parameter]]:
    bucket: list[nn.Parameter] = []
    filled = 0
    for parameter in parameters:
        if bucket and filled + parameter.numel() > BUCKET_ELEMENTS:
            yield bucket
            bucket, filled = [], 0
        bucket.append(parameter)
        filled += parameter.numel()
    if bucket:
        yield bucket
