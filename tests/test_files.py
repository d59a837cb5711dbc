"""Files as people have them: `init` finds out how they are written and says so, and what it writes runs as it is."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import random
import re
import sqlite3
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from conftest import Command, reviews
from tuneoff.core.errors import UserError
from tuneoff.data.collect import collect_rows
from tuneoff.data.formats.spec import FormatSpec
from tuneoff.data.sources.files import FilesData
from tuneoff.data.splits import Splits, make_splits
from tuneoff.spec import load_study
from tuneoff.study.init import init_study
from tuneoff.study.prepare import audit_study, prepare_study
from tuneoff.study.preview import outline_study

WORDS = ("river", "stone", "lamp", "paper", "green", "slow", "north", "bread", "cloud", "wheel", "quiet", "glass")
TEAMS = ("billing", "hardware", "login")


@pytest.fixture(autouse=True)
def _in_an_empty_folder_on_one_thread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """On one thread, because several wait for each other at baselines of 90 rows."""
    monkeypatch.chdir(tmp_path)
    with threadpool_limits(1):
        yield


def sentences(count: int = 90, seed: int = 5) -> list[str]:
    draw = random.Random(seed)
    return [" ".join([*draw.choices(WORDS, k=draw.randint(4, 9)), str(row)]) for row in range(count)]


def labelled(count: int = 90) -> list[tuple[str, str]]:
    draw = random.Random(1)
    return [(text, draw.choice(TEAMS)) for text in sentences(count)]


def lines(template: str, count: int = 90) -> str:
    """One line an example, with `{text}`, `{label}` and `{row}` in it."""
    rows = enumerate(labelled(count))
    return "".join(template.format(text=text, label=label, row=row) + "\n" for row, (text, label) in rows)


def objects() -> list[dict[str, Any]]:
    return [{"text": text, "label": label} for text, label in labelled()]


def stray_quotes() -> str:
    """As GLUE's files: quotes begin and end cells, and mean nothing."""
    rows = []
    for row, (text, label) in enumerate(labelled()):
        quoted = f'"{text}' if row % 7 == 2 else f'{text}"' if row % 7 == 5 else text
        rows.append(f"{quoted}\t{label}\n")
    return "sentence\tteam\n" + "".join(rows)


Content = str | bytes
Expected = dict[str, Any]
KINDS: dict[str, tuple[str, Content, Expected]] = {
    "semicolons": ("a.csv", "text;label\n" + lines("{text};{label}"), {"separator": ";"}),
    "semicolons and commas": ("a.csv", "text;label\n" + lines("{text}, and, so on;{label}"), {"separator": ";"}),
    "tabs in a .csv": ("a.csv", "text\tlabel\n" + lines("{text}\t{label}"), {"separator": "\t"}),
    "commas in a .tsv": ("a.tsv", "text,label\n" + lines("{text},{label}"), {"separator": ","}),
    "bars in a .txt": ("a.txt", "text|label\n" + lines("{text}|{label}"), {"separator": "|"}),
    "a header, gzipped": (
        "a.txt.gz",
        gzip.compress(("q\tteam\n" + lines("{text}\t{label}")).encode()),
        {"separator": "\t"},
    ),
    "no header": ("a.csv", lines("{label},{text}"), {"header": False, "columns": ("label", "text")}),
    "no header, and an index": (
        "a.csv",
        lines("{row},{text},{label}"),
        {"header": False, "columns": ("column1", "text", "label")},
    ),
    "labels, tabs, texts": (
        "a.txt",
        lines("{label}\t{text}"),
        {"separator": "\t", "header": False, "columns": ("label", "text")},
    ),
    "no ending": (
        "train",
        lines("{text}\t{label}"),
        {"separator": "\t", "header": False, "columns": ("text", "label")},
    ),
    "cp1252": (
        "a.csv",
        ("text,label\n" + lines("{text} déjà vu – groß,{label}")).encode("cp1252"),
        {"encoding": "cp1252"},
    ),
    "cp1251 and semicolons": (
        "a.csv",
        ("text;label\n" + lines("это очень хороший фильм {text};{label}")).encode("cp1251"),
        {"encoding": "cp1251", "separator": ";"},
    ),
    "shift_jis": (
        "a.csv",
        ("text,label\n" + lines("とても面白い映画です {text},{label}")).encode("shift_jis"),
        {"encoding": "shift_jis"},
    ),
    "UTF-16 without a mark": (
        "a.csv",
        ("text,label\n" + lines("{text},{label}")).encode("utf-16-be"),
        {"encoding": "utf-16-be"},
    ),
    "UTF-16 with a mark": ("a.csv", ("text,label\n" + lines("{text},{label}")).encode("utf-16"), {}),
    "a mark, CRLF, blank lines": (
        "a.csv",
        ("\ufefftext,label\n" + lines("{text},{label}\n")).replace("\n", "\r\n"),
        {},
    ),
    "unquoted TSV": ("a.tsv", stray_quotes(), {"quoting": "none"}),
    "quoted cells of several lines": ("a.csv", "text,label\n" + lines('"{text}\nand ""more"", here",{label}'), {}),
    "a JSON array": ("a.json", json.dumps(objects(), indent=2), {}),
    "JSON Lines in a .json": ("a.json", "".join(json.dumps(item) + "\n" for item in objects()), {}),
    "JSON Lines in a .txt": ("a.txt", "".join(json.dumps(item) + "\n" for item in objects()), {"kind": "json"}),
    "a JSON array in cp1252": (
        "a.json",
        json.dumps([{**item, "text": item["text"] + " naïve"} for item in objects()], ensure_ascii=False).encode(
            "cp1252"
        ),
        {"encoding": "cp1252"},
    ),
    "fastText": ("a.txt", lines("__label__{label} {text}"), {"kind": "fasttext"}),
    "spaces in names": ("a.csv", "the id, the text ,the team\n" + lines("{row},{text},{label}"), {}),
    "an index without a name": ("a.csv", ",text,team\n" + lines("{row},{text},{label}"), {}),
    "names that pandas gives": ("a.csv", "0,1\n" + lines("{text},{label}"), {}),
    "a very long cell": ("a.csv", "text,label\n" + lines("{text},{label}") + "word " * 60_000 + ",login\n", {}),
    "labels as floats": (
        "a.csv",
        "text,label\n" + "".join(f"{text},{row % 2}.0\n" for row, text in enumerate(sentences())),
        {},
    ),
    "truth values": (
        "a.jsonl",
        "".join(json.dumps({"text": text, "label": row % 3 == 0}) + "\n" for row, text in enumerate(sentences())),
        {},
    ),
}


def put(name: str, content: Content) -> str:
    Path(name).write_bytes(content if isinstance(content, bytes) else content.encode())
    return name


def init(
    *data: str, model: Path | str = "some/model", out: str = "study.toml", label: str | None = None
) -> tuple[FilesData, str]:
    """`[data]` of the study that `init` writes, and all that it said and wrote."""
    said: list[str] = []
    path = init_study(data, str(model), Path(out), said.append, label=label)
    spec = load_study(path).data
    assert isinstance(spec, FilesData)
    return spec, "\n".join([*said, path.read_text()])


def split(train: str, **options: Any) -> Splits:
    spec = FilesData(source="files", train=train, **options)
    return make_splits(collect_rows(spec.open_tables(), spec, Path(), lambda _: None), spec)


@pytest.mark.parametrize("kind", KINDS)
def test_what_init_writes_loads_audits_and_plans(kind: str, tiny_model: Path) -> None:
    name, content, expected = KINDS[kind]
    data, said = init(put(name, content), model=tiny_model)
    assert data.format == FormatSpec(**expected)
    if expected:  # others are prepared as in other tests
        study = load_study("study.toml", ["training.device=cpu"])
        assert [finding.name for finding in audit_study(study) if finding.severity == "error"] == []
        assert outline_study(study)
    splits = split(data.train, **data.model_dump(include={"text", "label", "format", "drop_empty"}))
    assert len(splits.rows) in (90, 91)
    assert len(splits.label_names) in (2, 3)
    texts = [text for table in splits.rows.tables() for text in table.column("text").to_pylist()]
    for row, text in enumerate(sentences()):
        assert text in texts[row]
    assert ("data.format = {" in said) == bool(expected)


@pytest.mark.long
def test_the_written_study_runs(tuneoff: Command, tiny_model: Path) -> None:
    put("tickets.txt", lines("{label}\t{text} für groß").encode("cp1252"))
    answer = tuneoff("init", "tickets.txt", "--model", tiny_model)
    assert answer.returncode == 0, answer
    assert "does '" in answer.stdout
    assert "für groß' look right?" in answer.stdout
    assert tuneoff("audit", "tickets.toml").returncode == 0
    planned = tuneoff("plan", "tickets.toml", "--set", "training.device=cpu")
    assert planned.returncode == 0, planned


def test_the_format_is_part_of_what_prepared_data_is_known_by(tiny_model: Path, tmp_path: Path) -> None:
    init(put("a.csv", "text,label\n" + lines("{text} é,{label}").encode("cp1252").decode("cp1252")), model=tiny_model)
    plain, other = (
        prepare_study(load_study("study.toml", overrides), tmp_path / "out", lambda _: None).prepared.key
        for overrides in ([], ["data.format.encoding=latin-1"])
    )
    assert plain != other


def test_several_files_have_one_format() -> None:
    put("train.txt", lines("{text}\t{label}"))
    put("test.txt", lines("other {text}\t{label}").encode() + "größe und maß, schön\tlogin\n".encode("cp1252"))
    data, _ = init("train.txt", "test.txt")
    assert data.format.encoding == "cp1252"
    Path("study.toml").unlink()
    put("train.txt", lines("größer {text}\t{label}"))
    with pytest.raises(UserError, match=r"test.txt: seems to be cp1252, but train.txt seems to be utf-8; save them in"):
        init("train.txt", "test.txt")


# What columns are


def table(**columns: Any) -> str:
    pd.DataFrame({"body": sentences(), **columns}).to_csv("data.csv", index=False)
    return "data.csv"


def teams() -> list[str]:
    return [label for _, label in labelled()]


def test_titles_beside_texts_are_named_as_an_alternative() -> None:
    data, said = init(table(headline=[f"News of day {row}" for row in range(90)], team=teams()))
    assert (data.text, data.text_pair, data.label) == ("body", None, "team")
    assert '# text_pair = "headline"' in said, said
    assert "headline could also be data.text, or data.text_pair" in said


@pytest.mark.parametrize(
    ("first", "second"),
    [("query", "answer"), ("s1", "s2"), ("Text A", "Text B"), ("claim", "evidence_text"), ("left", "right")],
)
def test_pairs_of_any_names(first: str, second: str) -> None:
    frame = pd.DataFrame({first: sentences(), second: sentences(seed=7), "verdict": teams(), "n": range(90)})
    frame.to_parquet("pairs.parquet")
    data, said = init("pairs.parquet")
    assert (data.text, data.text_pair, data.label) == (first, second, "verdict")
    assert "for single texts leave out data.text_pair" in said


@pytest.mark.parametrize("name", ["Unnamed: 0", "id", "ID", "index", "row_id", "number", ""])
def test_an_index_is_neither_text_nor_label(name: str) -> None:
    frame = pd.DataFrame({name: [f"{row}" for row in range(100, 190)], "label": range(90), "words": sentences()})
    frame.assign(team=teams()).to_csv("data.csv", index=False)
    data, _ = init("data.csv")
    assert (data.text, data.label) == ("words", "team")  # not the column `label`, whose values are all different


def test_codes_and_dates_are_no_texts() -> None:
    codes = [f"{row:08x}-aaaa-bbbb-cccc-{row:012x}" for row in range(90)]
    dates = [f"2024-01-01 10:{row // 60:02}:{row % 60:02} +0000 UTC" for row in range(90)]
    links = [f"https://example.org/a/very/long/address/with/many/parts/{row}" for row in range(90)]
    frame = pd.DataFrame({"code": codes, "sent": dates, "link": links, "body of it": sentences(), "team": teams()})
    frame.to_csv("data.csv", index=False)
    assert init("data.csv")[0].text == "body of it"


def test_other_labels_are_printed_by_init_and_audit(tiny_model: Path) -> None:
    _, said = init(table(team=teams(), urgent=["yes", "no", "no"] * 30), model=tiny_model)
    assert "urgent could also be data.label" in said
    found = {finding.name: finding.message for finding in audit_study(load_study("study.toml"))}
    assert "'urgent' could also be data.label" in found["other-columns"]


def audited(train: str, **options: Any) -> dict[str, Any]:
    """Findings by name, without what needs a model."""
    from tuneoff.data.audit import audit

    return {finding.name: finding for finding in audit(split(train, **options))}


def test_a_missing_header_is_noticed_by_the_audit_and_in_errors() -> None:
    put("data.csv", lines("{text},{label}"))
    text, label = labelled()[0]
    found = audited("data.csv", text=text, label=label)["missing-header"]
    assert found.severity == "warning"
    assert "data.format.header = false" in found.advice
    put("long.csv", lines("a long text that goes on and on {text},{label}"))
    with pytest.raises(UserError, match=r"looks like part of an example: set data.format.header = false"):
        split("long.csv")
    assert "missing-header" not in audited("data.csv", format={"header": False, "columns": ["text", "label"]})
    put("named.csv", "words,team\n" + lines("{text},{label}"))
    assert "missing-header" not in audited("named.csv", text="words", label="team")


@pytest.mark.parametrize("one_hot", [True, False])
def test_columns_of_zeros_and_ones(one_hot: bool) -> None:
    places = [TEAMS.index(team) for team in teams()]
    columns = {
        team: [int(place == at or (not one_hot and row % 4 == 0)) for row, place in enumerate(places)]
        for at, team in enumerate(TEAMS)
    }
    data, said = init(table(**columns))
    assert (data.label, data.text) == ("billing" if one_hot else tuple(TEAMS), "body")
    assert data.task == ("single_label" if one_hot else "multi_label")
    assert ("3 labels," in said) == (not one_hot)
    expected = "exactly one of them in every row" if one_hot else "several labels an example"
    assert ("the columns billing, hardware, login hold 0 or 1 each" in said) == one_hot
    finding = audited("data.csv", text="body", label="billing")["several-labels"]
    assert (finding.severity, expected in finding.message) == ("warning", True)


@pytest.mark.parametrize(
    ("values", "between"),
    [
        (["sports|news", "news", "sports"], "with '|' between them"),
        (["a;b", "b;c", "a;c"], "with ';' between them"),
        (["3,17", "17", "3"], "with ',' between them"),
        (["['joy', 'fear']", "['joy']", "['fear']"], "are lists"),
    ],
)
def test_labels_that_are_several(values: list[str], between: str) -> None:
    data, said = init(table(labels=values * 30))
    assert data.task == "multi_label"
    assert data.label_separator == (between[6] if between != "are lists" else None)
    names = {name for value in values for name in re.findall(r"\w+", value)}
    assert f"{len(names)} labels, " in said
    options = data.model_dump(include={"text", "label", "task", "label_separator"})
    assert set(split("data.csv", **options).label_names) == names
    assert between in audited("data.csv", text="body", label="labels")["several-labels"].message


@pytest.mark.parametrize(
    "values", [["news/uk", "news/world", "sport/golf"], ["R&B", "R&D", "A+"], ["well, yes", "no, sir", "maybe"]]
)
def test_names_with_separators_are_single_classes(values: list[str]) -> None:
    assert "several-labels" not in audited(table(label=values * 30))


def test_lists_of_labels_are_several() -> None:
    pd.DataFrame({"text": sentences(), "labels": [["a", "b"], ["a"], ["b"]] * 30}).to_parquet("data.parquet")
    assert init("data.parquet")[0].task == "multi_label"
    with pytest.raises(
        UserError, match=r"label of row 1 is a list \(\['a', 'b'\]\): .*data.task = 'multi_label', or set"
    ):
        split("data.parquet", text="text", label="labels")
    put("data.txt", "__label__a __label__b a text\n__label__a another\n")
    Path("study.toml").unlink()
    with pytest.raises(UserError, match=r"line 1 has several labels .*multi_label"):
        init("data.txt")


def test_objects_inside_objects_are_columns(tiny_model: Path) -> None:
    items = [
        {
            "id": row,
            "meta": {"by": {"name": "x"}} if row != 5 else None,
            "doc": {"title": f"no {row}", "text": text},
            "gold": {"label": label},
        }
        for row, (text, label) in enumerate(labelled())
    ]
    pd.DataFrame(items).to_parquet("data.parquet")
    put("data.json", json.dumps([{**item, "a": [1], "empty": {}} for item in items]))
    for name, more in (("data.json", ", a, empty"), ("data.parquet", "")):
        Path("study.toml").unlink(missing_ok=True)
        data, said = init(name, model=tiny_model)
        assert (data.text, data.label) == ("doc.text", "gold.label")
        assert f"columns id, meta.by.name, doc.title, doc.text, gold.label{more}\n" in said
        splits = split(name, text=data.text, label=data.label)
        assert splits.label_names == TEAMS
        assert splits.sizes["test"] == 18
    put("twice.json", json.dumps([{"a.b": 1, "a": {"b": 2}}]))
    with pytest.raises(UserError, match=r"json: the key 'a\.b' is there twice, inside an object and beside it"):
        split("twice.json")


def test_dictionaries_and_times_in_parquet() -> None:
    frame = pd.DataFrame({"seen": pd.date_range("2025-02-01", periods=90, freq="7min"), "words": sentences()})
    frame = frame.assign(source=pd.Categorical(["a", "b"] * 45), theme=pd.Categorical(teams()))
    frame.to_parquet("data.parquet")
    data, said = init("data.parquet")
    assert (data.text, data.label) == ("words", "theme")  # not the source, which has fewer values
    assert "source could also be data.label (--label)" in said


def test_texts_of_emoji_alone() -> None:
    draw = random.Random(4)
    texts = ["".join(draw.choices("😀🎉💔🚗☕☹", k=draw.randint(2, 9))) + "\ufe0f" for _ in range(90)]
    pd.DataFrame({"zeichen": texts, "gefühl": ["froh", "traurig"] * 45}).to_csv("data.csv", index=False)
    data, _ = init("data.csv")
    assert (data.text, data.label) == ("zeichen", "gefühl")
    found = audited("data.csv", text="zeichen", label="gefühl", deduplicate=True)
    assert not [name for name in found if name.startswith("near")]
    assert init(table(gefühl=["😀", "☹️", "🎉"] * 30), out="other.toml")[0].label == "gefühl"


def test_what_a_tokenizer_does_not_know_is_said(tiny_model: Path) -> None:
    init(table(team=teams()), model=tiny_model)
    found = {finding.name: finding for finding in audit_study(load_study("study.toml"))}["unknown-tokens"]
    assert (found.severity, found.count) == ("warning", 90)
    assert found.message.startswith("100.0% of the texts' tokens are")
    assert "90 of 90 texts hold nothing else" in found.message
    assert found.examples[0] == "row 1 of data.csv"


# Labels that are numbers or ids


@pytest.mark.parametrize("name", ["rating", "how much"])
@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_numbers_to_predict_are_found_and_are_no_classes(name: str, ending: str) -> None:
    frame = pd.DataFrame({"words": sentences(), name: [1 + row % 41 / 10 for row in range(90)]})
    frame.to_csv("data.csv", index=False) if ending == "csv" else frame.to_parquet("data.parquet")
    data, said = init(f"data.{ending}")
    assert (data.label, data.task) == (name, "regression")
    assert "numbers from 1 to 5" in said
    with pytest.raises(UserError) as caught:
        split(f"data.{ending}", text="words", label=name)
    message = str(caught.value)
    assert f"{name} holds 41 different numbers that are not all whole, such as 1 and 5: numbers to predict" in message
    assert "data.task = 'regression'" in message
    assert "\n" not in message


def test_measures_beside_labels_are_said_to_be_no_classes() -> None:
    data, said = init(table(rating=[row / 7 for row in range(90)], team=teams()))
    assert data.label == "team"
    assert "rating holds numbers to predict; for it to be what is learned set data.label = rating and data.task" in said


@pytest.mark.parametrize(
    ("column", "values", "severity"),
    [
        ("stars", [1, 2, 3, 4, 5], "info"),
        ("label", ["1", "2", "3", "4", "5"], "info"),
        ("Bewertung der Ware", [0, 1, 2, 3], "info"),
        ("score", [3 * step for step in range(30)], "warning"),
        ("label", [0, 1, 2, 3], None),
        ("label", list(range(30)), None),
        ("stars", [0, 1], None),
        ("rating", ["good", "bad", "so-so"], None),
    ],
)
def test_whole_numbers_are_classes_whose_order_is_not_used(
    column: str, values: list[Any], severity: str | None
) -> None:
    frame = pd.DataFrame({"body": sentences(360), column: [values[row % len(values)] for row in range(360)]})
    frame.to_parquet("data.parquet")
    found = audited("data.parquet", text="body", label=column).get("ordered-labels")
    assert (found.severity if found else None) == severity
    data, said = init("data.parquet", label=column)
    assert ("seem to be steps of a scale" in said) == (severity == "info")
    assert (data.task == "regression") == (severity == "warning")


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        (90, "looks like an id, not like labels: it has 90 "),
        (1500, "has more than 1,000 different values up to row 1,0"),
    ],
)
def test_an_id_for_a_label_is_said_to_be_one(rows: int, expected: str) -> None:
    frame = pd.DataFrame({"body": sentences(rows), "key": [f"K{row}" for row in range(rows)]})
    with_teams = frame.assign(team=[TEAMS[row % 3] for row in range(rows)])
    for data, others in ((with_teams, "as team may be"), (frame, "no other column")):
        data.to_csv("data.csv", index=False)
        with pytest.raises(UserError) as caught:
            split("data.csv", text="body", label="key")
        assert f"data.csv: the column key {expected}" in str(caught.value)
        assert others in str(caught.value)


# Rows in several files


@pytest.mark.parametrize(
    ("rows", "options", "expected"),
    [
        ("a,x,train\n,y,train\n", {}, "b.csv: row 2 has no text; set data.drop_empty"),
        ("a,x,train\nb,,train\n", {}, "b.csv: row 2 has no label; set data.drop_empty"),
        ("a,x,train\nb, ,train\n", {}, "b.csv: the label of row 2 is blank"),
        ("a,x,train\nb,y,\n", {"split": "part"}, "b.csv: row 2 has no split"),
        ("a,x,train\nb,y,no\n", {"split": "part"}, "b.csv: the split column says 'no' in row 2"),
        ("a,x,train\nb,y,\n", {"group": "part"}, "b.csv: row 2 has no group"),
    ],
)
def test_rows_are_those_of_their_file(rows: str, options: dict[str, str], expected: str) -> None:
    put("a.csv", "text,label,part\n" + lines("{text},{label},train"))
    put("b.csv", f"text,label,part\n{rows}")
    with pytest.raises(UserError, match=expected):
        split("*.csv", **options)


# Labels that mean none


@pytest.mark.parametrize(
    "labels",
    [
        [0, 1, 2, -1],
        ["pos", "neg", "pos", "-1"],
        [0, 1, 0, -100],
        ["0", "1", "1", "nan"],
        ["x", "y", "x", "N/A"],
        ["x", "y", "x", "NULL"],
        ["x", "y", "x", "Unlabelled"],
        ["-1.0", "0.0", "1.0", "2.0"],
    ],
)
def test_sentinels_stop_a_study_and_init_leaves_them_out(labels: list[Any], tiny_model: Path) -> None:
    put("data.csv", "text,label\n" + "".join(f"{text},{labels[row % 4]}\n" for row, text in enumerate(sentences(120))))
    found = audited("data.csv")["sentinel-label"]
    assert (found.severity, found.count) == ("error", 30)
    assert "data.drop_labels" in found.advice
    data, said = init("data.csv", model=tiny_model)
    assert len(data.drop_labels) == 1
    assert f"30 rows are left out whose label, {data.drop_labels[0]}, means none" in said
    found = {finding.name: finding for finding in audit_study(load_study("study.toml"))}
    assert "sentinel-label" not in found
    assert found["dropped-rows"].count == 30


def test_a_few_of_minus_one_beside_zero_and_one_mean_none() -> None:
    labels = [-1 if row % 30 == 0 else row % 2 for row in range(120)]
    pd.DataFrame({"text": sentences(120), "label": labels}).to_parquet("data.parquet")
    assert audited("data.parquet")["sentinel-label"].severity == "error"


@pytest.mark.parametrize(
    ("labels", "severity"),
    [
        ([-1, 1], None),
        ([-1, 0, 1], "warning"),
        ([-2, -1, 0, 1, 2], None),
        (["none", "for", "against"], "warning"),
        (["unknown", "known"], "warning"),
    ],
)
def test_what_may_be_a_class_does_not_stop_a_study(labels: list[Any], severity: str | None) -> None:
    frame = pd.DataFrame({"text": sentences(120), "label": [labels[row % len(labels)] for row in range(120)]})
    frame.to_parquet("data.parquet")
    found = audited("data.parquet").get("sentinel-label")
    assert (found.severity if found else None) == severity
    assert init("data.parquet")[0].drop_labels == ()


def test_labels_that_declared_classes_do_not_have(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets", reason="datasets is not installed (the extra 'hub')")
    features = datasets.Features(
        {
            "premise": datasets.Value("string"),
            "hypothesis": datasets.Value("string"),
            "label": datasets.ClassLabel(names=["yes", "maybe", "no"]),
        }
    )
    labels = [-1 if row % 20 == 3 else row % 3 for row in range(90)]
    frame = pd.DataFrame({"premise": sentences(), "hypothesis": sentences(seed=8), "label": labels})
    datasets.Dataset.from_pandas(frame, features=features).save_to_disk(tmp_path / "saved")
    found = audited("saved")["sentinel-label"]
    assert (found.severity, found.count) == ("error", 5)
    assert "'yes', 'maybe' and 'no'" in found.message
    data, _ = init("saved")
    assert data.drop_labels == ("-1",)
    assert split("saved", drop_labels=["-1"]).label_names == ("yes", "maybe", "no")


def test_a_test_file_whose_labels_are_secret() -> None:
    put("train.csv", "text,label\n" + "".join(f"{text},{row % 2}\n" for row, text in enumerate(sentences())))
    put("test.csv", "text,label\n" + "".join(f"secret {text},-1\n" for text in sentences()))
    with pytest.raises(
        UserError, match=r"'-1' is in test but never in train and seems to mean that there is none; set data"
    ):
        split("train.csv", test="test.csv")
    with pytest.raises(UserError, match=r"test.csv: all 90 rows have no text or no label, and are left out"):
        split("train.csv", test="test.csv", drop_labels=["-1"])


@pytest.mark.parametrize(
    "labels",
    [("Sports", "sports", "news"), ("01", "1", "2"), ("sci fi", "sci-fi", "drama"), ("Straße", "STRASSE", "Weg")],
)
def test_labels_spelt_nearly_alike(labels: tuple[str, ...]) -> None:
    name = table(label=[*labels] * 30)
    found = audited(name)["labels-alike"]
    assert found.severity == "warning"
    assert f"'{labels[0]}'" in found.message
    assert f"'{labels[1]}'" in found.message
    assert "classes apart" in init(name)[1]


def test_labels_unlike_each_other_are_left_alone() -> None:
    for labels in (["c", "c++", "c#"], ["-2", "2", "1"], ["ab", "a b", "ba"]):
        assert "labels-alike" not in audited(table(label=labels * 30))


# Rows without text or label


def test_empty_rows_are_left_out_where_that_is_asked_for(tiny_model: Path) -> None:
    rows = [
        (text if row % 10 else ["", "  "][row % 20 == 0], label if row % 15 != 4 else "")
        for row, (text, label) in enumerate(labelled())
    ]
    put("data.csv", "text,label\n" + "".join(f"{text},{label}\n" for text, label in rows))
    with pytest.raises(UserError, match=r"row 5 has no label; set data\.drop_empty = true"):
        split("data.csv")
    splits = split("data.csv", drop_empty=True)
    assert splits.removed == {"train": 15}
    assert sum(splits.sizes.values()) == 75
    kept = {row for members in splits.members.values() for row in members.tolist()}
    assert kept == {row for row, (text, label) in enumerate(rows) if text.strip() and label}  # numbered as in the file
    data, said = init("data.csv", model=tiny_model)
    assert data.drop_empty
    assert "15 rows without a text or label are left out" in said
    prepared = prepare_study(load_study("study.toml"), Path("out"), lambda _: None).prepared
    assert prepared.removed == {"train": 15}
    assert sum(prepared.sizes.values()) == 75


def test_missing_values_of_every_kind_are_left_out() -> None:
    labels = [None if row % 9 == 1 else row % 2 for row in range(90)]
    pairs = [None if row % 9 == 2 else f"second {row}" for row in range(90)]
    pd.DataFrame({"text": sentences(), "text_pair": pairs, "label": labels}).to_parquet("data.parquet")
    options = {"text": "text", "text_pair": "text_pair"}
    with pytest.raises(UserError, match=r"data.drop_empty"):
        split("data.parquet", **options)
    splits = split("data.parquet", **options, drop_empty=True)
    assert splits.removed == {"train": 20}
    assert splits.label_names == ("0", "1")


def test_nothing_is_left_out_unasked() -> None:
    data, said = init(put("data.csv", "text,label\n" + lines("{text},{label}")))
    assert not data.drop_empty
    assert "drop_empty" not in said


# Files that are refused


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


def test_quotes_that_swallow_lines_are_noticed() -> None:
    rows = [f'"{text}' if row == 7 else f'{text}"' if row == 11 else text for row, text in enumerate(sentences())]
    put("a.tsv", "text\tlabel\n" + "".join(f"{text}\t{row % 2}\n" for row, text in enumerate(rows)))
    with pytest.raises(UserError, match=r"set data\.format\.quoting = 'none' where quotes mean nothing, or 'standard'"):
        split("a.tsv")
    assert len(split("a.tsv", format={"quoting": "none"}).rows) == 90
    assert len(split("a.tsv", format={"quoting": "standard"}).rows) == 86
    assert init("a.tsv")[0].format == FormatSpec(quoting="none")


def test_a_wrong_encoding_is_said_to_be_wrong() -> None:
    put("a.csv", "text,label\nテスト,x\n".encode("shift_jis"))
    with pytest.raises(UserError, match=r"is not gb18030|is not ascii, which data.format.encoding says .*; set data"):
        split("a.csv", format={"encoding": "ascii"})


def test_names_for_columns_in_place_of_those_in_the_file() -> None:
    put("a.csv", "a,b\n" + lines("{text},{label}"))
    assert len(split("a.csv", format={"columns": ["text", "label"]}).rows) == 90
    assert len(split("a.csv", format={"columns": ["text", "label"], "header": False}, drop_labels=["b"]).rows) == 91
    with pytest.raises(UserError, match=r"its first row has 2 cells, but data.format.columns has 1 names"):
        split("a.csv", format={"columns": ["text"]})


def test_long_arrays_are_read_piece_by_piece() -> None:
    items = [{"text": f"{row} {'word ' * 400}", "label": row % 2} for row in range(3000)]
    put("a.json", "  \n" + json.dumps(items, indent=1) + "\n\n")
    assert Path("a.json").stat().st_size > 5 << 20
    splits = split("a.json")
    assert len(splits.rows) == 3000
    put("b.json", json.dumps(items)[:-1])
    with pytest.raises(UserError, match="object 3000 of its array cannot be read: the array is not closed"):
        split("b.json")


def test_texts_without_a_token_are_refused_with_their_rows(tiny_model: Path, tmp_path: Path) -> None:
    import tokenizers

    for path in tiny_model.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    bare = tokenizers.Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    bare.post_processor = tokenizers.processors.Sequence([])  # which would put marks around texts
    bare.save(str(tmp_path / "tokenizer.json"))
    texts = ["  " if row in (4, 40) else text for row, text in enumerate(sentences(120))]
    pd.DataFrame({"text": texts, "label": [0, 1] * 60}).to_parquet("data.parquet")
    study = 'name = "t"\nseeds = 1\nmodel.id = "."\narms = [{ method = "full" }]\n[data]\nmax_length = 16\n'
    study += 'source = "files"\ntrain = "data.parquet"\naccept = ["empty-text"]\n'
    Path("study.toml").write_text(study)
    with pytest.raises(UserError, match=r"no token of the text of row (5|41) of data\.parquet(, row .*)?; set"):
        prepare_study(load_study("study.toml"), tmp_path / "out", lambda _: None)
    spec = load_study("study.toml", ["data.drop_empty=true"])
    assert prepare_study(spec, tmp_path / "out", lambda _: None).prepared.removed == {"train": 2}


def test_the_fingerprint_is_of_the_files_alone() -> None:
    put("a.csv", "text,label\n" + lines("{text},{label}"))
    prints = [
        FilesData(source="files", train="a.csv", format=spec).fingerprint()
        for spec in (FormatSpec(), FormatSpec(header=False))
    ]
    assert prints[0] == prints[1]
