"""Data as it should not be: each kind is a real file, and gets one clear line or is read as it says here."""

from __future__ import annotations

import gzip
import json
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from conftest import Command, study_toml
from tuneoff.core.errors import UserError
from tuneoff.data.collect import collect_rows
from tuneoff.data.sources.files import FilesData
from tuneoff.data.splits import Splits, make_splits

Content = str | bytes | pd.DataFrame | Callable[[Path], object]
ROWS = "".join(f"text {row},{'good' if row % 2 else 'bad'}\n" for row in range(40))
CSV = f"text,label\n{ROWS}"
OBJECTS: list[dict[str, Any]] = [{"text": f"text {row}", "label": row % 2} for row in range(40)]


def jsonl(*more: dict[str, Any]) -> str:
    return "".join(json.dumps(record) + "\n" for record in [*OBJECTS, *more])


def frame(**columns: Any) -> pd.DataFrame:
    return pd.DataFrame(
        {"text": [f"text {row}" for row in range(40)], "label": [row % 2 for row in range(40)], **columns}
    )


def cut_parquet(path: Path) -> None:
    frame().to_parquet(path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def damaged_parquet(path: Path) -> None:
    frame().to_parquet(path)
    content = bytearray(path.read_bytes())
    content[4:300] = bytes(296)
    path.write_bytes(content)


def unreadable(path: Path) -> None:
    if os.geteuid() == 0:
        pytest.skip("root may read everything")
    path.write_text(CSV)
    path.chmod(0)


def ten_megabytes(path: Path) -> None:
    path.write_text(f"{CSV}{'long ' * 2_000_000},good\n")


def endless_cell(path: Path) -> None:
    with path.open("w") as file:
        file.write(f'{CSV}"')
        for _ in range(1000):
            file.write("long\n" * 14_000)


def invalid_texts(path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    texts = pa.array([b"caf\xe9"] * 40).view(pa.string())
    pq.write_table(pa.table({"text": texts, "label": pa.array([0, 1] * 20)}), path)


def saved_and_damaged(path: Path) -> None:
    path.mkdir()
    (path / "state.json").write_text("{")


@dataclass(frozen=True)
class Case:
    """Files by name, and what is to come of them: a part of the message, or a check of the splits.

    The first file is `train`, unless `options` name another.
    """

    files: dict[str, Content]
    expected: str | Callable[[Splits], object]
    options: dict[str, Any] = field(default_factory=dict)


def csv(content: Content, expected: str | Callable[[Splits], object], **options: Any) -> Case:
    return Case({"data.csv": content}, expected, options)


def lines(content: Content, expected: str | Callable[[Splits], object], **options: Any) -> Case:
    return Case({"data.jsonl": content}, expected, options)


def parquet(content: Content, expected: str | Callable[[Splits], object], **options: Any) -> Case:
    return Case({"data.parquet": content}, expected, options)


def texts(splits: Splits) -> list[str]:
    return [text for table in splits.rows.tables() for text in table.column("text").to_pylist()]


CASES: dict[str, Case] = {
    # quotes and rows
    "text after a closing quote": csv(f'{CSV}"so "called" friend",good\n', "line 42 has text after a closing quote"),
    "unterminated quote": csv(f'{CSV}"never closed,good\n{ROWS}', "the row that begins in line 42 opens a quote"),
    "row with too many cells": csv(f"{CSV}well, yes,good\n", "row in line 42 has 3 cells, but the header has 2"),
    "row with too few cells": csv(f"{CSV}text alone\n{ROWS}", "row in line 42 has 1 cells, but the header has 2"),
    "semicolons for commas": csv(
        CSV.replace(",", ";"), "separated by ';', not by ','; set data.format.separator = \";\""
    ),
    "commas in a .tsv": Case({"data.tsv": CSV}, "separated by ',', not by '\\t'; set data.format.separator"),
    "quotes within a cell": csv(f'{CSV}5" screen,good\n', lambda splits: texts(splits)[-1] == '5" screen'),
    # encodings
    "latin-1": csv(CSV.replace("text 7", "café").encode("latin-1"), "line 9 is not UTF-8 (its byte 4 is 0xE9)"),
    "mixed encodings": csv(f"{CSV}größe,good\n".encode() + "größe,good\n".encode("cp1252"), "line 43 is not UTF-8"),
    "latin-1 in JSON Lines": lines(b'{"text": "caf\xe9", "label": 1}\n', "line 1 is not UTF-8"),
    "UTF-16 with a byte order mark": csv(CSV.encode("utf-16"), lambda splits: texts(splits)[0] == "text 0"),
    "UTF-16 without one": csv(CSV.encode("utf-16-le"), "line 1 holds a NUL character"),
    "UTF-16 that is cut": csv(CSV.encode("utf-16")[:-1], "is not valid UTF-16"),
    "NUL bytes": csv(CSV.replace("text 3", "te\0xt"), "line 5 holds a NUL character"),
    "half a character": lines(jsonl() + '{"text": "\\ud83d", "label": 1}\n', "line 41 holds half of a character"),
    "invalid UTF-8 in Parquet": parquet(invalid_texts, "cannot be read: In column 0: Invalid: Invalid UTF8"),
    # not a file of that kind
    "a directory": csv(Path.mkdir, "is a folder, and not one that `datasets` saved"),
    "a damaged saved folder": csv(saved_and_damaged, "cannot be read as a folder"),
    "an empty file": csv("", "is empty; its first line must name the columns"),
    "an empty JSON Lines file": lines("", "is empty; write its examples as an array"),
    "an empty Parquet file": parquet(b"", "is not a Parquet file"),
    "a header alone": csv("text,label\n", "there are no rows"),
    "a Parquet file without rows": parquet(frame().head(0), "there are no rows"),
    "blank lines alone": csv("\n  \n\n", "is empty"),
    "a missing file": csv(CSV, "there is no file", train="nowhere.csv"),
    "a pattern without a match": csv(CSV, "no file is named like", train="*.tsv"),
    "an unknown suffix": Case({"data.dat": CSV}, "its name ends in '.dat', which is none of .csv, .tsv, .json"),
    "an empty JSON array": Case({"data.json": "[]"}, "is empty; write its examples as an array of objects"),
    "no suffix": Case({"data": CSV}, 'data.format = { separator = "," }, probably'),
    "no suffix and no cells": Case({"data": "a\nb\n"}, "say what it is with data.format.kind or data.format.separator"),
    "a Parquet file cut in half": parquet(cut_parquet, "is cut short"),
    "a damaged Parquet file": parquet(damaged_parquet, "cannot be read"),
    "a text file called .parquet": parquet(CSV, "is not a Parquet file"),
    "a Parquet file called .csv": csv(lambda path: frame().to_parquet(path), "let its name end in .parquet"),
    "an Excel workbook called .csv": csv(b"PK\x03\x04 and so on", "an Excel workbook, and damaged"),
    "a gzip file called .csv": csv(gzip.compress(CSV.encode()), "let its name end in .gz"),
    "a text file called .gz": Case({"data.csv.gz": CSV}, "is not gzipped"),
    "a cut gzip file": Case({"data.csv.gz": gzip.compress(CSV.encode())[:-20]}, "cut short or damaged"),
    "a symlink loop": csv(lambda path: path.symlink_to(path), "is a link that leads nowhere"),
    "a file that may not be read": csv(unreadable, "Permission denied"),
    # JSON Lines
    "a broken line": lines(f'{jsonl()}{{"text": "a", "label": \n', "line 41 is not one whole JSON object"),
    "a JSON array": lines(json.dumps(OBJECTS), lambda splits: texts(splits) == [f"text {row}" for row in range(40)]),
    "an array over several lines": lines(json.dumps(OBJECTS, indent=1), lambda splits: len(splits.rows) == 40),
    "an array that is not closed": lines(json.dumps(OBJECTS)[:-1], "object 40 of its array cannot be read: the array"),
    "an array cut within an object": lines(json.dumps(OBJECTS)[:-9], "object 40 of its array cannot be read"),
    "an array without a comma": lines(
        json.dumps(OBJECTS).replace("}, {", "} {", 1), "a comma is missing after object 1"
    ),
    "something after an array": lines(json.dumps(OBJECTS) + "[]", "something follows the end of its array"),
    "an array of numbers": lines("[1, 2]", "item 1 of its array is no object but '1'"),
    "an array in an object": lines(
        json.dumps({"rows": OBJECTS}), "none of its columns (rows) has a usual name; say with data.label", text="rows"
    ),
    "one object over several lines": lines(
        json.dumps(OBJECTS[0], indent=1), "holds a single object, with text, label; write its examples as an array"
    ),
    "objects over several lines": lines(
        "".join(json.dumps(record, indent=1) for record in OBJECTS), "line 1 is not one whole JSON object: Expecting"
    ),
    "a number for an object": lines(f"{jsonl()}17\n", "line 41 is not one whole JSON object but '17'"),
    "a key twice": lines(
        f'{jsonl()}{{"text": "a", "text": "b", "label": 1}}\n', "line 41 is not one whole JSON object"
    ),
    "a line without its label": lines(jsonl({"text": "odd", "Label": 1}), "row 41 has no label"),
    "a line with a further key": lines(jsonl({"text": "a", "label": 1, "x": 2}), lambda splits: len(splits.rows) == 41),
    # labels
    "NaN labels": parquet(frame(label=[1.0, 0.0] * 19 + [1.0, float("nan")]), "row 40 has no label"),
    "NaN in JSON": lines(jsonl({"text": "a", "label": float("nan")}), "row 41 has no label"),
    "empty labels": csv(f"{CSV}text,\n", "row 41 has no label"),
    "blank labels": csv(f"{CSV}text,  \n", "label of row 41 is blank"),
    "float labels": parquet(frame(label=[0.5, 1.0] * 20), "label holds 2 different numbers that are not all whole"),
    "float labels in a CSV": csv("text,label\n" + "a,0.5\nb,1.0\n" * 9, "such as 0.5: numbers to predict"),
    "whole numbers as floats": parquet(frame(label=[0.0, 1.0] * 20), lambda splits: splits.label_names == ("0", "1")),
    "lists of labels": parquet(frame(label=[["a", "b"]] * 40), "label of row 1 is a list (['a', 'b'])"),
    "a list among the labels": lines(jsonl({"text": "a", "label": [1, 2]}), "multi_label"),
    "tables for labels": lines(
        '{"text": "a", "label": {"good": true}}\n',
        "its columns (text, label.good) has a",
    ),
    "dates for labels": parquet(frame(label=pd.date_range("2020-01-01", periods=40)), "label of row 1 is"),
    "one class": csv(CSV.replace("bad", "good"), "every label is 'good'"),
    "a thousand and one classes": csv(
        "text,label\n" + "".join(f"text {row},c{row}\n" for row in range(1001)),
        "1,000 different values up to row 1,001",
    ),
    "a thousand classes": csv(
        "text,label\n" + "".join(f"text {row},c{row % 1000}\n" for row in range(20_000)),
        lambda splits: len(splits.label_names) == 1000,
    ),
    "one example of a class": csv(f"{CSV}text,ugly\n", lambda splits: 2 in splits.labels("train")),
    "a label only in test": Case(
        {"data.csv": CSV, "test.csv": f"{CSV}text,ugly\n"}, "label 'ugly' is in test but never in train"
    ),
    "labels like paths and controls": csv(
        CSV.replace("good", "../../etc/passwd").replace("bad", "a\tb\x1b[31m"),
        lambda splits: splits.label_names == ("../../etc/passwd", "a\tb\x1b[31m"),
    ),
    "more classes than training rows": csv(
        "text,label\n" + "".join(f"text {row},c{row % 50}\n" for row in range(1000)),
        "but there are 50 classes, each of which needs an example",
        train_size=20,
    ),
    # texts
    "lists of texts": parquet(frame(text=[["a", "b"]] * 40), "the column 'text' holds lists, not texts"),
    "tables for texts": lines(
        '{"text": {"en": "a"}, "label": 1}\n',
        "its columns (text.en, label) has a usual",
    ),
    "a table among the texts": lines(jsonl({"text": {"en": "a"}, "label": 1}), "the column 'text' holds lists"),
    "bytes for texts": parquet(frame(text=[b"a"] * 40), "the column 'text' holds bytes, not texts"),
    "numbers for texts": parquet(frame(text=range(40)), lambda splits: texts(splits)[:2] == ["0", "1"]),
    "a number among the texts": lines(jsonl({"text": 17, "label": 1}), lambda splits: texts(splits)[-1] == "17"),
    "None for a text": lines(jsonl({"text": None, "label": 1}), "row 41 has no text"),
    "an empty text": csv(f"{CSV},good\n", "row 41 has no text"),
    "10 MB in one cell": csv(ten_megabytes, lambda splits: splits.rows.characters[-1] == 10_000_000),
    "more than can be one cell": csv(endless_cell, "a cell of the row in line 42 is longer than"),
    "HTML and scripts": csv(
        CSV.replace("text 5", "<script>alert('x')</script>").replace("good", "<b>&amp;</b>"),
        lambda splits: splits.label_names == ("<b>&amp;</b>", "bad") and "<script>" in texts(splits)[5],
    ),
    # columns
    "a column twice": csv("text,label,text\n" + "a,good,b\n" * 9, "there are 2 columns called 'text'"),
    "an unused column twice": csv(
        "text,label,x,x\n" + ROWS.replace("\n", ",1,2\n"), lambda splits: len(splits.rows) == 40
    ),
    "a missing column": csv(CSV, "there is no column 'mood' (data.label); its columns are text, label", label="mood"),
    "no column of a usual name": csv(CSV.replace("text,", "words,"), "none of its columns (words, label)"),
    "padded column names": csv(CSV.replace(",label", ", label"), "none of its columns (text, ' label')"),
    "line breaks in column names": csv(CSV.replace("label", '"la\nbel"', 1), "(text, 'la\\nbel')"),
    "text is the label": csv(CSV, "the column 'label' cannot be both text and label", text="label"),
    "odd column names": csv(
        CSV.replace("text,label", "der größte Text 🎬,la bel"),
        lambda splits: texts(splits)[0] == "text 0",
        text="der größte Text 🎬",
        label="la bel",
    ),
    "files with different columns": Case(
        {"a.csv": CSV, "b.csv": "text,mood\na,good\n"}, "b.csv: its columns are text, mood", {"train": "*.csv"}
    ),
    "pairs in train alone": Case(
        {
            "data.csv": "question,sentence,label\n" + ROWS.replace("text", "a,text"),
            "test.csv": f"sentence,label\n{ROWS}",
        },
        "test.csv: examples are single texts here, unlike in",
    ),
    # splits
    "odd words in the split column": csv(
        "text,label,part\n" + ROWS.replace("\n", ",train\n") + "a,good,holdout\n",
        "the split column says 'holdout'",
        split="part",
    ),
    "a split column with a gap": csv(
        "text,label,part\n" + ROWS.replace("\n", ",\n"), "row 1 has no split", split="part"
    ),
    "nothing to train on": csv(
        "text,label,part\n" + ROWS.replace("\n", ",test\n"), "no row is marked as train", split="part"
    ),
    "a test file without rows": Case({"data.csv": CSV, "test.csv": "text,label\n"}, "test.csv: there are no rows"),
    "too few rows to split": csv("text,label\na,1\nb,2\n", "no test examples can be held out of 2 rows"),
}


def write(case: Case, folder: Path) -> None:
    for name, content in case.files.items():
        path = folder / name
        if callable(content):
            content(path)
        elif isinstance(content, pd.DataFrame):
            content.to_parquet(path)
        else:
            path.write_bytes(content.encode() if isinstance(content, str) else content)


def prepared(case: Case, folder: Path) -> Splits:
    write(case, folder)
    given: dict[str, Any] = {"train": next(iter(case.files)), **case.options}
    given |= {"test": "test.csv"} if "test.csv" in case.files else {}
    given |= {name: str(folder / given[name]) for name in ("train", "test") if name in given}
    spec = FilesData(source="files", **given)
    return make_splits(collect_rows(spec.open_tables(), spec, folder, print), spec)


@pytest.mark.parametrize("name", CASES)
def test_broken_data(name: str, tmp_path: Path) -> None:
    case = CASES[name]
    if not isinstance(case.expected, str):
        assert case.expected(prepared(case, tmp_path))
        return
    with pytest.raises(UserError) as caught:
        prepared(case, tmp_path)
    message = str(caught.value)
    assert case.expected in message
    assert "\n" not in message
    assert len(message) < 600


@pytest.mark.parametrize("name", ["unterminated quote", "a Parquet file cut in half", "a label only in test"])
def test_the_command_says_it_in_one_line(name: str, tuneoff: Command, tiny_model: Path, tmp_path: Path) -> None:
    case = CASES[name]
    write(case, tmp_path)
    study = study_toml(tiny_model, tmp_path, ["full"]).replace("train.csv", next(iter(case.files)))
    if "test.csv" not in case.files:
        study = "\n".join(line for line in study.splitlines() if not line.startswith("test ="))
    (tmp_path / "study.toml").write_text(study)
    answer = tuneoff("plan", "study.toml")
    assert answer.returncode == 2, answer
    assert len(answer.stderr.splitlines()) == 1, answer.stderr
    assert str(case.expected) in answer.stderr
