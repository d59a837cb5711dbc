"""Files of every format read the same, to the letter and piece by piece; splits keep what they promise."""

from __future__ import annotations

import csv
import gzip
import io
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from conftest import reviews
from tuneoff.core.errors import UserError
from tuneoff.data.collect import collect_rows
from tuneoff.data.source_table import BATCH_ROWS
from tuneoff.data.sources.files import FilesData
from tuneoff.data.sources.reviews import ReviewsData
from tuneoff.data.splits import Splits, make_splits

datasets = pytest.importorskip("datasets", reason="datasets is not installed (the extra 'hub')")

Records = list[dict[str, Any]]


def separated(records: Records, separator: str) -> bytes:
    written = io.StringIO()
    rows = csv.DictWriter(written, list(records[0]), delimiter=separator)
    rows.writeheader()
    rows.writerows(records)
    return written.getvalue().encode()


def json_lines(records: Records) -> bytes:
    return "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records).encode()


FORMATS: dict[str, Callable[[Records, Path], object]] = {
    "data.csv": lambda records, path: path.write_bytes(separated(records, ",")),
    "data.CSV": lambda records, path: path.write_bytes(separated(records, ",")),
    "data.tsv": lambda records, path: path.write_bytes(separated(records, "\t")),
    "data.jsonl": lambda records, path: path.write_bytes(json_lines(records)),
    "data.ndjson": lambda records, path: path.write_bytes(json_lines(records)),
    "data.csv.gz": lambda records, path: path.write_bytes(gzip.compress(separated(records, ","))),
    "data.tsv.gz": lambda records, path: path.write_bytes(gzip.compress(separated(records, "\t"))),
    "data.jsonl.gz": lambda records, path: path.write_bytes(gzip.compress(json_lines(records))),
    "data.parquet": lambda records, path: pd.DataFrame(records).to_parquet(path),
    "folder": lambda records, path: datasets.Dataset.from_list(records).save_to_disk(path),
}


def write(name: str, records: Records, folder: Path) -> str:
    FORMATS[name](records, folder / name)
    return str(folder / name)


def columns_of(spec: FilesData) -> dict[str, list[Any]]:
    """All rows of the first table of a source, by column."""
    source = spec.open_tables()[0]
    tables = list(source.tables())
    assert all(tuple(table.column_names) == source.columns for table in tables)
    assert all(len(table) <= BATCH_ROWS for table in tables)
    return {name: [value for table in tables for value in table.column(name).to_pylist()] for name in source.columns}


def split(spec: FilesData | ReviewsData) -> Splits:
    with TemporaryDirectory() as folder:
        return make_splits(collect_rows(spec.open_tables(), spec, Path(folder), print), spec)


def files(train: str | Path, **options: Any) -> FilesData:
    return FilesData(source="files", train=str(train), **options)


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_makes_the_same_rows(name: str, tmp_path: Path) -> None:
    records: Records = [{"id": f"{row:04}", "text": f"text {row}\n'\"", "label": row % 11} for row in range(9000)]
    spec = files(write(name, records, tmp_path))
    assert columns_of(spec)["text"] == [record["text"] for record in records]
    assert columns_of(spec)["id"] == [record["id"] for record in records]
    splits = split(spec)
    assert splits.label_names == tuple(map(str, range(11)))  # by value: 10 comes after 9
    assert splits.rows.labels.tolist() == [record["label"] for record in records]


ANY_TEXT = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20)
CSV_TEXT = st.one_of(
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=20),
    st.text("\",;\t\n\r \\'#é\u2028\ufeff", min_size=1, max_size=8),
)


@pytest.mark.parametrize("name", [name for name in FORMATS if not name.startswith("folder")])
@settings(max_examples=30, deadline=None)
@given(data=st.data())
def test_texts_come_back_as_they_were(name: str, data: st.DataObject) -> None:
    texts = data.draw(st.lists(ANY_TEXT if "json" in name or "parquet" in name else CSV_TEXT, min_size=1, max_size=6))
    with TemporaryDirectory() as folder:
        path = write(name, [{"text": text, "label": "a"} for text in texts], Path(folder))
        assert columns_of(files(path))["text"] == texts


def test_cells_of_a_csv_stay_the_texts_they_are(tmp_path: Path) -> None:
    texts = ["NA", "null", "None", "nan", "1e5", "007", "1.0", "True", "-", "#1", " padded ", "2020-01-01"]
    (tmp_path / "data.csv").write_bytes(separated([{"text": text, "label": "a"} for text in [*texts, ""]], ","))
    assert columns_of(files(tmp_path / "data.csv"))["text"] == [*texts, None]


def test_labels_have_one_kind_from_the_first_row_to_the_last(tmp_path: Path) -> None:
    labels = [*["7", "007"] * BATCH_ROWS, "word"]
    path = write("data.csv", [{"text": f"text {row}", "label": label} for row, label in enumerate(labels)], tmp_path)
    assert columns_of(files(path))["label"] == labels
    records: Records = [{"text": f"text {row}", "label": row % 2} for row in range(50)]
    assert columns_of(files(write("data.jsonl", records, tmp_path)))["label"] == [row % 2 for row in range(50)]


def test_labels_of_the_bundled_reviews_are_integers() -> None:
    table = next(ReviewsData().open_tables()[0].tables())
    assert set(table.column("label").to_pylist()) == {0, 1}


@pytest.mark.parametrize(
    ("labels", "names"),
    [
        ([2, 10], ("2", "10")),
        (["2", "10"], ("2", "10")),
        ([2.0, 10.0], ("2", "10")),
        (["2.0", "10"], ("2", "10")),
        (["b", "10"], ("10", "b")),
        ([True, False], ("False", "True")),
        (["v1.5", "v1.0"], ("v1.0", "v1.5")),
    ],
)
def test_classes_by_how_they_are_written(labels: list[Any], names: tuple[str, ...], tmp_path: Path) -> None:
    records = [{"text": f"text {row}", "label": labels[row % 2]} for row in range(40)]
    for name in ("data.csv", "data.jsonl", "data.parquet"):
        assert split(files(write(name, records, tmp_path))).label_names == names, name


def test_a_number_and_its_spelling_are_one_class(tmp_path: Path) -> None:
    train = write("data.jsonl", [{"text": f"text {row}", "label": row % 2} for row in range(40)], tmp_path)
    test = write("data.csv", [{"text": f"other {row}", "label": row % 2} for row in range(40)], tmp_path)
    assert split(files(train, test=test)).label_names == ("0", "1")


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
def test_byte_order_marks(encoding: str, tmp_path: Path) -> None:
    for name, content in (
        ("data.csv", 'text,label\n"größe\n€",a\n'),
        ("data.jsonl", '{"text": "größe\\n€", "label": "a"}\n'),
    ):
        (tmp_path / name).write_bytes(content.encode(encoding))
        assert columns_of(files(tmp_path / name)) == {"text": ["größe\n€"], "label": ["a"]}


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_line_ends_and_blank_lines(end: str, tmp_path: Path) -> None:
    (tmp_path / "data.csv").write_bytes(f"text,label{end}{end}a,1{end}  {end}b,2".encode())
    assert columns_of(files(tmp_path / "data.csv")) == {"text": ["a", "b"], "label": ["1", "2"]}


def test_several_files_are_one_part(tmp_path: Path) -> None:
    (tmp_path / "b.csv").write_text("label,text\nx,second\n")
    (tmp_path / "a.csv").write_text("text,label\nfirst,y\n")
    (tmp_path / "c.jsonl").write_text('{"label": 3, "text": "third"}\n')
    found = columns_of(files(tmp_path / "*.*"))
    assert found == {"text": ["first", "second", "third"], "label": ["y", "x", 3]}


def test_keys_that_only_some_lines_have(tmp_path: Path) -> None:
    lines = ['{"text": "a", "label": 1}', '{"text": "b", "label": 1, "note": {"x": [1]}}', '{"label": 0, "text": "c"}']
    (tmp_path / "data.jsonl").write_text("\n".join(lines))
    found = columns_of(files(tmp_path / "data.jsonl"))
    assert found == {"text": ["a", "b", "c"], "label": [1, 1, 0], "note.x": [None, [1], None]}


def test_a_saved_folder_of_several_splits(tmp_path: Path) -> None:
    features = datasets.Features(
        {"text": datasets.Value("string"), "label": datasets.ClassLabel(names=["bad", "good"])}
    )
    parts = {
        name: datasets.Dataset.from_pandas(reviews(rows, seed=rows, first_row=rows * 100), features=features)
        for name, rows in (("train", 40), ("test", 10), ("dev", 6), ("unsupervised", 8))
    }
    datasets.DatasetDict(parts).save_to_disk(tmp_path / "all")
    splits = split(files(tmp_path / "all"))
    assert splits.sizes == {"train": 40, "validation": 6, "test": 10}
    assert splits.label_names == ("bad", "good")
    parts["train"].save_to_disk(tmp_path / "alone")
    assert split(files(tmp_path / "alone", test=str(tmp_path / "all"))).sizes["test"] == 10
    with pytest.raises(UserError, match=r"has the splits train, test, dev, unsupervised already"):
        files(tmp_path / "all", split="label").open_tables()


def test_classes_are_named_by_the_column_that_is_the_label(tmp_path: Path) -> None:
    kinds = {
        "text": datasets.Value("string"),
        "label": datasets.ClassLabel(names=["short", "long"]),
        "topic": datasets.ClassLabel(names=["sport", "money", "arts"]),
    }
    texts = [f"text {number} of some words" for number in range(60)]
    rows = {"text": texts, "label": [0, 1] * 30, "topic": [0, 1, 2] * 20}
    datasets.Dataset.from_dict(rows, features=datasets.Features(kinds)).save_to_disk(tmp_path / "both")
    without = datasets.Dataset.from_dict(rows, features=datasets.Features(kinds)).remove_columns("label")
    without.save_to_disk(tmp_path / "one")
    named = files(tmp_path / "both", label="topic")
    assert split(named).label_names == ("sport", "money", "arts")
    assert split(files(tmp_path / "both")).label_names == ("short", "long")
    assert split(files(tmp_path / "one")).label_names == ("sport", "money", "arts"), "found by its name"


def test_a_saved_folder_needs_datasets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write("folder", [{"text": "a", "label": 1}], tmp_path)
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(UserError, match=r"pip install 'tuneoff\[hub\]'"):
        files(path).open_tables()


def test_the_fingerprint_is_of_the_contents(tmp_path: Path) -> None:
    for name in ("data.csv", "data.jsonl.gz", "folder"):
        found = []
        for text in ("a", "b", "a"):
            path = Path(write(name, [{"text": text, "label": 1}], tmp_path))
            found.append(files(path).fingerprint())
        assert found[0] != found[1], name


def made_splits(
    labels: Sequence[str], texts: Sequence[str], groups: Sequence[int] | None = None, seed: int = 0
) -> Splits:
    frame = pd.DataFrame({"text": texts, "label": labels})
    if groups is not None:
        frame["author"] = groups
    with TemporaryDirectory() as folder:
        frame.to_parquet(Path(folder) / "data.parquet")
        return split(files(f"{folder}/data.parquet", group=None if groups is None else "author", split_seed=seed))


def sides(splits: Splits) -> list[str]:
    """The split of each row; every row has exactly one."""
    found = [""] * len(splits.rows)
    for name, numbers in splits.members.items():
        assert (np.diff(numbers) > 0).all()
        for number in numbers:
            assert found[number] == ""
            found[number] = name
    assert all(found)
    return found


LABELS = st.lists(st.sampled_from("abc"), max_size=120).map(lambda drawn: [*"abc" * 15, *drawn])
quick = settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@quick
@given(labels=LABELS, seed=st.integers(0, 3))
def test_splits_share_every_class_out_and_leave_no_row(labels: list[str], seed: int) -> None:
    texts = [f"text {row}" for row in range(len(labels))]
    splits = made_splits(labels, texts, seed=seed)
    found = sides(splits)
    for label in "abc":
        of_class = [side for side, its in zip(found, labels, strict=True) if its == label]
        test, validation = of_class.count("test"), of_class.count("validation")
        assert abs(test - len(of_class) / 5) < 1
        assert abs(validation - (len(of_class) - test) / 10) < 1
    assert sides(made_splits(labels, texts, seed=seed)) == found


@quick
@given(labels=LABELS, more=st.lists(st.sampled_from("abc"), min_size=1, max_size=40))
def test_appended_rows_change_nothing_for_those_before(labels: list[str], more: list[str]) -> None:
    texts = [f"text {row}" for row in range(len(labels) + len(more))]
    before = sides(made_splits(labels, texts[: len(labels)]))
    assert sides(made_splits([*labels, *more], texts))[: len(labels)] == before


@quick
@given(labels=LABELS, data=st.data(), seed=st.integers(0, 3))
def test_nothing_that_belongs_together_is_torn(labels: list[str], data: st.DataObject, seed: int) -> None:
    more = st.lists(st.integers(0, 44), min_size=len(labels) - 45, max_size=len(labels) - 45)
    numbers = [*range(45), *data.draw(more)]
    texts = [f"text {number}" for number in numbers]
    for splits in (
        made_splits(labels, texts, seed=seed),
        made_splits(labels, list(map(str, range(len(labels)))), numbers, seed),
    ):
        place: dict[int, str] = {}
        for number, side in zip(numbers, sides(splits), strict=True):
            assert place.setdefault(number, side) == side
