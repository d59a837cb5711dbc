"""The formats of a report: all show the same numbers, and no text of the data acts in any of them."""

from __future__ import annotations

import csv
import json
import os
import re
import sys
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import tuneoff as api
from commands import run_command, server_for
from conftest import Command, reviews, study_toml
from processes import main_here
from tuneoff.records.summary import Summary
from tuneoff.report.words import learning_mark

NASTY = ("<script>alert(1)</script>", r"a_b #c $d$ 100% \e{f} *g* [h] |i| ~j^ 'k' `l` @m // n")
KIND = "kind_of|text #1"
ARMS = [
    'method = "lora"\nname = "lora_r8"\nlearning_rate = 5e-4',
    "head_only",
    'method = "full"\nname = "hopeless"\nlearning_rate = 1e30',
]
ALL = "html,md,pdf,notebook,csv,latex"
Table = list[list[str]]


@pytest.fixture(scope="module")
def study(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished study with special characters in its classes and groups, an arm that failed, and every format."""
    folder = tmp_path_factory.mktemp("formats")
    for name, rows in (("train.csv", reviews(120, seed=1)), ("test.csv", reviews(60, seed=2, first_row=1000))):
        frame = rows.assign(label=rows["label"].map(dict(enumerate(NASTY))))
        frame[KIND] = [NASTY[row % 2] if row % 3 else "plain" for row in range(len(frame))]
        frame.to_csv(folder / name, index=False)
    text = study_toml(tiny_model, folder, ARMS)
    text = text.replace("[data]", f"[data]\nbreakdown = {json.dumps(KIND)}")
    (folder / "study.toml").write_text(text)
    api.run_study(api.load_study(folder / "study.toml"), folder / "out", report=False)
    return folder / "out"


@pytest.fixture(scope="module")
def written(study: Path) -> dict[str, Any]:
    """The study's folder with every format in it, and what `tuneoff report` printed."""
    environment = {**os.environ, "HF_HUB_OFFLINE": "1"}
    answer = run_command(["report", str(study), "--format", ALL], study.parent, environment, 300, server_for("report"))
    assert answer.returncode == 0, answer.stderr
    return {"folder": study, "printed": answer.stdout}


class Tables(HTMLParser):
    """The text of every table of a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tables: list[Table] = []
        self._cell: list[str] | None = None
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        if tag == "table":
            self.tables.append([])
        elif tag == "tr":
            self.tables[-1].append([])
        elif tag in ("td", "th"):
            self._cell = []

    def handle_data(self, data: str) -> None:
        if self._cell is not None:
            self._cell.append(data)

    def handle_endtag(self, tag: str) -> None:
        if tag in ("td", "th") and self._cell is not None:
            self.tables[-1][-1].append(" ".join("".join(self._cell).split()))
            self._cell = None


def from_markdown(folder: Path) -> Table:
    lines = (folder / "report.md").read_text().split("| arm |", 1)[1].split("\n\n")[0].splitlines()
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def from_page(folder: Path) -> Table:
    return result_table((folder / "report.html").read_text())


def result_table(page: str) -> Table:
    """The first table whose first heading is the arm, without headings."""
    return next(table[1:] for table in Tables(page).tables if table[0][0].startswith("arm"))


def from_latex(folder: Path) -> Table:
    return latex_tables(folder)[0][1:]


def latex_tables(folder: Path) -> list[Table]:
    found = re.findall(r"\\begin\{tabular\}\{.*?\}\n(.*?)\\end\{tabular\}", (folder / "report.tex").read_text(), re.S)
    rows = [[line[:-2] for line in body.splitlines() if line.endswith(r"\\")] for body in found]
    return [[[from_tex(cell) for cell in re.split(r"(?<!\\)&", line)] for line in table] for table in rows]


TEX = {
    "textbackslash": "\\", "textasciitilde": "~", "textasciicircum": "^", "textless": "<", "textgreater": ">",
    "textbar": "|", "textquotedbl": '"', "textasciigrave": "`", "textquotesingle": "'", "textdagger": "†",
}  # fmt: skip


def from_tex(cell: str) -> str:
    """What LaTeX would set; fails where a character would act."""
    shown = []
    for part in re.finditer(r"\\(text\w+)\{\}|\\([{}#$%&_])|\{([\[*])\}|(-)\{\}|([^\\{}#$%&_^~<>|\"`'*\[]+)|(.)", cell):
        name, escaped, braced, dash, plain, acting = part.groups()
        assert acting is None, f"{acting} acts in {cell}"
        shown.append(TEX[name] if name else escaped or braced or dash or plain)
    return "".join(shown).strip()


def megabytes(size: float) -> str:
    return f"{size / 1e6:.{4 if size < 1e4 else 2}f} MB"


def from_csv(folder: Path) -> Table:
    """The raw numbers in the words of the other formats."""
    table = []
    summary = Summary.model_validate_json((folder / "summary.json").read_text())
    marks = {arm.arm: learning_mark(arm) for arm in summary.arms}
    with (folder / "report.csv").open(newline="") as handle:
        for row in csv.DictReader(handle):
            if row["kind"] == "baseline":
                table.append([f"baseline: {row['name']}", f"{100 * float(row['test_accuracy']):.1f}%", *[""] * 6])
            elif not row["test_accuracy"]:
                table.append([f"{row['name']} ({row['failed_runs']} failed)", "diverged", *[""] * 6])
            else:
                table.append(
                    [
                        row["name"],
                        f"{100 * float(row['test_accuracy']):.1f}%{marks[row['name']]}",
                        f"{100 * float(row['test_accuracy_ci_low']):.1f} to "
                        f"{100 * float(row['test_accuracy_ci_high']):.1f}",
                        f"{100 * float(row['test_macro_f1']):.1f}",
                        f"{float(row['train_seconds']):.1f} s",
                        f"{float(row['peak_train_memory_bytes']) / 1e6:,.0f} MB",
                        f"{int(row['trainable_parameters']):,}",
                        megabytes(float(row["checkpoint_bytes"])),
                    ]
                )
    return table


def from_pdf(folder: Path) -> Table:
    lines = pdf_text(folder, "layout").split("checkpoint", 1)[1].splitlines()[1:]
    cells = [re.split(r"\s{2,}", line.strip()) for line in lines[: lines.index("") or None] if line.strip()]
    return [[*row, *[""] * (8 - len(row))] for row in cells]


def pdf_text(folder: Path, mode: Any = "plain") -> str:
    from pypdf import PdfReader

    return "\n".join(page.extract_text(extraction_mode=mode) for page in PdfReader(folder / "report.pdf").pages)


def from_notebook(folder: Path) -> Table:
    """The table that the notebook shows when it is executed where it lies."""
    import nbformat
    from nbclient import NotebookClient

    notebook = nbformat.read(folder / "report.ipynb", as_version=4)
    NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(folder)}}).execute()
    outputs = [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
    assert sum("image/svg+xml" in output.get("data", {}) for output in outputs) == 7  # no training sizes
    return result_table(outputs[0]["data"]["text/html"])


READERS: dict[str, Callable[[Path], Table]] = {
    "md": from_markdown,
    "html": from_page,
    "latex": from_latex,
    "pdf": from_pdf,
    "notebook": from_notebook,
}


@pytest.mark.parametrize("name", READERS)
def test_the_table_of_each_format_holds_the_numbers_of_the_csv(name: str, written: dict[str, Any]) -> None:
    expected = from_csv(written["folder"])
    assert [row[0] for row in expected[:3]] == ["lora_r8", "head_only", "hopeless (2 failed)"]
    assert len(expected) == 5
    assert READERS[name](written["folder"]) == expected


def test_the_terminal_shows_the_same_numbers(written: dict[str, Any]) -> None:
    lines = [line.strip() for line in written["printed"].splitlines()]
    first = next(number for number, line in enumerate(lines) if line.startswith("─")) + 1
    for number, row in enumerate(from_csv(written["folder"]), start=first):
        assert re.split(r"\s{2,}", lines[number]) == [row[index] for index in (0, 1, 2, 4, 5, 6) if row[index]]


def test_every_file_is_named_and_whole(written: dict[str, Any]) -> None:
    for name in ("report.html", "report.md", "report.pdf", "report.ipynb", "report.csv", "report.tex"):
        assert (written["folder"] / name).stat().st_size > 0
        assert name in written["printed"]
    assert not list(written["folder"].rglob("*.tmp"))


def test_texts_of_the_data_stay_texts(written: dict[str, Any]) -> None:
    folder = written["folder"]
    texts = (*NASTY, KIND)

    def bare(text: str) -> str:
        return "".join(text.split())

    page = (folder / "report.html").read_text()
    assert "<script>alert" not in page
    cells = {cell for table in Tables(page).tables for row in table for cell in row}
    header = next(csv.reader((folder / "report.csv").open(newline="")))
    tex = {cell for table in latex_tables(folder) for row in table for cell in row}
    for text in texts:
        assert any(text in cell for cell in cells), text
        assert any(text in cell for cell in tex), text
        assert any(text in name for name in header), text
        assert bare(text) in bare(pdf_text(folder)), text
    plain = re.sub(r"\\([\\`*_{}\[\]()#+!|~-])", r"\1", (folder / "report.md").read_text())
    assert "<script>" not in plain
    for text in texts:
        assert text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;") in plain


def test_the_pages_of_the_pdf_show_something(written: dict[str, Any]) -> None:
    import numpy as np
    import pypdfium2
    from pypdf import PdfReader

    path = written["folder"] / "report.pdf"
    document = pypdfium2.PdfDocument(path)
    assert 2 <= len(document) <= 8
    for number, page in enumerate(document):
        image = page.render(scale=1).to_pil()
        image.save(written["folder"] / f"page-{number}.png")
        inked = (np.asarray(image.convert("L")) < 128).mean()
        least = 0.003 if number + 1 < len(document) else 0.0  # the last page may hold one line alone
        assert inked > least, f"page {number + 1} is empty"
    colours = np.asarray(document[0].render(scale=1).to_pil().convert("RGB")).reshape(-1, 3)
    assert (colours == (0, 0x72, 0xB2)).all(axis=1).any()  # the first arm's colour in a chart
    reader = PdfReader(path)
    assert reader.metadata is not None
    assert reader.metadata.title == "tiny: fine-tuning methods compared"
    assert all(not page.images for page in reader.pages)  # charts are drawn, not painted
    text = " ".join(pdf_text(written["folder"]).split())
    for part in ("Hu et al. 2021", "trains low-rank updates", "hopeless, seed 1", "tuneoff run", "Holm 1979"):
        assert part in text


def test_the_pdf_refers_to_its_sections_figures_tables_and_sources(written: dict[str, Any]) -> None:
    from pypdf import PdfReader

    reader = PdfReader(written["folder"] / "report.pdf")
    text = " ".join(" ".join(page.extract_text() for page in reader.pages).split())
    titles = [str(entry.title) for entry in reader.outline if not isinstance(entry, list)]
    assert titles[0] == "1 Result"
    assert titles[-1] == f"{len(titles)} References"
    for kind in ("Table", "Figure"):
        numbers = [int(number) for number in re.findall(rf"{kind} (\d+)\. ", text)]  # of captions
        assert sorted(set(numbers)) == list(range(1, max(numbers) + 1))
        assert re.search(rf"{kind} \d+ (holds|to|show)|(see|and|to) {kind} \d+", text)
    links = [link for page in reader.pages for link in page.get("/Annots", [])]
    inside = [link for link in links if "/URI" not in str(link.get_object())]
    cited = re.findall(r"\[\d\]", text)
    assert len(inside) >= len(titles) + len(set(cited))


def test_the_same_results_give_the_same_pdf(written: dict[str, Any]) -> None:
    from tuneoff.report.pdf import write_pdf

    first = (written["folder"] / "report.pdf").read_bytes()
    assert write_pdf(api.load_results(written["folder"])).read_bytes() == first


def test_a_study_without_a_result_has_every_format(study: Path, tmp_path: Path) -> None:
    import shutil

    from tuneoff.report.formats import FORMATS, write_formats

    folder = tmp_path / "empty"
    shutil.copytree(study, folder, ignore=shutil.ignore_patterns("runs", "report.*", "charts"))
    files = write_formats(api.load_results(folder), list(FORMATS))
    assert all(path.stat().st_size > 0 for path in files.values())
    assert "not run yet" in pdf_text(folder)


def test_a_frame_can_be_made_of_the_csv(written: dict[str, Any]) -> None:
    frame = pd.read_csv(written["folder"] / "report.csv")
    summary = json.loads((written["folder"] / "summary.json").read_text())
    assert frame["test_accuracy"][0] == summary["arms"][0]["test_accuracy"]["mean"]
    assert frame["peak_train_memory_bytes"][1] == summary["arms"][1]["peak_train_memory_bytes"]
    assert frame["train_seconds"][1] == summary["arms"][1]["train_seconds"]


@pytest.mark.parametrize("given", ["xml", "html,,md", "html,PDF", ""])
def test_an_unknown_format_is_refused_in_one_line(given: str, study: Path, tuneoff: Command) -> None:
    before = {path: path.stat().st_mtime_ns for path in study.iterdir()}
    answer = tuneoff("report", study, "--format", given)
    assert answer.returncode == 2
    assert answer.stderr.count("\n") == 1
    assert "html, md, pdf, notebook, csv, latex" in answer.stderr
    assert {path: path.stat().st_mtime_ns for path in study.iterdir()} == before


def test_a_format_whose_package_is_missing_names_what_to_install(
    study: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "typst", None)  # as if it were not installed
    assert main_here(monkeypatch, "report", str(study), "--format", "md,pdf") == 2
    assert (
        capsys.readouterr().err.strip() == "tuneoff: --format pdf needs the package typst: pip install 'tuneoff[pdf]'"
    )


def test_results_show_themselves_in_a_notebook(written: dict[str, Any]) -> None:
    results: Any = api.load_results(written["folder"])
    assert result_table(results._repr_html_())[0][0] == "lora_r8"
    drawn = {name: getattr(results.plot, name)().to_dict() for name in ("accuracy", "training_time", "peak_memory")}
    assert all(chart["$schema"].startswith("https://vega.github.io/schema/vega-lite/") for chart in drawn.values())
    for cost in ("time", "memory", "parameters"):
        assert results.plot.pareto(cost).to_dict()["layer"]
    with pytest.raises(api.UserError, match="time, memory, parameters, latency"):
        results.plot.pareto("money")
    with pytest.raises(api.UserError, match="no chart 'accuracy_by_train_size'"):
        results.plot.chart("accuracy_by_train_size")
