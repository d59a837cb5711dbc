"""What is known of prepared data, and its tokens."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field, ValidationError

from tuneoff.core.errors import UserError
from tuneoff.core.errors import damaged as damaged_file
from tuneoff.core.files import read_json
from tuneoff.core.frozen import Frozen
from tuneoff.data.cache import MANIFEST, PREPARED
from tuneoff.data.conventions import SPLITS
from tuneoff.data.parts import WHOLE, split_path

if TYPE_CHECKING:
    from tuneoff.data.tokens import Tokens


class PreparedPart(Frozen):
    """What is known of one part of a study's data: a fold, or a training size."""

    fingerprint: str
    """Hash of the tokens and labels of its splits."""
    sizes: dict[str, int]
    baselines: dict[str, Any]


class Prepared(Frozen):
    """What `data/prepared.json` says of a study's data; paths are not part of it, so that the folder can move.

    Of several training sizes, `sizes`, `tokens`, `cut_texts` and `baselines` are those of the largest. Of folds they
    are those of fold 0, but what concerns test is over all folds, in their order.
    """

    key: str
    """Hash of all that preparation depends on; equal keys mean that nothing needs to be done again."""
    fingerprint: str
    """Hash of the tokens and labels of all splits, of all parts."""
    model_fingerprint: str
    label_names: tuple[str, ...]
    sizes: dict[str, int]
    tokens: dict[str, int]
    cut_texts: dict[str, int]
    removed: dict[str, int]
    pad_token_id: int
    model_width: int
    """Of the model's hidden states, by which learning rates start (`tuneoff.study.rates`)."""
    baselines: dict[str, Any]
    findings: tuple[dict[str, Any], ...]
    parts: dict[str, PreparedPart] = Field(default_factory=dict)
    """By name, where the data has more parts than the whole."""

    def part(self, name: str) -> PreparedPart:
        """One part of the data, or the whole."""
        if name == WHOLE:
            return PreparedPart(fingerprint=self.fingerprint, sizes=self.sizes, baselines=self.baselines)
        return self.parts[name]


def load_tokens(data_folder: Path, part: str = WHOLE, splits: Sequence[str] = SPLITS) -> dict[str, Tokens]:
    """The stored tokens of a part's splits, memory-mapped; those that are not asked for are not opened."""
    from tuneoff.data.tokens import Tokens

    return {name: Tokens.load(data_folder / split_path(part, name)) for name in splits}


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
