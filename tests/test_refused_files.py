"""Files and settings that are refused: one line that says what to do, and what it says helps."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import sqlite3
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from conftest import reviews
from file_parts import Content, in_an_empty_folder_on_one_thread, init, lines, put, sentences
from tuneoff.core.errors import UserError
from tuneoff.data.collect import collect_rows
from tuneoff.data.sources.files import FilesData
from tuneoff.spec import load_study

__all__ = ["in_an_empty_folder_on_one_thread"]


def xlsx() -> bytes:
    return zipped({"[Content_Types].xml": "<Types/>", "xl/workbook.xml": "<workbook/>"})


def zipped(files: dict[str, str]) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    return content.getvalue()


def tarred() -> bytes:
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w:gz") as archive:
        member = tarfile.TarInfo("data.csv")
        member.size = len(CSV)
        archive.addfile(member, io.BytesIO(CSV))
    return content.getvalue()


def database() -> bytes:
    connection = sqlite3.connect(":memory:")
    connection.execute("create table rows (text, label)")
    return connection.serialize()


def feather() -> bytes:
    content = io.BytesIO()
    reviews(4, seed=1).to_feather(content)
    return content.getvalue()


CSV = ("text,label\n" + lines("{text},{label}")).encode()
REFUSED: dict[str, tuple[str, Content | Callable[[], bytes], str]] = {
    "an Excel workbook": ("a.xlsx", xlsx, "is an Excel workbook; export its sheet as CSV UTF-8"),
    "a workbook called .csv": ("a.csv", xlsx, "is an Excel workbook; export its sheet as CSV UTF-8"),
    "an old workbook": ("a.xls", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(600), "is an old Excel workbook; export"),
    "an OpenDocument sheet": (
        "a.ods",
        lambda: zipped({"mimetype": "application/vnd.oasis", "content.xml": ""}),
        "is an OpenDocument file; export",
    ),
    "a zip archive": (
        "a.zip",
        lambda: zipped({"train.csv": "text,label\n"}),
        "unpack it and name the file inside, which is train.csv",
    ),
    "a tar archive": ("a.tar.gz", tarred, "is a tar archive; unpack it"),
    "bzip2": ("a.csv.bz2", bz2.compress(CSV), "is compressed with bzip2; unpack it"),
    "xz": ("a.csv.xz", lzma.compress(CSV), "is compressed with xz; unpack it"),
    "gzip without .gz": ("a.txt", gzip.compress(CSV), "is gzipped; let its name end in .gz"),
    "a database": ("a.db", database, "is an SQLite database; export the table as CSV"),
    "Feather": ("a.feather", feather, "is an Arrow or Feather file; write it as Parquet"),
    "a web page": ("a.csv", "<!DOCTYPE html>\n<html><body>404</body></html>", "is an HTML page, not a table"),
    "a pointer": ("a.parquet", "version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "it is a git-lfs pointer"),
    "cells called .parquet": ("a.parquet", CSV, "seems to be text; set data.format.kind to 'csv' or 'json'"),
    "texts alone": ("a.txt", "\n".join(sentences()), "say what it is with data.format.kind or data.format.separator"),
    "one column": ("a.csv", "text\n" + "\n".join(sentences()), "none of its columns (text) looks like classes"),
    "no column twice": ("a.csv", "text,label,label\n" + lines("{text},{label},{label}"), "looks like classes"),
    "labels that are all different": (
        "a.csv",
        "text,label\n" + lines("{text},{row}x"),
        "'label' has 90 different values in 90 rows, as an id has, and classes recur",
    ),
    "columns in an object": (
        "a.json",
        json.dumps({"text": ["a"], "label": [1]}, indent=1),
        "holds a single object, with text, label",
    ),
    "a separator too many": (
        "a.csv",
        "text;label\n" + lines("{text};{label}") + "a;b;c\n",
        "the row in line 92 has 3 cells",
    ),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_refused_in_one_line_that_says_what_to_do(kind: str) -> None:
    name, content, expected = REFUSED[kind]
    put(name, content() if callable(content) else content)
    with pytest.raises(UserError) as caught:
        init(name)
    assert expected in str(caught.value)
    assert name in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not Path("study.toml").exists()


SETTINGS: dict[str, tuple[str, Content, dict[str, Any], str]] = {
    "another encoding": (
        "a.csv",
        "text,label\naß für,x\nb é,y\n".encode("cp1252"),
        {"encoding": "cp1252"},
        "data.format.encoding, probably to 'cp1252'",
    ),
    "UTF-16": (
        "a.csv",
        CSV.decode().encode("utf-16-le"),
        {"encoding": "utf-16-le"},
        "data.format.encoding = 'utf-16-le'",
    ),
    "an open quote": ("a.csv", b'text,label\n"so,x\nb,y\n', {"quoting": "none"}, "data.format.quoting = 'none'"),
    "a quote within": (
        "a.csv",
        b'text,label\n"so" he said,x\nb,y\n',
        {"quoting": "none"},
        "data.format.quoting = 'none'",
    ),
    "a semicolon": (
        "a.tsv",
        b"text;label\na;x\nb;y\n",
        {"separator": ";"},
        "separated by ';', not by '\\t'; set data.format.separator",
    ),
    "a bar in a .dat": ("a.dat", b"text|label\na|x\nb|y\n", {"separator": "|"}, 'data.format = { separator = "|" }'),
    "JSON in a .dat": ("a.dat", b'{"text": "a", "label": "x"}\n', {"kind": "json"}, 'data.format = { kind = "json" }'),
    "fastText in a .dat": ("a.dat", b"__label__x a b\n", {"kind": "fasttext"}, 'data.format = { kind = "fasttext" }'),
    "names that are there twice": (
        "a.csv",
        b"text,label,text\na,x,b\n",
        {"columns": ["text", "label", "other"]},
        "name all columns with data.format.columns",
    ),
}


@pytest.mark.parametrize("kind", SETTINGS)
def test_a_message_names_the_setting_that_reads_the_file(kind: str) -> None:
    name, content, settings, expected = SETTINGS[kind]
    put(name, content)

    def rows(**options: Any) -> int:
        spec = FilesData(source="files", train=name, text="text", label="label", **options)
        return len(collect_rows(spec.open_tables(), spec, Path(), lambda _: None))

    with pytest.raises(UserError) as caught:
        rows()
    assert expected in str(caught.value)
    assert "\n" not in str(caught.value)
    assert rows(format=settings) > 0


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"encoding": "cp1252x"}, "not an encoding that Python knows"),
        ({"encoding": "base64"}, "not an encoding that Python knows"),
        ({"separator": ";;"}, "at most 1 character"),
        ({"separator": '"'}, "write one character"),
        ({"columns": ["a", "a"]}, "a name is there twice"),
        ({"kind": "json", "separator": ";"}, "separator is about lines of cells"),
        ({"kind": "xlsx"}, "should be 'csv', 'json', 'parquet' or 'fasttext'"),
        ({"delimiter": ";"}, "unknown field 'data.format.delimiter'"),
    ],
)
def test_settings_that_cannot_be(settings: dict[str, Any], expected: str) -> None:
    init(put("a.csv", "text,label\n" + lines("{text},{label}")))
    overrides = [f"data.format.{key}={json.dumps(value)}" for key, value in settings.items()]
    with pytest.raises(UserError) as caught:
        load_study("study.toml", overrides)
    assert expected in str(caught.value)
    assert "\n" not in str(caught.value)
