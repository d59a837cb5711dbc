"""The names of all findings; light, because the study file is checked against them."""

from __future__ import annotations

from typing import Literal

AcceptableFinding = Literal[
    "sentinel-label",
    "one-class-split",
    "test-in-train",
    "empty-text",
    "leak-length",
    "leak-first-token",
    "leak-single-word",
    "leak-row-order",
]
"""Findings that can be errors, which `data.accept` may name."""

FINDINGS: dict[str, str] = {
    "sentinel-label": "a label that means none, such as -1, -100 or nan, or one that the data does not declare",
    "one-class-split": "all examples of a split have the same label, so that any model scores 0% or 100%",
    "missing-class": "a class has no example in a split",
    "labels-alike": "labels that differ in case, leading zeros or the space between words alone",
    "ordered-labels": "labels that are steps of a scale, or numbers to predict, whose order is not used",
    "several-labels": "labels or columns that hold several classes an example, where the study is of one",
    "missing-header": "a file's first line looks like an example, not like names of columns",
    "other-columns": "columns that could be texts or labels as well",
    "dropped-rows": "rows that the study leaves out, because it says so",
    "class-balance": "how many examples each class has; a warning where one has very few",
    "label-counts": "how many examples each of several labels has; a warning where one has very few",
    "numbers": "how the numbers that are predicted are spread; a warning where some are far from all others",
    "length-by-class": "how long the texts of each class are",
    "test-in-train": "test or validation texts that the model has seen before, to the letter",
    "near-test-in-train": "test or validation texts that are nearly the same as one seen before",
    "duplicates": "texts that a split holds more than once",
    "near-duplicates": "texts of a split that are nearly the same as an earlier one",
    "conflicting-labels": "the same text with different labels; with deduplicate, which label was kept",
    "empty-text": "texts without a character, or of white space only",
    "encoding-damage": "texts that were read or saved in a wrong encoding, or hold control characters",
    "html-remnants": "texts with HTML tags or entities",
    "leak-length": "the length of a text gives its label, or its number, away",
    "leak-first-token": "the first word of a text gives its label away",
    "leak-single-word": "one word for each class gives the label away",
    "leak-row-order": "rows are sorted by label; an error where splits were cut out of them in that order",
    "truncation": "texts that are longer than the model was told to read",
    "unknown-tokens": "words or signs that the model's tokenizer does not know are more than 5% of the texts",
    "baseline-high": "a baseline, a model that is trivial or cheap, is nearly always right",
    "baseline-near-best": "a baseline is as good as the best arm, or within a point of it",
}
"""One line for each finding, errors and what is about the test score first."""
