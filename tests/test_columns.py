"""What columns are: `init` tells texts, pairs, labels and indices apart, and says what else they could be."""

from __future__ import annotations

import json
import random
import re
from pathlib import Path

import pandas as pd
import pytest

from file_parts import (
    TEAMS,
    audited,
    in_an_empty_folder_on_one_thread,
    init,
    labelled,
    lines,
    put,
    sentences,
    split,
    table,
    teams,
)
from tuneoff.core.errors import UserError
from tuneoff.spec import load_study
from tuneoff.study.prepare import audit_study

__all__ = ["in_an_empty_folder_on_one_thread"]


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
