"""`tuneoff init`: what it understands of data, and the study file that it writes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from conftest import Command, reviews
from tuneoff.core.errors import UserError
from tuneoff.data.sources.files import FilesData
from tuneoff.spec import StudySpec, load_study
from tuneoff.study.init import init_study

datasets = pytest.importorskip("datasets", reason="datasets is not installed (the extra 'hub')")


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def tickets(rows: int = 60, **columns: Any) -> pd.DataFrame:
    """Data without usual names of columns."""
    frame = pd.DataFrame(
        {
            "ticket": [f"T-{row:05}" for row in range(rows)],
            "subject": [f"The printer number {row} on the second baseline is out of paper" for row in range(rows)],
            "team": [("billing", "hardware", "login")[row % 3] for row in range(rows)],
            "customer": [f"customer {row // 3}" for row in range(rows)],
        }
    )
    return frame.assign(**columns)


def init(*data: str, out: Path | None = None, **columns: str) -> tuple[StudySpec, FilesData, str]:
    """The study, its data, and what was printed with the file's text."""
    said: list[str] = []
    path = init_study(data, "some/model", out, said.append, **columns)
    study = load_study(path)
    assert isinstance(study.data, FilesData)
    return study, study.data, "\n".join([*said, path.read_text()])


def test_columns_without_usual_names() -> None:
    tickets().to_csv("tickets.csv", index=False)
    study, data, said = init("tickets.csv")
    assert (study.name, study.model.id, data.train) == ("tickets", "some/model", "tickets.csv")
    assert (data.text, data.label, data.split, data.test) == ("subject", "team", None, None)
    assert (data.train_size, data.max_length, data.deduplicate) == (None, 32, False)
    assert [(arm.method, arm.learning_rate) for arm in study.arms] == [
        ("full", None),
        ("lora", None),
        ("qlora", None),
        ("ia3", None),
    ]
    for expected in (
        "rows        60; columns ticket, subject, team, customer",
        "3 classes: billing 20, hardware 20, login 20",
        "60 rows; held out: a fifth of all rows for test, a tenth of train for validation; that makes train ",
        '# group = "customer"',
    ):
        assert expected in said
    assert data.group is None


@pytest.mark.parametrize("name", ["data.csv", "data.tsv", "data.jsonl", "data.parquet"])
def test_every_format_is_understood_alike(name: str) -> None:
    frame = reviews(80, seed=0).assign(part=["train"] * 60 + ["Test"] * 20)
    {
        "data.csv": lambda: frame.to_csv(name, index=False),
        "data.tsv": lambda: frame.to_csv(name, index=False, sep="\t"),
        "data.jsonl": lambda: frame.to_json(name, orient="records", lines=True),
        "data.parquet": lambda: frame.to_parquet(name),
    }[name]()
    _, data, said = init(name)
    assert (data.text, data.label, data.split) == ("text", "label", "part")
    assert (
        "by the column part: train 60, test 20; held out: a tenth of train for validation; that makes train 54" in said
    )


def test_pairs_of_texts() -> None:
    frame = tickets().rename(columns={"subject": "Premise", "ticket": "Hypothesis", "team": "class"})
    frame.to_parquet("pairs.parquet")
    _, data, _ = init("pairs.parquet")
    assert (data.text, data.text_pair, data.label) == ("Premise", "Hypothesis", "class")


def test_files_are_told_apart_by_their_names() -> None:
    for name, first in (("mood-train.csv", 0), ("mood-test.csv", 200), ("mood-dev.csv", 300)):
        reviews(40, seed=first, first_row=first).to_csv(name, index=False)
    study, data, said = init("mood-test.csv", "mood-dev.csv", "mood-train.csv")
    assert study.name == "mood"
    assert (data.train, data.validation, data.test) == ("mood-train.csv", "mood-dev.csv", "mood-test.csv")
    assert "splits      train 40, validation 40, test 40" in said
    reviews(40, seed=9).to_csv("all.csv", index=False)
    _, data, _ = init("all.csv", "mood-test.csv")
    assert (data.train, data.test) == ("all.csv", "mood-test.csv")
    for wrong, expected in (
        (("mood-train.csv", "all.csv"), "all.csv: its name has none of the words"),
        (("mood-train.csv", "mood-train.csv"), "would both be train"),
    ):
        with pytest.raises(UserError, match=expected):
            init(*wrong, out=Path("other.toml"))


def test_patterns_and_folders(tmp_path: Path) -> None:
    (tmp_path / "news").mkdir()
    for part in range(3):
        reviews(30, seed=part, first_row=part * 100).to_csv(f"news/train-{part}.csv", index=False)
    study, data, said = init("news/train-*.csv")
    assert (study.name, data.train) == ("news", "news/train-*.csv")
    assert "rows        90" in said
    splits = {
        name: datasets.Dataset.from_pandas(reviews(30, seed=5, first_row=at))
        for name, at in (("train", 0), ("test", 90))
    }
    datasets.DatasetDict(splits).save_to_disk("saved")
    study, data, said = init("saved")
    assert (study.name, data.train, data.test) == ("saved", "saved", None)
    assert "train 30, test 30" in said


def test_lengths_decide_max_length() -> None:
    for words, expected in ((10, 32), (60, 128), (5000, 512)):
        frame = reviews(40, seed=0)
        frame.assign(text=[f"{row} " + "words " * words for row in range(40)]).to_csv(f"of{words}.csv", index=False)
        assert init(f"of{words}.csv")[1].max_length == expected


def test_max_length_fits_the_model(tiny_model: Path) -> None:
    for words, expected in ((10, 32), (900, 64)):
        frame = reviews(40, seed=0).assign(text=[f"{row} " + "words " * words for row in range(40)])
        frame.to_csv(f"of{words}.csv", index=False)
        said: list[str] = []
        path = init_study([f"of{words}.csv"], str(tiny_model), None, said.append)
        assert load_study(path).data.max_length == expected
        assert any("takes at most 64 tokens" in line for line in said) == (words == 900)
    assert "model       is not on this machine yet" in init("of10.csv", out=Path("elsewhere.toml"))[2]
    with pytest.raises(UserError, match=r"'\./nowhere' is not a folder"):
        init_study(["of10.csv"], "./nowhere", Path("other.toml"), said.append)
    assert not Path("other.toml").exists()


def test_repeated_texts_turn_deduplication_on() -> None:
    frame = reviews(60, seed=0)
    pd.concat([frame, frame.head(7)]).to_csv("repeated.csv", index=False)
    _, data, said = init("repeated.csv")
    assert data.deduplicate
    assert "7 rows have the text of an earlier row" in said


def test_what_is_said_is_about_columns_that_are_named() -> None:
    long = [f"row {row} {'goes on and on ' * 40}" for row in range(60)]
    frame = tickets(answer=long, urgent=["yes", "no", "no", "no"] * 15)
    frame.to_csv("tickets.csv", index=False)
    _, data, said = init("tickets.csv", text="subject", label="urgent")
    assert (data.text, data.text_pair, data.label, data.max_length) == ("subject", None, "urgent", 32)
    assert "2 classes: no 45, yes 15" in said
    assert "could also be" not in said
    _, data, said = init("tickets.csv", out=Path("pairs.toml"), text="subject", text_pair="answer")
    assert (data.text, data.text_pair, data.label, data.max_length) == ("subject", "answer", "team", 256)
    assert "subject with answer: 6" in said
    assert "an example is" not in said


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        ({"text": "subjct"}, r"no column 'subjct' \(--text\); its columns are .*; did you mean 'subject'\?"),
        ({"text_pair": "TEAMS"}, r"no column 'TEAMS' \(--text-pair\).*; did you mean 'team'\?"),
        ({"label": "?"}, r"no column '\?' \(--label\); its columns are ticket, subject, team, customer$"),
        ({"text": "team", "label": "team"}, r"'team' cannot be both text and label"),
        ({"text_pair": "team", "label": "team"}, r"'team' cannot be both data.text_pair and data.label"),
        (
            {"label": "ticket"},
            r"ticket looks like an id, .* 60 different values in 60 rows.* team, customer may be$",
        ),
    ],
)
def test_columns_that_cannot_be(columns: dict[str, Any], expected: str) -> None:
    tickets().to_csv("tickets.csv", index=False)
    with pytest.raises(UserError, match=expected):
        init("tickets.csv", **columns)
    assert not Path("tickets.toml").exists()


def test_a_named_column_of_a_file_without_a_header() -> None:
    tickets(urgent=["yes", "no", "no", "no"] * 15).to_csv("tickets.csv", index=False, header=False)
    _, data, said = init("tickets.csv", label="column5")
    assert data.format.columns == ("column1", "text", "column3", "column4", "label")
    assert (data.text, data.label) == ("text", "label")
    assert "2 classes: no 45, yes 15" in said


def test_rows_of_the_data_and_rows_that_a_study_uses() -> None:
    frame = tickets(63)
    frame.loc[[3, 9], "subject"] = ""
    frame.loc[5, "team"] = "N/A"
    again = frame.iloc[[20, 21]].assign(team=["login", "billing"])  # one of which is what it was
    again["team"] = [frame["team"][20], "none of them" if frame["team"][21] == "billing" else "billing"]
    pd.concat([frame, again]).to_csv("tickets.csv", index=False)
    _, _, said = init("tickets.csv")
    assert "rows        65 in the data, of which a study uses 60; columns ticket" in said
    assert "2 rows have the text of an earlier row, 1 of them with another label; the first row of each text" in said
    assert "splits      60 rows; held out: a fifth of all rows for test" in said
    assert "1 row is left out whose label, N/A, means none" in said


@pytest.mark.parametrize("beside", [{}, {"tokens": [[1, 2, 2], [2, 1]] * 30}, {"score": [0.5, 1.25] * 30}])
def test_lists_of_words_are_labels_whatever_they_are_called(beside: dict[str, Any]) -> None:
    sets = [["rain", "wind"], [], ["rain"], ["snow"], ["wind", "snow"], ["rain", "snow"]] * 10
    own = [[f"word {row}"] for row in range(60)]  # that recur no more than texts do
    frame = tickets(phenomena=sets, words=own, **beside).drop(columns=["team", "customer"])
    frame.to_json("weather.jsonl", orient="records", lines=True)
    _, data, said = init("weather.jsonl")
    assert (data.text, data.label, data.task) == ("subject", "phenomena", "multi_label")
    assert "could also be" not in said
    frame.assign(size=["small", "large"] * 30).to_json("classes.jsonl", orient="records", lines=True)
    _, data, said = init("classes.jsonl")
    assert (data.label, data.task) == ("size", "single_label")
    assert "phenomena could also be data.label" in said


@pytest.mark.parametrize(
    "day", ["{0:02d}.03.2026", "2026-03-{0:02d}", "2026-03-{0:02d}T08:30:00Z", "3/{0}/2026 8:30", "8:{0:02d}"]
)
def test_dates_are_no_classes(day: str) -> None:
    frame = tickets(came=[day.format(1 + row % 20) for row in range(60)]).drop(columns="customer")
    frame.to_csv("tickets.csv", index=False)
    _, data, said = init("tickets.csv")
    assert (data.label, "could also be" in said) == ("team", False)


def test_names_that_would_break_toml() -> None:
    text, label = 'the "text"\n# = [', "la\tbel = '''"
    frame = tickets().rename(columns={"subject": text, "team": label}).replace({"billing": "a\nb\x1b[0m"})
    frame.to_csv("a b'c\".csv", index=False)
    study, data, said = init("a b'c\".csv")
    assert (data.text, data.label, data.train) == (text, label, "a b'c\".csv")
    assert study.name == "a-b-c"
    assert "\x1b" not in said


@pytest.mark.parametrize(
    ("file", "name"),
    [("Beschwerden März.csv", "Beschwerden-Marz"), ("Größe_été.csv", "Grosse-ete"), ("señal-train.csv", "senal")],
)
def test_names_keep_their_letters_without_accents(file: str, name: str) -> None:
    tickets().to_csv(file, index=False)
    assert init(file)[0].name == name


REFUSED: dict[str, tuple[str, str]] = {
    "no rows": ("text,label\n", "there are no rows"),
    "nothing like texts": ("size,label\n" + "3,a\n4,b\n" * 9, "looks like texts; name it with --text"),
    "nothing like classes": (
        "text,id\n" + "".join(f"a longer text {row},{row}\n" for row in range(40)),
        "looks like classes; name it with --label",
    ),
    "one class": ("text,label\n" + "".join(f"text {row},a\n" for row in range(40)), "every label is 'a'"),
    "a broken row far below": (
        "text,label\n" + "".join(f"text {row},{row % 2}\n" for row in range(9000)) + "x\n",
        "9002",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_a_study_could_not_use_is_refused(name: str, tmp_path: Path) -> None:
    content, expected = REFUSED[name]
    Path("data.csv").write_text(content)
    with pytest.raises(UserError, match=expected) as caught:
        init("data.csv")
    assert "\n" not in str(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == ["data.csv"]


def test_the_command(tuneoff: Command, tiny_model: Path, tmp_path: Path) -> None:
    tickets().to_csv("tickets.csv", index=False)
    answer = tuneoff("init", "tickets.csv", "--model", tiny_model)
    assert answer.returncode == 0, answer
    assert "wrote       tickets.toml; next: tuneoff plan tickets.toml" in answer.stdout
    before = (tmp_path / "tickets.toml").read_bytes()
    planned = tuneoff("plan", "tickets.toml", "--json", "--set", "training.device=cpu")
    assert planned.returncode == 0, planned
    assert {"full", "lora", "qlora", "ia3"} <= set(json.dumps(json.loads(planned.stdout)).replace('"', " ").split())
    for arguments, expected in (
        (["tickets.csv", "--model", "m"], "tickets.toml exists already; name another file with --out"),
        (["tickets.csv", "--model", "m", "--out", "no/where.toml"], "there is no folder no"),
        (["nowhere.csv", "--model", "m"], "there is no file 'nowhere.csv'"),
        (["tickets.csv"], "--model"),
    ):
        answer = tuneoff("init", *arguments)
        assert answer.returncode == 2, answer
        assert len(answer.stderr.splitlines()) == 1
        assert expected in answer.stderr
    assert (tmp_path / "tickets.toml").read_bytes() == before
    assert {path.name for path in tmp_path.iterdir()} == {"tickets.csv", "tickets.toml"}
