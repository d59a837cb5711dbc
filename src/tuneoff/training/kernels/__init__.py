"""Kernels of our own, and what puts them in the place of PyTorch's."""
