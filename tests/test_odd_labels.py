"""Labels that are numbers, ids, spelt nearly alike, or mean that there is none."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from file_parts import TEAMS, audited, in_an_empty_folder_on_one_thread, init, put, sentences, split, table, teams
from tuneoff.core.errors import UserError
from tuneoff.spec import load_study
from tuneoff.study.prepare import audit_study

__all__ = ["in_an_empty_folder_on_one_thread"]

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
    assert f"{name} holds 41 different numbers that are not all whole, such as 1.1: numbers to predict" in message
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


# Labels spelt nearly alike


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


def test_white_space_around_a_label_makes_no_other_one() -> None:
    data, said = init(table(labels=([" good", "bad", "good", "bad "] * 90)[: len(teams())]))
    assert "2 classes: " in said
    assert split("data.csv", **data.model_dump(include={"text", "label"})).label_names == ("bad", "good")
