"""Engines: how a batch lies in memory, and how a step is taken with it."""
