"""The tests' own server of commands: it is used also once the tests' process has imported what commands import."""

from __future__ import annotations

import importlib
import os

import pytest

from commands import server_for


def test_what_libraries_set_when_they_are_imported_starts_no_interpreter_for_each_command() -> None:
    server = server_for("plan")
    if server is None:
        pytest.skip("commands cannot be forked here")
    for name in ("sklearn", "torch._inductor.compile_fx"):
        importlib.import_module(name)
    assert server.suits({**os.environ, "HF_HUB_OFFLINE": "1"})
    assert not server.suits({**os.environ, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"})
