"""What is read of texts that are longer than a model shall read at once."""

from __future__ import annotations

from typing import Final, Literal

LongTexts = Literal["head", "tail", "head+tail", "windows", "windows-max"]
"""`head`, `tail`: their beginning or end; `head+tail`: half of each; `windows`: all, in windows of equal length, whose
logits are averaged; `windows-max`: the same, with the greatest logit of each class."""

OverWindows = Literal["mean", "max"]
"""What becomes of the logits of a text's windows."""

OVER_WINDOWS: Final[dict[LongTexts, OverWindows]] = {"windows": "mean", "windows-max": "max"}
"""Of the rules that read a text in windows."""

BY_TOKENIZER: Final[tuple[LongTexts, ...]] = ("head", "tail")
"""What a tokenizer cuts by itself, pairs of texts too."""

WORDS: Final[dict[LongTexts, str]] = {
    "head": "what is longer is cut at its end",
    "tail": "what is longer is cut at its beginning",
    "head+tail": "of what is longer the beginning and the end are read, half of each",
    "windows": "what is longer is read in windows of equal length, whose logits are averaged",
    "windows-max": "what is longer is read in windows of equal length, and the greatest logit of each class is taken",
}
"""What becomes of a text that is longer than a model reads at once."""
