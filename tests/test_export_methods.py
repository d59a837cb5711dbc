"""Exports of every method on every architecture, loaded by plain libraries."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from export_parts import data_of, model_of, stored_logits, texts_of
from plainly import run_lines
from saving import Case, names_of, train_and_save
from tuneoff.export.export import WRITERS, ExportFormat, export_model
from tuneoff.export.trained import Trained
from tuneoff.models.recipe import loading_lines
from tuneoff.models.saved import SavedFolder
from tuneoff.records.saved_model import SavedModel

KINDS = ("bert", "roberta", "electra", "llama")
MERGED = ("lora", "ia3", "qlora", "head_only", "full")
GRAPHS = [Case(kind, "lora", (2, 6)[number % 2]) for number, kind in enumerate(KINDS)]


@pytest.fixture(scope="module")
def trained_by_case(tmp_path_factory: pytest.TempPathFactory) -> dict[Case, Trained]:
    """Every method on every architecture, with two and with six classes."""
    folder = tmp_path_factory.mktemp("cases")
    frame = pd.read_csv(data_of(folder / "texts", 6) / "test.csv")
    texts = frame["text"].to_list()
    frame.to_parquet(folder / "test.parquet")
    found = {}
    for kind in KINDS:
        base = model_of(kind, folder / kind)
        for case in (Case(kind, method, classes) for method in MERGED for classes in (2, 6)):
            saved = train_and_save(base, case.method, names_of(case.classes), folder / "-".join(map(str, case)), texts)
            opened = SavedFolder.open(saved.folder)
            labels = [row % case.classes for row in range(len(texts))]
            stored = pd.DataFrame({"logits": list(saved.logits), "label": labels})
            found[case] = Trained(opened, opened.base_folder(), opened.saved.base, folder / "test.parquet", stored)
    return found


@pytest.mark.wide
def test_every_method_on_every_architecture_is_exported(
    trained_by_case: dict[Case, Trained], tmp_path: Path, subtests: pytest.Subtests
) -> None:
    """Loaded by plain libraries, all in one fresh process, exports compute what was trained.

    Where that was on a base model in 4 bits, the merged model computes what the adapter does on one in full precision.
    """
    asked: dict[tuple[str, Case], str] = {}

    def written(form: ExportFormat, case: Case) -> SavedModel:
        folder = tmp_path / form / "-".join(map(str, case))
        folder.mkdir(parents=True)
        trained = trained_by_case[case]
        saved = WRITERS[form](trained, folder)
        asked[form, case] = loading_lines(saved, str(folder), str(trained.base_folder) if saved.needs_base else None)
        return saved

    for case, trained in trained_by_case.items():
        merged = written("merged", case)
        assert (merged.kind, merged.quantised) == ("whole", False)
        if case.method == "qlora":
            written("model", case)
            unrounded = trained.opened.saved.model_copy(update={"quantization": None})
            lines = loading_lines(unrounded, str(trained.opened.folder), str(trained.base_folder))
            asked["in full precision", case] = lines
    for case in GRAPHS:
        written("onnx", case)
    texts = texts_of(next(iter(trained_by_case.values())))
    plain = dict(zip(asked, run_lines(asked.values(), texts), strict=True))
    for (form, case), answers in plain.items():
        with subtests.test(f"{form} {case}"):
            expected = stored_logits(trained_by_case[case])
            if form == "merged" and case.method == "qlora":
                stored, expected = expected, plain["in full precision", case].padded
                assert np.abs(expected - stored).max() > 1e-4  # it is another model
            if form != "in full precision":
                np.testing.assert_allclose(answers.alone, expected, rtol=0, atol=1e-4)
                np.testing.assert_allclose(answers.padded, expected, rtol=0, atol=1e-4)


@pytest.mark.long
@pytest.mark.parametrize(
    ("case", "form"), [(Case("llama", "qlora", 6), "model"), (Case("electra", "ia3", 2), "merged")], ids=str
)
def test_an_export_passes_its_own_check(
    case: Case, form: ExportFormat, trained_by_case: dict[Case, Trained], tmp_path: Path
) -> None:
    saved = export_model(trained_by_case[case], tmp_path / "out", form, lambda message: None)
    assert saved.check is not None
    assert (saved.check.texts, saved.check.batch_size) == (40, 16)
