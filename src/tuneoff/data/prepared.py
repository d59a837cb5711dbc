"""What is known of prepared data, and its tokens."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import ValidationError

from tuneoff.core.errors import UserError
from tuneoff.core.errors import damaged as damaged_file
from tuneoff.core.files import read_json
from tuneoff.core.long_texts import LongTexts
from tuneoff.data.cache import MANIFEST, PREPARED
from tuneoff.data.conventions import SPLITS
from tuneoff.data.parts import WHOLE, tokens_path
from tuneoff.records.prepared import Prepared

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from tuneoff.data.tokens import Tokens


TARGETS = "targets.npy"
"""What each label's code stands for, float64, shape (codes, outputs); absent where a code is a class."""


def load_targets(data_folder: Path) -> NDArray[np.float64] | None:
    """What the codes of labels stand for; None where they are classes."""
    import numpy as np

    path = data_folder / TARGETS
    return np.load(path) if path.exists() else None


def load_tokens(
    data_folder: Path, long_texts: LongTexts, part: str = WHOLE, splits: Sequence[str] = SPLITS
) -> dict[str, Tokens]:
    """The stored tokens of a part's splits as a rule reads them, memory-mapped; splits not asked for are not opened."""
    from tuneoff.data.tokens import Tokens

    return {name: Tokens.load(data_folder / tokens_path(part, name, long_texts), long_texts) for name in splits}


def read_prepared(study_folder: Path) -> Prepared:
    """What `data/prepared.json` of a study's folder says.

    Raises:
        UserError: where it is missing or damaged, or an earlier version of Tuneoff wrote it.
    """
    path = study_folder / "data" / PREPARED
    try:
        return Prepared.model_validate(read_json(path))
    except ValidationError as error:
        if all(one["type"] in ("missing", "extra_forbidden") for one in error.errors()):
            again = shlex.join(["tuneoff", "run", str(study_folder / "study.toml"), "--out", str(study_folder)])
            raise UserError(
                f"{path} was written by another version of Tuneoff; `{again}` prepares the data again, and keeps the "
                "results that still hold"
            ) from error
        raise damaged_file(path, error) from error
    except (OSError, ValueError) as error:
        raise damaged_file(path, error) from error


def stored(data_folder: Path) -> Prepared | None:
    """What an earlier preparation left, or None where it came to no end, or was that of another version."""
    if not (data_folder / MANIFEST).exists():
        return None
    try:
        return Prepared.model_validate(read_json(data_folder / PREPARED))
    except (FileNotFoundError, ValueError, ValidationError):
        return None
