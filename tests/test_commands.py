"""That commands of tests are forked: where they are not, all tests pass and take twice as long."""

from __future__ import annotations

import os

import pytest

from command_forkserver import import_all
from commands import DEVICES, server_for
from tuneoff.cli.predict import PROCESS


@pytest.mark.skipif(DEVICES.exists() or not hasattr(os, "pidfd_open"), reason="commands are not forked here")
def test_a_command_is_forked_whatever_tests_have_imported_and_called() -> None:
    import_all(hub=True)
    server = server_for("run")
    assert server is not None
    assert server.suits({**os.environ, "HF_HUB_OFFLINE": "1"})
    assert server.suits({**os.environ, **PROCESS, "TOKENIZERS_PARALLELISM": "false", "HF_HUB_OFFLINE": "1"})
    assert not server.suits({**os.environ, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "3"})
