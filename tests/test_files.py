"""Files as people have them: `init` finds out how they are written and says so, and what it writes runs as it is."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from conftest import Command
from file_parts import Content, in_an_empty_folder_on_one_thread, init, labelled, lines, put, sentences, split
from tuneoff.core.errors import UserError
from tuneoff.data.formats.spec import FormatSpec
from tuneoff.data.sources.files import FilesData
from tuneoff.spec import load_study
from tuneoff.study.prepare import audit_study, prepare_study
from tuneoff.study.preview import outline_study

__all__ = ["in_an_empty_folder_on_one_thread"]


def objects() -> list[dict[str, Any]]:
    return [{"text": text, "label": label} for text, label in labelled()]


def stray_quotes() -> str:
    """As GLUE's files: quotes begin and end cells, and mean nothing."""
    rows = []
    for row, (text, label) in enumerate(labelled()):
        quoted = f'"{text}' if row % 7 == 2 else f'{text}"' if row % 7 == 5 else text
        rows.append(f"{quoted}\t{label}\n")
    return "sentence\tteam\n" + "".join(rows)


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


def test_the_fingerprint_is_of_the_files_alone() -> None:
    put("a.csv", "text,label\n" + lines("{text},{label}"))
    prints = [
        FilesData(source="files", train="a.csv", format=spec).fingerprint()
        for spec in (FormatSpec(), FormatSpec(header=False))
    ]
    assert prints[0] == prints[1]
