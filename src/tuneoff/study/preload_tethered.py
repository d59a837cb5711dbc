"""As `preload`, for a fork server that ends with its driver."""

from __future__ import annotations

import importlib

from tuneoff.study.tether import tether

tether()
importlib.import_module("tuneoff.study.preload")
