"""The kind of record that this package is made of."""

from __future__ import annotations

from pydantic import ConfigDict

from tuneoff.core.frozen import Frozen


class Record(Frozen):
    """A frozen record whose fields are described by the texts below them.

    `docs/results-format.md` and `docs/schemas` are made from these texts by `tools/formats.py`.
    """

    model_config = ConfigDict(use_attribute_docstrings=True)
