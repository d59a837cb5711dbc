"""Of what kind a task's labels are, whoever has added the task."""

from __future__ import annotations

from typing import Literal

LabelKind = Literal["class", "labels", "number"]
"""One class an example, any number of labels, or a number."""
