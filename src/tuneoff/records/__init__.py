"""Typed records of all that a study's folder holds, and of what modules hand on; see docs/results-format.md."""
