"""`tuneoff predict`: texts, pipes and files get labels, what was stopped goes on, the rest is refused in one line."""

from __future__ import annotations

import gzip
import json
import os
import signal
import subprocess
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import tuneoff
from commands import Running, server_for, start_command
from conftest import Command, reviews
from predict_parts import ARMS, Models, models
from processes import wait_until
from tuneoff.cli import app
from tuneoff.cli.exits import exit_code, going_on
from tuneoff.serving import labelling
from tuneoff.serving.label_file import label_into
from tuneoff.serving.labelling import Labeller
from tuneoff.serving.text_rows import rows_of_file
from tuneoff.tasks.probabilities import softmax

__all__ = ["models"]

Say = Callable[..., tuple[int, str]]


@pytest.fixture
def said(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Say:
    """Carries out the command line in this process; gives its exit code, and what it printed as an error."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("tuneoff.training.cpu.settle_on_cpu", lambda threads: None)  # which lasts

    def call(*arguments: str | Path) -> tuple[int, str]:
        code = exit_code(lambda **options: app(["predict", *map(str, arguments)], **options))
        printed = capsys.readouterr()
        return code, printed.err if code else printed.out

    return call


def predicting(folder: Path, streams: Sequence[int], *arguments: str | Path) -> Running | subprocess.Popen[bytes]:
    """Starts `tuneoff predict` in a process, with these descriptors as its standard input and output."""
    environment = {**os.environ, "HF_HUB_OFFLINE": "1"}
    with (folder / "errors.txt").open("wb") as errors:
        descriptors = [*streams, errors.fileno()]
        return start_command(["predict", *map(str, arguments)], folder, environment, descriptors, server_for("predict"))


def ended(command: Running | subprocess.Popen[bytes], folder: Path) -> tuple[int, str]:
    """The exit code of what was started in a folder, and what it printed as an error."""
    return command.wait(), (folder / "errors.txt").read_text()


@pytest.mark.parametrize("arm", ARMS)
def test_a_file_gets_the_labels_that_the_study_stored(models: Models, arm: str, data_files: Path, said: Say) -> None:
    code, told = said(models[arm], "--file", data_files / "test.csv", "--out", "labels.parquet", "--probabilities")
    assert code == 0, told
    assert told.startswith("labels.parquet: 60 rows; ")
    found = pd.read_parquet("labels.parquet")
    stored = pd.read_parquet(models[arm].parent / "predictions.parquet")
    assert list(found) == [
        *("text", "label"),
        *("predicted_label", "predicted_probability", "predicted_probability_0", "predicted_probability_1"),
    ]
    assert found["text"].tolist() == pd.read_csv(data_files / "test.csv")["text"].tolist()
    assert found["predicted_label"].astype(int).tolist() == stored["prediction"].tolist()
    rules = json.loads((models[arm] / "tuneoff.json").read_text())["texts"]
    expected = softmax(np.stack(stored["logits"].to_list()) / rules["temperature"])
    np.testing.assert_allclose(found["predicted_probability_1"], expected[:, 1], atol=2e-4)


def test_texts_pipes_and_json(models: Models, tuneoff: Command, tmp_path: Path) -> None:
    texts = ["the film was superb", "a dull, long plot"]
    printed = tuneoff("predict", models["lora"], *texts)
    assert printed.returncode == 0, printed.stderr
    heading, *lines = printed.stdout.splitlines()
    assert heading == "text,label,probability"
    assert lines[1].startswith('"a dull, long plot",')
    read, write = os.pipe()
    os.write(write, "\n".join([texts[0], "", texts[1]]).encode())
    os.close(write)
    with (tmp_path / "piped").open("wb") as file, open(read, "rb") as pipe:  # noqa: PTH123
        streams = [pipe.fileno(), file.fileno()]
        code, warned = ended(predicting(tmp_path, streams, models["lora"], "--json"), tmp_path)
    assert code == 0
    rows = [json.loads(line) for line in (tmp_path / "piped").read_text().splitlines()]
    assert [row["text"] for row in rows] == [texts[0], "", texts[1]]
    assert rows[1] == {"text": "", "label": None, "probability": None}
    assert [f"{row['label']},{row['probability']}" for row in (rows[0], rows[2])] == [
        ",".join(line.rsplit(",", 2)[1:]) for line in lines
    ]
    assert warned == "tuneoff: 1 row has no text and got no label: row 2 of standard input\n"


def test_several_models_on_a_file(models: Models, said: Say) -> None:
    pd.DataFrame({"id": [7, 8], "sentence": ["a superb film", "dull music"]}).to_json(
        "in.jsonl", orient="records", lines=True
    )
    several = ["--model", f"mood={models['lora']}", "--model", f"topic={models['three']}"]
    code, told = said(*several, "--file", "in.jsonl", "--out", "out.jsonl")
    assert code == 0, told
    rows = [json.loads(line) for line in Path("out.jsonl").read_text().splitlines()]
    assert list(rows[0]) == ["id", "sentence", "mood_label", "mood_probability", "topic_label", "topic_probability"]
    assert [row["id"] for row in rows] == [7, 8]
    assert rows[0]["topic_label"] in ("bad", "fine", "good")
    code, told = said(*several, "a superb film")
    assert told.splitlines()[0] == "text,mood_label,mood_probability,topic_label,topic_probability"


def test_files_as_people_have_them(models: Models, said: Say) -> None:
    texts = ["a superb film", "", "dull; music", "good"]
    with gzip.open("semi.csv.gz", "wt", encoding="cp1252") as file:
        file.write("nummer;text;größe\n" + "".join(f'{row};"{text}";ä\n' for row, text in enumerate(texts)))
    Path("lines.txt").write_text("a superb film\n\ndull, music\ngood\n")
    pd.DataFrame({"words": texts, "n": [1, 2, 3, 4]}).to_parquet("table.parquet")
    expected = None
    for name, options in (("semi.csv.gz", []), ("lines.txt", []), ("table.parquet", ["--text", "words"])):
        code, told = said(models["full"], "--file", name, *options, "--out", f"{name}.tsv")
        assert code == 0, told
        found = pd.read_csv(f"{name}.tsv", sep="\t")
        assert found["label"].isna().tolist() == [False, True, False, False]
        expected = found["probability"].tolist() if expected is None else expected
        if name != "lines.txt":  # whose third text is another
            np.testing.assert_array_equal(found["probability"], expected)
    assert pd.read_csv("semi.csv.gz.tsv", sep="\t")["größe"].tolist() == ["ä"] * 4


@pytest.mark.parametrize("ending", ["csv", "jsonl", "parquet"])
def test_what_is_interrupted_goes_on_to_the_same_bytes(
    models: Models, tmp_path: Path, ending: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(labelling.PIECE_CHARACTERS, "cpu", 2000)
    source = tmp_path / "in.csv"
    reviews(400, seed=3).drop(columns="label").to_csv(source, index=False)
    predictor = tuneoff.load(models["full"], device="cpu")
    seen: list[int] = []

    def label(out: str, stop_after: int | None) -> Any:
        rows = rows_of_file(str(source), [predictor.saved[""].texts], None, None)

        def told(done: int, before: int) -> None:
            seen.append(before)
            if stop_after is not None and done > stop_after:
                raise KeyboardInterrupt

        return label_into(tmp_path / out, predictor, rows, Labeller(predictor, rows, True), told)

    whole = label(f"whole.{ending}", None)
    for stop_after in (100, 250):
        with pytest.raises(KeyboardInterrupt):
            label(f"cut.{ending}", stop_after)
        assert not (tmp_path / f"cut.{ending}").exists()
    with (tmp_path / f"cut.{ending}.part").open("ab") as part:
        part.write(b"half a row that a crash has left")
    went_on = label(f"cut.{ending}", None)
    assert 250 < went_on.before < 400
    assert (whole.rows, whole.before, went_on.rows) == (400, 0, 400)
    assert (tmp_path / f"cut.{ending}").read_bytes() == (tmp_path / f"whole.{ending}").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cut." + ending, "in.csv", "whole." + ending]
    with pytest.raises(KeyboardInterrupt):
        label(f"changed.{ending}", 100)
    reviews(401, seed=3).drop(columns="label").to_csv(source, index=False)
    with pytest.raises(tuneoff.UserError, match="was begun with another input; remove it to begin anew"):
        label(f"changed.{ending}", None)


def test_requests_that_cannot_be_carried_out_are_refused_in_one_line(models: Models, said: Say) -> None:
    model = models["full"]
    Path("table.csv").write_text("a,b\n1,2\n3,4\n")
    Path("there.csv").write_text("kept")
    Path("foreign.csv.part").write_text("kept")
    Path("empty.csv").write_text("text,n\n")
    Path("texts.csv").write_text("text,n\ngood,1\nbad,2\n")
    Path("ragged.csv").write_text("text,n\ngood,1\nbad\n")
    Path("table.parquet").write_text("text,n\ngood,1\n")
    Path("broken.csv").write_text("text,n\ngood,1\nbad,2\n" + "x" * 10 + "\n")
    for arguments, message in (
        ([], "name the folder of a saved model"),
        (["nowhere", "good"], "'nowhere' is not a folder"),
        ([model, ""], "text 1 is empty"),
        ([model, "good", "  "], "text 2 is empty"),
        ([model, "good", "--file", "texts.csv"], "either texts or --file"),
        ([model, "--file", "none.csv"], "there is no file 'none.csv'"),
        ([model, "--file", "table.csv"], "known to hold the texts; name it with --text"),
        ([model, "--file", "texts.csv", "--text", "txet"], "did you mean 'text'?"),
        ([model, "--file", "texts.csv", "--out", "there.csv"], "there.csv exists already"),
        ([model, "--file", "texts.csv", "--out", "there.xlsx"], "must end in one of .csv, .tsv, .jsonl, .parquet"),
        ([model, "--file", "texts.csv", "--out", "no/where.csv"], "there is no folder no"),
        ([model, "--file", "texts.csv", "--out", "foreign.csv"], "foreign.csv.part: is there, and not from tuneoff"),
        ([model, "--file", "empty.csv", "--out", "out.csv"], "empty.csv: there are no rows"),
        ([model, "--file", "broken.csv", "--out", "out.csv"], "has 1 cells"),
        ([model, "good", "--device", "tpu"], "device = 'tpu': choose one of"),
        ([model, "good", "--base", "nowhere"], "takes no base model"),
        (["--model", "x=", "good"], "write NAME=FOLDER"),
        (["--model", "x", "good"], "'x' is no model that tuneoff saved"),
        (["--model", f"x={model}", "--model", f"x={models['lora']}", "good"], "are both called 'x'; write NAME=FOLDER"),
        (["--model", str(model), "--model", f"full={model}", "good"], "are both called 'full'; write NAME=FOLDER"),
        ([model, "--file", "texts.csv", "--text-pair", "n"], "the model classifies single texts"),
        ([model, "--file", "texts.csv", "--out", ""], "it is empty"),
        ([model, "--file", "ragged.csv"], "or say with --read separator=... what does part them"),
        ([model, "--file", "table.parquet"], "give --read kind=csv or kind=json"),
        ([model, "--file", "texts.csv", "--read", "header=maybe"], "--read header: "),
        ([model, "--file", "texts.csv", "--read", "haeder=false"], "write KEY=VALUE, with one of kind, encoding"),
        ([model, "good", "--read", "header=false"], "are about a --file"),
        ([model, "--file", "texts.csv", "--out", f"{'x' * 245}.csv"], "File name too long"),
        ([models["lora"], "good", "--base", ""], "--base is empty"),
        ([models["lora"], "good", "--base", "."], "--base: '.' is no transformers model folder"),
    ):
        code, told = said(*arguments)
        assert (code, told.count("\n")) == (2, 1), told
        assert message in told
    assert Path("there.csv").read_text() == Path("foreign.csv.part").read_text() == "kept"
    assert not Path("out.csv").exists()


def test_a_reader_that_leaves_and_a_full_disk(models: Models, tmp_path: Path) -> None:
    reviews(3000, seed=4).to_csv(tmp_path / "in.csv", index=False)
    asked = (models["full"], "--file", "in.csv")
    with open(os.devnull, "rb") as nothing, open("/dev/full", "wb") as full:  # noqa: PTH123
        read, write = os.pipe()
        command = predicting(tmp_path, [nothing.fileno(), write], *asked)
        os.close(write)
        with open(read, "rb", buffering=0) as reader:  # noqa: PTH123
            assert reader.readline() == b"text,label,predicted_label,predicted_probability\n"
        assert ended(command, tmp_path)[1] == ""
        code, told = ended(predicting(tmp_path, [nothing.fileno(), full.fileno()], *asked), tmp_path)
    assert code == 2
    assert told == "tuneoff: standard output: No space left on device; what follows is not shown\n"


@pytest.mark.long
def test_a_killed_and_an_interrupted_command_go_on(models: Models, tmp_path: Path) -> None:
    reviews(30_000, seed=6).to_csv(tmp_path / "in.csv", index=False)
    kept = tmp_path / "cut.csv.part.json"

    def rows() -> int:
        return json.loads(kept.read_text())["done"]["rows"] if kept.exists() else 0

    def far(before: int) -> bool:
        return rows() > before + 4096 or (tmp_path / "cut.csv").exists()  # which would be too far

    with open(os.devnull, "r+b") as nothing:  # noqa: PTH123
        streams = [nothing.fileno()] * 2
        asked = (models["full"], "--file", "in.csv", "--out")
        for number, code in ((signal.SIGKILL, -signal.SIGKILL), (signal.SIGINT, 130)):
            before = rows()
            command = predicting(tmp_path, streams, *asked, "cut.csv")
            wait_until(partial(far, before), 300)
            os.kill(command.pid, number)
            ended_with, said = ended(command, tmp_path)
            assert ended_with == code
            end = "tuneoff: interrupted; the same command goes on from here\n" if number == signal.SIGINT else ""
            assert said.endswith(end)
            assert said.count("\n") == 2 * len(end.splitlines())  # how far it was before, and the end
            assert not (tmp_path / "cut.csv").exists()
        for name in ("cut.csv", "whole.csv"):
            assert ended(predicting(tmp_path, streams, *asked, name), tmp_path)[0] == 0
    assert (tmp_path / "cut.csv").read_bytes() == (tmp_path / "whole.csv").read_bytes()


def test_a_mended_file_is_labelled_where_nothing_was_before(models: Models, said: Say) -> None:
    for content, expected in (("text,n\ngood,1\nbad\n", 2), ("text,n\ngood,1\nbad,2\n", 0)):
        Path("mended.csv").write_text(content)
        code, told = said(models["full"], "--file", "mended.csv", "--out", "mended-labels.csv")
        assert code == expected, told
    assert len(pd.read_csv("mended-labels.csv")) == 2
    assert not list(Path().glob("*.part*"))


HEADLESS: dict[str, tuple[str, tuple[str, ...], int, str]] = {
    # the file, what is asked beside it, rows that are labelled, and what is said; no rows where nothing is
    "one column": ("it was fun\nso dull\n", (), 1, "the first line, 'it was fun', is taken for a header"),
    "one, said to have none": ("it was fun\nso dull\n", ("header=false",), 2, ""),
    "one, said to have one": ("it was fun\nso dull\n", ("header=true",), 1, ""),
    "one with a usual name": ("Review\nso dull\n", (), 1, ""),
    "names in place of others": ("it was fun,a\nso dull,b\n", ("columns=text,who",), 1, "'it was fun', 'a', is taken"),
    "a class of the model": ("it was fun,good\nso dull,bad\n", ("columns=text,was",), 2, ""),
    "a class with a column": ("review,good\nit was fun,1\nso dull,0\n", (), 2, ""),
    "two columns": ("it was fun,a\nso dull,b\n", (), 0, "add --read header=false if the first line names no columns"),
    "numbers": ("1,it was fun\n2,so dull\n", (), 0, "the first row has column1 '1', column2 'it was fun'"),
    "names of one word": ("a,b\nso dull,b\n", (), 0, "(a, b) is known to hold the texts; name it with --text\n"),
}


@pytest.mark.parametrize("name", HEADLESS)
def test_a_first_line_that_may_be_a_text_is_told_of(
    name: str, models: Models, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content, settings, rows, told = HEADLESS[name]
    monkeypatch.setattr("tuneoff.training.cpu.settle_on_cpu", lambda threads: None)
    (tmp_path / "in.csv").write_text(content)
    read = [part for setting in settings for part in ("--read", setting)]
    asked = ["predict", str(models["three"]), "--file", str(tmp_path / "in.csv"), *read]
    code = exit_code(lambda **options: app(asked, **options))
    printed = capsys.readouterr()
    assert (code, len(printed.out.splitlines())) == ((0, 1 + rows) if rows else (2, 0)), printed
    assert told in printed.err
    assert printed.err.count("\n") == bool(told)


def test_how_a_file_is_written_can_be_said(models: Models, said: Say) -> None:
    Path("mails").write_bytes("name\nsch\xf6n\n".encode("cp1252"))
    code, told = said(models["full"], "--file", "mails", "--read", "kind=csv", "--read", "encoding=cp1252")
    assert (code, [line.split(",")[0] for line in told.splitlines()]) == (0, ["name", "sch\xf6n"])
    code, told = said(models["full"], "--file", "mails", "--read", "kind=csv", "--read", "header=false")
    assert (code, told.count("\n")) == (2, 1)
    assert "give --read encoding=" in told


def test_only_what_goes_on_is_said_to_go_on(capsys: pytest.CaptureFixture[str]) -> None:
    def interrupted(**_: bool) -> None:
        raise KeyboardInterrupt

    def with_a_part(**_: bool) -> None:
        with going_on():
            raise KeyboardInterrupt

    assert [exit_code(interrupted), exit_code(with_a_part)] == [130, 130]
    assert capsys.readouterr().err == (
        "tuneoff: interrupted\ntuneoff: interrupted; the same command goes on from here\n"
    )
