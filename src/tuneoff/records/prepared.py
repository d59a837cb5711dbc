"""What is known of a study's prepared data: `data/prepared.json`."""

from __future__ import annotations

from pydantic import Field

from tuneoff.records.baselines import Baseline
from tuneoff.records.finding import Finding
from tuneoff.records.number_scale import NumberScale
from tuneoff.records.record import Record


class PreparedPart(Record):
    """What is known of one part of a study's data: a fold, or a training size."""

    fingerprint: str
    """hash of the tokens and labels of its splits"""
    sizes: dict[str, int]
    """examples by split"""
    baselines: dict[str, Baseline]
    """by name: `majority`, `tfidf`"""


class Prepared(Record):
    """What is known of a study's data; paths are not part of it, so that the folder can move.

    Of several training sizes, `sizes`, `tokens`, `cut_texts` and `baselines` are those of the largest. Of folds they
    are those of fold 0, but what concerns test is over all folds, in their order.
    """

    key: str
    """hash of all that preparation depends on; equal keys mean that nothing needs to be done again"""
    fingerprint: str
    """hash of the tokens and labels of all splits, of all parts"""
    other_fingerprints: dict[str, dict[str, str]] = Field(default_factory=dict)
    """by rule and part: those of what arms read of long texts, where that is not what `data.long_texts` says"""
    model_fingerprint: str
    """hash of the model's files"""
    text: str | None = None
    """the column of texts, named in the study or found; null in what an earlier version prepared"""
    text_pair: str | None = None
    """likewise of second texts; null where an example is one text"""
    label_names: tuple[str, ...]
    """of what a model learns to give, in order: classes, labels, or what the number is"""
    scale: NumberScale = NumberScale()
    """of numbers that are predicted; of folds that of fold 0's training examples"""
    sizes: dict[str, int]
    """examples by split"""
    tokens: dict[str, int]
    """tokens by split"""
    cut_texts: dict[str, int]
    """texts of which tokens go unread, by split"""
    removed: dict[str, int]
    """rows that were left out, by reason"""
    pad_token_id: int
    """the token that pads"""
    model_width: int
    """of the model's hidden states, by which learning rates start"""
    baselines: dict[str, Baseline]
    """by name: `majority`, `tfidf`"""
    findings: tuple[Finding, ...]
    """what the audit found"""
    parts: dict[str, PreparedPart] = Field(default_factory=dict)
    """by name, where the data has more parts than the whole"""

    def fingerprint_of(self, part: str, long_texts: str | None) -> str:
        """Hash of the tokens and labels of a part, or the whole.

        Args:
            part: its name; empty of the whole.
            long_texts: what is read of long texts, where that is not what the study says.
        """
        other = self.other_fingerprints.get(long_texts or "", {})
        return other.get(part, self.part(part).fingerprint)

    def part(self, name: str) -> PreparedPart:
        """One part of the data, or the whole, whose name is empty."""
        if not name:
            return PreparedPart(fingerprint=self.fingerprint, sizes=self.sizes, baselines=self.baselines)
        return self.parts[name]
