"""What it means that a tokenizer does not know what texts are made of; known once they are tokens."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING

from tuneoff.data.audit.noticed import MOST_EXAMPLES, percent, plural
from tuneoff.records.finding import Finding

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from tuneoff.data.splits import Splits
    from tuneoff.data.tokens import Tokens

MANY = 0.05
"""Share of all tokens from which a model misses more than stray characters."""


def unknown_findings(splits: Splits, tokens: Mapping[str, Tokens], definition: str) -> list[Finding]:
    """A finding where the tokenizer knows too little of the texts, such as emoji or another script.

    Args:
        splits: the splits.
        tokens: those of each split.
        definition: the tokenizer as JSON, see `tuneoff.data.encode.Encoder`.
    """
    import numpy as np
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_str(definition)
    model = json.loads(definition)["model"]
    mark = model.get("unk_token")
    code = model.get("unk_id") if mark is None else tokenizer.token_to_id(mark)
    if code is None:
        return []
    added = tokenizer.num_special_tokens_to_add(splits.rows.columns.text_pair is not None)
    own = np.concatenate([of_split.lengths - added * of_split.sequences for of_split in tokens.values()])
    unknown = np.concatenate([_counted(of_split, code) for of_split in tokens.values()])
    if unknown.sum() <= MANY * own.sum():
        return []
    rows = np.concatenate([splits.members[name] for name in tokens])
    most = np.lexsort((rows, -unknown / np.maximum(own, 1)))[:MOST_EXAMPLES]
    nothing = int((unknown == own).sum())
    hold = plural(nothing, "holds", "hold")
    alike = f"; {nothing:,} of {len(own):,} texts {hold} nothing else, and the model cannot tell such texts apart"
    return [
        Finding(
            name="unknown-tokens",
            severity="warning",
            split="all",
            count=int((unknown > 0).sum()),
            message=f"{percent(float(unknown.sum()), float(own.sum()))} of the texts' tokens are words or signs that "
            f"the model's tokenizer does not know{alike if nothing else ''}. What they say, no arm can learn, while a "
            "baseline of words can.",
            advice="Take a model that was made for this language or these signs (model.id).",
            examples=tuple(splits.rows.locate(rows[most].tolist())),
        )
    ]


def _counted(tokens: Tokens, code: int) -> NDArray[np.int64]:
    """How often a token is in each sequence, shape (examples,)."""
    import numpy as np

    before = np.concatenate([np.zeros(1, dtype=np.int64), np.cumsum(tokens.ids == code)])
    return np.diff(before[tokens.offsets])
