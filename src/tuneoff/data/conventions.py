"""What columns and splits are usually called."""

from __future__ import annotations

SPLITS = ("train", "validation", "test")
TEXTS = ("text", "sentence", "review", "content", "comment", "document", "tweet", "body", "message", "utterance")
LABELS = (
    "label",
    "labels",
    "class",
    "category",
    "target",
    "sentiment",
    "stars",
    "rating",
    "intent",
    "topic",
    "coarse_label",
    "team",
    "queue",
    "department",
    "kategorie",
    "thema",
    "bereich",
    "catégorie",
    "categoría",
    "gold_label",
    "emotion",
    "genre",
    "section",
    "klasse",
    "abteilung",
    "zuständigkeit",
    "stimmung",
    "bewertung",
)
PEOPLE = ("agent", "assignee", "user", "author", "annotator", "worker", "customer", "bearbeiter", "owner", "handler")
STATES = (
    "status",
    "state",
    "channel",
    "kanal",
    "priority",
    "date",
    "time",
    "created",
    "updated",
    "eingang",
    "language",
    "lang",
    "sprache",
    "locale",
    "country",
    "land",
    "region",
    "source",
    "quelle",
    "publisher",
    "platform",
    "device",
    "version",
    "month",
    "monat",
    "year",
    "jahr",
    "gender",
    "age",
)
"""Words in the names of columns that say who or how, and seldom what a text is about."""
PAIRS = (
    ("sentence1", "sentence2"),
    ("premise", "hypothesis"),
    ("question1", "question2"),
    ("question", "sentence"),
    ("question", "passage"),
    ("text1", "text2"),
    ("text_a", "text_b"),
    ("sentence_a", "sentence_b"),
    ("query", "passage"),
    ("query", "document"),
    ("question", "answer"),
)
"""Names of columns, more usual ones first; compared without regard to case."""
SPLIT_WORDS = {"train": 0, "training": 0, "validation": 1, "valid": 1, "val": 1, "dev": 1, "test": 2}
"""What a column or a name may say of splits, and the index of each in `SPLITS`."""
