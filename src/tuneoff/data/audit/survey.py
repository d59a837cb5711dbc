"""The one reading of all texts that the checks share; it keeps a few bytes a row."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from tuneoff.data.audit.minhash import PERMUTATIONS, signatures
from tuneoff.data.audit.noticed import LONGEST_EXAMPLE, MOST_EXAMPLES, Example
from tuneoff.data.audit.single_words import Markers, WordCounts
from tuneoff.data.audit.words import Words, hashes_of, tokens_of, words_of
from tuneoff.data.splits import Splits
from tuneoff.data.units import Numbers

if TYPE_CHECKING:
    import pyarrow as pa

MOST_ROWS = 50_000
"""Of a split that are looked at word by word, evenly spread."""
FIRST_CHARACTERS = 100
FIRST_TOKENS = {"as it stands": r"^(?P<token>\S+)", "without punctuation": r"^[^\pL\pN]*(?P<token>[\pL\pN]+)"}
SPLITTERS = {"word": words_of, "token": tokens_of}

CONTINUATION = "[\u0080-\u00bf€‚ƒ„…†‡ˆ‰Š‹ŒŽ‘’“”•–—˜™š›œžŸ]"
"""What a later byte of a UTF-8 character looks like in Latin-1 or Windows-1252."""
PATTERNS = {
    "encoding-damage": (
        "\ufffd|[\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f-\u009f]|"
        f"Ã{CONTINUATION}|Â[\u00a0-\u00bf]|â€{CONTINUATION}?|ðŸ{CONTINUATION}|ï»¿|(?:[ÐÑ]{CONTINUATION}){{2}}"
    ),
    "html-remnants": (
        r"(?i)<(?:br|hr)\s*/?>|</?(?:p|div|span|a|b|i|u|em|strong|ul|ol|li|img|font|table|tr|td|h[1-6]|script|style)"
        r"(?:\s[^<>]*)?/?>|&(?:amp|lt|gt|quot|apos|nbsp|#\d{1,6}|#x[0-9a-f]{1,6});"
    ),
}
"""By finding, what is looked for; written for RE2 and for Python alike."""


@dataclass
class Matches:
    """Rows whose texts match a pattern."""

    count: int
    examples: list[Example]


@dataclass(frozen=True)
class Survey:
    """What is known of a split's texts.

    Attributes:
        blank: numbers of the rows without text, by the column that should hold it.
        matches: by finding of `PATTERNS`.
        first_tokens: hashes, by kind of `FIRST_TOKENS`, uint32, shape (rows,).
        sampled: numbers of the rows that were looked at word by word.
        signatures: of those, shape (sampled, PERMUTATIONS).
        ranks: of those, which class's word was met first, by kind of `SPLITTERS`; empty for train.
    """

    blank: dict[str, Numbers]
    matches: dict[str, Matches]
    first_tokens: dict[str, NDArray[np.uint32]]
    sampled: Numbers
    signatures: NDArray[np.uint32]
    ranks: dict[str, NDArray[np.int64]]


@dataclass(frozen=True)
class Surveys:
    """All splits' surveys, and the words of classes as learnt on train, with their spelling, by kind of `SPLITTERS`."""

    of: dict[str, Survey]
    markers: dict[str, Markers]
    spelled: dict[str, dict[int, str]]


def survey(splits: Splits) -> Surveys:
    """Reads each split once, train first."""
    surveyor = _Surveyor(splits)
    of = {"train": surveyor.read("train")}
    surveyor.learn()
    of |= {name: surveyor.read(name) for name in splits.members if name != "train"}
    return Surveys(of, surveyor.markers, surveyor.spelled)


def columns_of(splits: Splits) -> list[str]:
    """The columns of texts that examples have."""
    return ["text"] if splits.rows.columns.text_pair is None else ["text", "text_pair"]


class _Surveyor:
    def __init__(self, splits: Splits) -> None:
        self._splits = splits
        self._columns = columns_of(splits)
        self._classes = len(splits.label_names) if splits.rows.label_table is None else 1
        self._counts = {kind: WordCounts(self._classes) for kind in SPLITTERS}
        self.markers: dict[str, Markers] = {}
        self.spelled: dict[str, dict[int, str]] = {kind: {} for kind in SPLITTERS}

    def learn(self) -> None:
        self.markers = {kind: counts.markers() for kind, counts in self._counts.items()}

    def read(self, name: str) -> Survey:
        rows = self._splits.members[name]
        sampled = rows
        if len(rows) > MOST_ROWS:
            sampled = rows[np.linspace(0, len(rows) - 1, MOST_ROWS).astype(np.int64)]
        blank: dict[str, list[Numbers]] = {column: [rows[:0]] for column in self._columns}
        matches = {finding: Matches(0, []) for finding in PATTERNS}
        tokens: dict[str, list[NDArray[np.uint32]]] = {kind: [] for kind in FIRST_TOKENS}
        signed = [np.empty((0, PERMUTATIONS), dtype=np.uint32)]
        ranks: dict[str, list[NDArray[np.int64]]] = {kind: [] for kind in SPLITTERS}
        for table in self._splits.tables(name, self._columns):
            numbers = table.column("row").to_numpy()
            texts = [table.column(column).combine_chunks() for column in self._columns]
            for column, values in zip(self._columns, texts, strict=True):
                blank[column].append(numbers[_blank(values)])
            for finding, matched in matches.items():
                _match(texts, PATTERNS[finding], matched)
            for kind, pattern in FIRST_TOKENS.items():
                tokens[kind].append(_first_tokens(texts[0], pattern))
            chosen = np.isin(numbers, sampled, assume_unique=True)
            if chosen.any():
                texts = texts if chosen.all() else [column.filter(chosen) for column in texts]
                words = [words_of(column) for column in texts]
                signed.append(signatures(words))
                labels = self._splits.rows.labels[numbers[chosen]]
                # Of labels that are no classes words are only counted, as if all were of one.
                self._look_at_words(texts, words, labels if self._classes > 1 else 0 * labels, name == "train", ranks)
        return Survey(
            blank={column: np.concatenate(found) for column, found in blank.items()},
            matches=matches,
            first_tokens={kind: np.concatenate(hashes) for kind, hashes in tokens.items()},
            sampled=sampled,
            signatures=np.concatenate(signed),
            ranks={kind: np.concatenate(found) for kind, found in ranks.items() if found},
        )

    def _look_at_words(
        self,
        texts: list[pa.Array],
        words: list[Words],
        labels: NDArray[np.int32],
        learning: bool,
        ranks: dict[str, list[NDArray[np.int64]]],
    ) -> None:
        """Counts the words of training texts; finds the classes' words in others."""
        for kind in SPLITTERS:
            found = words if kind == "word" else [tokens_of(column) for column in texts]
            if learning:
                self._counts[kind].add(_side_by_side(found), labels)
                continue
            met, spelled = self.markers[kind].apply(_side_by_side(found))
            ranks[kind].append(met)
            self.spelled[kind] |= spelled


def _side_by_side(columns: list[Words]) -> Words:
    """The words of both texts of each pair as those of one."""
    if len(columns) == 1:
        return columns[0]
    first, second = columns
    texts = np.concatenate([first.texts, second.texts])
    codes = np.concatenate([first.codes, second.codes + np.int32(len(first.spelled))])
    return Words(
        spelled=first.spelled + second.spelled,
        codes=codes[np.argsort(texts, kind="stable")],
        offsets=first.offsets + second.offsets,
        hashes=np.concatenate([first.hashes, second.hashes]),
    )


def _blank(texts: pa.Array) -> NDArray[np.bool_]:
    import pyarrow.compute as pc

    blank: NDArray[np.bool_] = pc.equal(pc.utf8_trim_whitespace(texts), "").to_numpy(zero_copy_only=False)
    return blank


def _match(texts: list[pa.Array], pattern: str, matches: Matches) -> None:
    import pyarrow.compute as pc

    found = [pc.match_substring_regex(column, pattern).to_numpy(zero_copy_only=False) for column in texts]
    any_found = np.logical_or.reduce(found)
    matches.count += int(any_found.sum())
    for index in np.flatnonzero(any_found)[: MOST_EXAMPLES - len(matches.examples)]:
        text = next(column[int(index)].as_py() for column, hits in zip(texts, found, strict=True) if hits[index])
        matches.examples.append(Example(note=_around(text, pattern)))


def _around(text: str, pattern: str) -> str:
    """The part of a text where it matches."""
    match = re.search(pattern, text)
    start = max(0, match.start() - LONGEST_EXAMPLE // 4) if match else 0
    return text[start : start + LONGEST_EXAMPLE]


def _first_tokens(texts: pa.Array, pattern: str) -> NDArray[np.uint32]:
    import pyarrow.compute as pc

    starts = pc.utf8_slice_codeunits(pc.utf8_ltrim_whitespace(texts), 0, FIRST_CHARACTERS)
    matched = pc.extract_regex(pc.utf8_lower(starts), pattern)
    tokens: pa.DictionaryArray = pc.fill_null(pc.struct_field(matched, [0]), "").dictionary_encode()
    return hashes_of(tokens.dictionary.to_pylist())[tokens.indices.to_numpy()]
