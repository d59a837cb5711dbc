"""Rows without text, label or token: left out where that is asked for, and refused by their numbers otherwise."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from file_parts import in_an_empty_folder_on_one_thread, init, labelled, lines, put, sentences, split
from tuneoff.core.errors import UserError
from tuneoff.spec import load_study
from tuneoff.study.prepare import prepare_study

__all__ = ["in_an_empty_folder_on_one_thread"]


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
