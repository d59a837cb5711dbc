"""Random words by PyTorch's own operations, for dropout on a CUDA device without our kernel."""

from __future__ import annotations

import torch


def _signed(word: int) -> int:
    return word - (1 << 64)


GOLDEN_GAMMA = _signed(0x9E3779B97F4A7C15)
MULTIPLIERS = _signed(0xBF58476D1CE4E5B9), _signed(0x94D049BB133111EB)


def random_words(count: int, seed: torch.Tensor) -> torch.Tensor:
    """Random 64-bit words, each a function of the seed and its place; shape (count,), int64.

    PyTorch's generators are seeded from the host, which a CUDA graph does not go back to; and gradient checkpointing
    could not find their masks again inside one.

    Args:
        count: of words.
        seed: shape (), int64; read on its device.

    Source: Steele, Lea and Flood 2014 (Fast splittable pseudorandom number generators): SplitMix64.
    """
    places = torch.arange(1, count + 1, device=seed.device)
    return _mix(places * GOLDEN_GAMMA + _mix(seed))  # mixed, since the seeds of steps are neighbours


def _mix(words: torch.Tensor) -> torch.Tensor:
    words = (words ^ _shifted(words, 30)) * MULTIPLIERS[0]
    words = (words ^ _shifted(words, 27)) * MULTIPLIERS[1]
    return words ^ _shifted(words, 31)


def _shifted(words: torch.Tensor, bits: int) -> torch.Tensor:
    """Shifted to the right as if unsigned."""
    return (words >> bits) & ((1 << (64 - bits)) - 1)
