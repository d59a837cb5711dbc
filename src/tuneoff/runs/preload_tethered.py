"""As `preload`, for a fork server that ends with its driver."""

from __future__ import annotations

import importlib

from tuneoff.core.parent_death import tether

tether()
importlib.import_module("tuneoff.runs.preload")
