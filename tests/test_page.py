"""The page in a real browser: drawn without a network, readable on a phone, sorted, copied, safe, accessible."""

from __future__ import annotations

import csv
import html
import io
import json
import re
import shlex
import shutil
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, BrowserContext, Dialog, Page, ViewportSize, sync_playwright

import tuneoff as api
from conftest import Command, reviews, study_toml
from stored import dictionaries, dictionary
from tuneoff.analysis.disagreements import find_disagreements
from tuneoff.core.files import canonical_hash
from tuneoff.core.texts import shortened
from tuneoff.records.tuning import ArmTuning, TrialSummary, TuningSummary
from tuneoff.report import evidence
from tuneoff.report.charts import CHARTS, draw_charts, save_charts
from tuneoff.report.charts.style import arm_colours, styled
from tuneoff.report.page import sort_value, write_page
from tuneoff.report.pdf import report_content
from tuneoff.report.words import memory_columns
from tuneoff.report.write import write_markdown

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium (apt-get install chromium)")

SCRIPT = "<script>alert(1)</script>"
CLASSES = {0: 'bad "quoted" & <b>', 1: "good & fine"}
LONG_NAME = "full-r8_on-query+value-with.a-name=of-60-letters_as-is-allowed"[:60]
ARMS = [
    'method = "full"\nlearning_rate = 2e-3',
    f'method = "full"\nname = "{LONG_NAME}"\nlearning_rate = 7e-4',
    'method = "head_only"\nlearning_rate = 1e-3',
]
DESKTOP = ViewportSize(width=1280, height=900)
WIDE = ViewportSize(width=1440, height=900)
PHONE = ViewportSize(width=390, height=844)


@pytest.fixture(scope="module")
def study_folder(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished study of three arms, two seeds and two training sizes, with HTML in texts and names of classes."""
    folder = tmp_path_factory.mktemp("page")
    for name, rows in (("train", reviews(280, seed=1)), ("test", reviews(60, seed=2, first_row=1000))):
        rows["label"] = rows["label"].map(CLASSES)
        rows.loc[:1, "text"] = [f"{SCRIPT} the {name} film was bad", f'a "good" {name} film & {SCRIPT}']
        rows.to_csv(folder / f"{name}.csv", index=False)
    text = study_toml(tiny_model, folder, ARMS, epochs=3).replace("[training]", "train_sizes = [60, 240]\n[training]")
    (folder / "study.toml").write_text(text)
    results = api.run_study(api.load_study(folder / "study.toml"), folder / "out")
    assert results.failed == []
    return folder / "out"


@pytest.fixture(scope="module")
def page_file(study_folder: Path) -> Path:
    return write_page(api.load_results(study_folder))


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


def opened(context: BrowserContext, file: Path) -> tuple[Page, list[str], list[str]]:
    """The page once its charts are drawn, what the console said, and what was requested or asked beside the page."""

    def refuse(dialog: Dialog) -> None:
        asked.append(f"dialog: {dialog.message}")
        dialog.dismiss()

    page = context.new_page()
    said: list[str] = []
    asked: list[str] = []
    page.on("console", lambda message: said.append(f"{message.type}: {message.text}"))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("request", lambda request: asked.append(request.url))
    page.on("dialog", refuse)
    page.goto(file.as_uri())
    page.wait_for_selector("html[data-charts=drawn]")
    return page, said, [url for url in asked if url != file.as_uri()]


@pytest.fixture
def desktop(browser: Browser, page_file: Path) -> Iterator[Page]:
    context = browser.new_context(viewport=DESKTOP, permissions=["clipboard-read", "clipboard-write"])
    yield opened(context, page_file)[0]
    context.close()


@needs_chromium
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_the_page_draws_all_charts_and_asks_for_nothing(
    browser: Browser, page_file: Path, study_folder: Path, size: ViewportSize, scheme: Literal["light", "dark"]
) -> None:
    context = browser.new_context(viewport=size, color_scheme=scheme)
    page, said, asked = opened(context, page_file)
    assert said == []
    assert asked == []

    drawn = page.evaluate(
        """() => Object.fromEntries([...document.querySelectorAll(".chart")].map((chart) => {
            const box = chart.querySelector("svg").getBoundingClientRect();
            return [chart.id, [chart.querySelectorAll("svg .mark-symbol path, svg .mark-rect path").length, box.width]];
        }))"""
    )
    expected = draw_charts(api.load_results(study_folder))
    assert set(drawn) == {f"chart-{name}" for name in expected}
    assert set(CHARTS) - set(expected) == {"tuning"}
    for marks, width in drawn.values():
        assert marks > 0
        assert 200 < width <= size["width"]

    assert page.evaluate("document.documentElement.scrollWidth") == size["width"]
    paper, ink, in_charts = page.evaluate(
        """() => [
            getComputedStyle(document.body).backgroundColor,
            getComputedStyle(document.body).color,
            getComputedStyle(document.querySelector(".chart svg .role-axis-label text")).fill,
        ]"""
    )
    assert (brightness(paper) > 200) == (scheme == "light")
    assert (brightness(ink) < 60) == (scheme == "light")
    assert in_charts == ink

    violations = Axe().run(page).response["violations"]
    assert [found["id"] for found in violations if found["impact"] in ("serious", "critical")] == []
    context.close()


def brightness(colour: str) -> float:
    """Of `rgb(r, g, b)`, from 0 to 255."""
    return float(np.mean([int(part) for part in colour.removeprefix("rgb(").removesuffix(")").split(",")]))


@needs_chromium
def test_every_section_comes_in_order_with_the_verdict_first(desktop: Page) -> None:
    headings = desktop.locator("h1, h2").all_text_contents()
    assert headings[0].endswith(".")
    assert headings[1:] == [
        "Results", "Use it", "Accuracy against its cost", "Arm by arm", "Learning curves", "Memory and disk",
        "Pairs of arms", "The data's audit", "Test examples on which arms disagree", "How to repeat it",
    ]  # fmt: skip


@needs_chromium
def test_the_table_of_contents_leads_to_every_section(desktop: Page) -> None:
    links = desktop.get_by_role("navigation", name="Contents").get_by_role("link")
    assert links.all_text_contents() == desktop.locator("h2").all_text_contents()
    for link in links.all():
        link.click()
        heading = desktop.locator(desktop.evaluate("location.hash"))
        assert heading.inner_text() == link.inner_text()
        assert heading.evaluate("heading => heading.getBoundingClientRect().top < innerHeight")


@needs_chromium
@pytest.mark.parametrize("size", [PHONE, WIDE], ids=["phone", "wide"])
def test_nothing_is_cut(browser: Browser, page_file: Path, size: ViewportSize) -> None:
    context = browser.new_context(viewport=size)
    page, _, _ = opened(context, page_file)
    page.evaluate("document.querySelectorAll('details').forEach((details) => { details.open = true; })")
    outside = page.evaluate(
        """() => [...document.querySelectorAll(".chart svg")].flatMap((svg) => {
            const room = svg.getBoundingClientRect();
            return [...svg.querySelectorAll("text")].map((text) => {
                const box = text.getBoundingClientRect();
                const across = Math.max(room.left - box.left, box.right - room.right);
                const over = Math.max(across, room.top - box.top, box.bottom - room.bottom);
                return [svg.closest(".chart").id, text.textContent, over];
            }).filter(([, , over]) => over > 1);
        })"""
    )
    assert outside == []
    texts = page.locator(".chart svg text").all_text_contents()
    assert not [text for text in texts if text.endswith("…")]
    assert LONG_NAME in texts
    cells = page.evaluate(
        """() => [...document.querySelectorAll("th, td")]
            .filter((cell) => cell.scrollWidth > cell.clientWidth + 1).map((cell) => cell.textContent)"""
    )
    assert cells == []
    assert page.evaluate("document.documentElement.scrollWidth") == size["width"]
    # What does not fit is scrolled in its table, which says so.
    for region in page.locator(".wide").all():
        wider, shown = region.evaluate(
            """(region) => [region.scrollWidth > region.clientWidth + 1, getComputedStyle(region, "::after").content]"""
        )
        assert ("scrolls sideways" in shown) == wider
    if size is PHONE:
        assert page.locator(".wide.scrolls").count() > 2
    context.close()


@needs_chromium
def test_arms_that_did_not_learn_are_marked_and_hollow(browser: Browser, study_folder: Path, page_file: Path) -> None:
    summary = dictionary(api.load_results(study_folder).summary)
    (idle,) = (arm["arm"] for arm in summary["arms"] if arm["learning"]["state"] != "learned")
    assert summary["pareto"]
    assert not any(idle in front for front in summary["pareto"].values())
    context = browser.new_context(viewport=WIDE)
    page, _, _ = opened(context, page_file)
    table = page.locator("#results-table")
    cells = dict(
        zip(
            table.get_by_role("rowheader").all_text_contents(),
            table.locator("td:nth-child(2)").all_text_contents(),
            strict=True,
        )
    )
    assert [name for name, text in cells.items() if text.endswith(" †")] == [idle]
    assert page.get_by_text(re.compile(rf"^† .*: {idle}")).count() == 1
    region = page.get_by_role("region", name="Results of all arms and baselines")
    assert region.evaluate("region => region.scrollWidth <= region.clientWidth + 1"), "the table fits"
    # A colour stands on the line on which its arm's name begins.
    for swatch in table.locator(".swatch").all():
        name = swatch.locator("xpath=following-sibling::span")
        boxes = [
            part.evaluate("part => [...part.getClientRects()].map(box => [box.top, box.bottom])[0]")
            for part in (swatch, name)
        ]
        assert boxes[1][0] - 1 <= boxes[0][0] <= boxes[1][1]
    context.close()
    charts = draw_charts(api.load_results(study_folder))
    for chart, field in (("accuracy", "learned"), ("accuracy_by_memory", "front")):
        datasets = charts[chart].to_dict()["datasets"].values()
        assert [row["arm"] for rows in datasets for row in rows if not row.get(field, True)] == [idle]


@needs_chromium
def test_all_runs_have_the_width_that_they_need(browser: Browser, page_file: Path) -> None:
    context = browser.new_context(viewport=WIDE)
    page, _, _ = opened(context, page_file)
    page.get_by_text("All runs (").click()
    runs = page.get_by_role("region", name="All runs, table")
    box = runs.bounding_box()
    assert box is not None
    assert box["x"] >= 0
    assert box["x"] + box["width"] <= WIDE["width"]
    assert runs.evaluate(
        "region => region.scrollWidth <= region.clientWidth + 1 || region.clientWidth >= innerWidth - 41"
    )
    context.close()


@needs_chromium
def test_findings_for_information_are_folded(desktop: Page, study_folder: Path) -> None:
    findings = json.loads((study_folder / "summary.json").read_text())["audit"]
    known = [finding for finding in findings if finding["severity"] == "info"]
    assert known
    section = desktop.locator("section", has=desktop.locator("#audit"))
    assert section.locator(".tag.info:visible").count() == 0
    section.get_by_text(f"{len(known)} findings for information").click()
    assert section.locator(".tag.info:visible").count() == len(known)


def test_a_single_epoch_is_no_curve(study_folder: Path, tmp_path: Path) -> None:
    folder = tmp_path / "one-epoch"
    shutil.copytree(study_folder, folder)
    for path in folder.glob("runs/*/result.json"):
        result = json.loads(path.read_text())
        del result["sha256"]
        result |= {"curve": result["curve"][:1], "selected_epoch": 1}
        path.write_text(json.dumps({**result, "sha256": canonical_hash(result)}))
    drawn = set(draw_charts(api.load_results(folder)))
    assert set(CHARTS) - drawn == {
        "tuning", "validation_accuracy_by_epoch", "validation_loss_by_epoch", "train_loss_by_epoch",
    }  # fmt: skip
    assert "Learning curves" in write_page(api.load_results(folder)).read_text()  # by training examples
    study = (folder / "study.toml").read_text()
    assert "train_sizes = [\n    60,\n    240,\n]\n" in study
    (folder / "study.toml").write_text(study.replace("    60,\n", ""))
    assert "accuracy_by_train_size" not in draw_charts(api.load_results(folder))


def test_reserved_memory_is_left_out_where_it_says_nothing(page_file: Path, study_folder: Path) -> None:
    summary = api.load_results(study_folder).summary
    assert "reserved in training" not in page_file.read_text()
    arms = [arm.model_copy(update={"memory_kind": "cuda_allocated"}) for arm in summary.scored_arms]
    on_gpu = summary.model_copy(update={"arms": tuple(arms)})
    assert "peak_reserved_memory_bytes" not in memory_columns(on_gpu)
    arms[0] = arms[0].model_copy(update={"peak_reserved_memory_bytes": 2 * arms[0].peak_train_memory_bytes})
    on_gpu = summary.model_copy(update={"arms": tuple(arms)})
    assert memory_columns(on_gpu)["peak_reserved_memory_bytes"] == "reserved in training"
    chart = CHARTS["memory_breakdown"].draw(on_gpu, [])
    assert chart is not None
    assert "reserved in training" in json.dumps(chart.to_dict())


def test_commands_are_quoted_for_a_shell(study_folder: Path, tmp_path: Path) -> None:
    folder = tmp_path / "it's $HOME & more"
    shutil.copytree(study_folder, folder)
    results = api.load_results(folder)
    page = html.unescape(write_page(results).read_text())
    (command,) = re.findall(r'aria-label="Command"><code>(.*)</code>', page)
    assert shlex.split(command) == ["tuneoff", "run", str(folder / "study.toml"), "--out", str(folder)]
    assert f"    {command}\n" in write_markdown(results).read_text()
    (block,) = [section for section in report_content(results)["sections"] if section["title"] == "How to repeat it"]
    assert block["blocks"][0] == {"code": command}


def test_a_front_that_holds_every_arm_is_one_line(study_folder: Path) -> None:
    summary = api.load_results(study_folder).summary
    merged = {"adapter_unmerged": False, "learning": None}
    arms = tuple(arm.model_copy(update=merged) for arm in summary.scored_arms)
    names = tuple(arm.arm for arm in arms)
    everyone = dict.fromkeys(summary.pareto, names)
    summary = summary.model_copy(update={"arms": arms, "pareto": everyone})
    assert evidence.fronts(summary) == ["every cost: all 3 arms; none is shown to be beaten by one that costs no more"]
    alone = {**everyone, "train_seconds": names[:1]}
    first, *others = evidence.fronts(summary.model_copy(update={"pareto": alone}))
    assert first.startswith(
        "memory in training, trainable parameters, checkpoint, time to classify a text: all 3 arms;"
    )
    assert others == [f"time to train: {names[0]}"]


@needs_chromium
def test_tables_are_sorted_by_mouse_and_keyboard(desktop: Page, study_folder: Path) -> None:
    summary = json.loads((study_folder / "summary.json").read_text())
    times = {arm["arm"]: arm["train_seconds"] for arm in summary["arms"]}
    table = desktop.locator("#results-table")
    heading = table.get_by_role("columnheader", name="train time")
    names = table.locator("tbody th")

    def order() -> list[str]:
        return [name.removesuffix("recommended") for name in names.all_text_contents()]

    before = order()
    heading.get_by_role("button").click()
    assert heading.get_attribute("aria-sort") == "ascending"
    shown = [sort_value(text) for text in table.locator("tbody tr td:nth-child(5)").all_text_contents()]
    known = [value for value in shown if value is not None]
    assert known == sorted(known)
    assert len(known) == len(times)
    assert all(name.startswith("baseline: ") for name in order()[len(times) :])  # what has no time comes last

    heading.get_by_role("button").focus()
    desktop.keyboard.press("Enter")
    assert heading.get_attribute("aria-sort") == "descending"
    shown = [sort_value(text) for text in table.locator("tbody tr td:nth-child(5)").all_text_contents()]
    known = [value for value in shown if value is not None]
    assert known == sorted(known, reverse=True)
    assert all(name.startswith("baseline: ") for name in order()[len(times) :])

    by_name = table.get_by_role("columnheader", name="arm", exact=True)
    by_name.get_by_role("button").click()
    assert heading.get_attribute("aria-sort") == "none"
    assert order() == sorted(before, key=str.casefold)


@needs_chromium
def test_the_table_is_copied_in_three_formats(desktop: Page) -> None:
    table = desktop.locator("#results-table")
    cells = [
        [cell.removesuffix("recommended").strip() for cell in row.locator("th, td").all_text_contents()]
        for row in table.locator("tbody tr").all()
    ]
    copied = {}
    for name in ("CSV", "Markdown", "LaTeX"):
        desktop.get_by_role("button", name=name).click()
        desktop.get_by_role("status").get_by_text(f"Copied as {name}.").wait_for()
        copied[name] = desktop.evaluate("navigator.clipboard.readText()")

    headings, *rows = list(csv.reader(io.StringIO(copied["CSV"])))
    assert headings[:3] == ["arm", "test accuracy", "95% interval"]
    assert rows == cells
    assert any("," in cell for row in rows for cell in row)  # so that quoting has been tried
    lines = copied["Markdown"].splitlines()
    assert lines[1].startswith("| --- | ---: |")
    assert [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]] == cells
    assert copied["LaTeX"].startswith("\\begin{tabular}{lr")
    assert f"full & {cells[0][1].replace('%', chr(92) + '%')} & " in copied["LaTeX"]
    assert "head\\_only & " in copied["LaTeX"]


@needs_chromium
def test_texts_and_names_of_the_data_stay_text(desktop: Page) -> None:
    examples = desktop.locator("section", has=desktop.locator("#audit")).locator("details li").all_text_contents()
    assert any(SCRIPT in text for text in examples)
    headings = desktop.get_by_role("columnheader").all_text_contents()
    assert evidence.CLASS_HEADING in headings
    rows = desktop.get_by_role("region", name="Classes, table").get_by_role("rowheader").all_text_contents()
    assert rows == list(CLASSES.values())
    assert desktop.locator("script").count() == 3
    assert desktop.locator("main b").count() == 0


@needs_chromium
def test_hovering_over_a_mark_shows_the_run(desktop: Page, study_folder: Path) -> None:
    chart = desktop.locator("#chart-accuracy_by_parameters")
    chart.scroll_into_view_if_needed()
    mark = chart.locator("svg g.mark-symbol.role-mark").last.locator("path").last
    mark.hover()
    tooltip = desktop.locator("#vg-tooltip-element")
    tooltip.wait_for()
    arm = next(
        run for run in dictionaries(api.load_results(study_folder).runs) if run["run_id"] in tooltip.inner_text()
    )
    assert arm["part"] == "train-240"
    assert f"{100 * arm['test_accuracy']:.1f}%" in tooltip.inner_text()


@needs_chromium
@pytest.mark.parametrize("done", [0, 1, 3])
def test_the_page_is_whole_while_the_study_goes_on(
    browser: Browser, study_folder: Path, tmp_path: Path, done: int
) -> None:
    folder = tmp_path / "going-on"
    shutil.copytree(study_folder, folder)
    planned = json.loads((folder / "plan.json").read_text())
    for run in planned[done:]:
        shutil.rmtree(folder / "runs" / run["id"])
    (folder / "report.html").unlink()
    write_page(api.load_results(folder))
    context = browser.new_context(viewport=PHONE)
    page, said, asked = opened(context, folder / "report.html")
    assert said == asked == []
    assert f"{len(planned) - done} of {len(planned)} runs are not done yet" in page.locator("header").inner_text()
    assert (page.locator(".chart svg").count() > 0) == (done > 0)
    context.close()


def test_the_page_is_one_file_of_moderate_size(page_file: Path, study_folder: Path) -> None:
    text_of_page = page_file.read_text()
    assert len(text_of_page.encode()) < 2_000_000
    assert page_file == study_folder / "report.html"
    environment = json.loads((study_folder / "environment.json").read_text())
    for text in (f"tuneoff run {study_folder / 'study.toml'}", *environment["versions"].values()):
        assert text in text_of_page


def test_charts_are_valid_and_become_svg_and_png(study_folder: Path, tmp_path: Path) -> None:
    results = api.load_results(study_folder)
    for chart in draw_charts(results).values():
        styled(chart, "container").to_dict(validate=True)
    written = save_charts(results, tmp_path)
    assert set(written) == set(CHARTS) - {"tuning"}
    colours = arm_colours(results.summary)
    assert len(set(colours.values())) == len(ARMS)
    for name, path in written.items():
        svg = path.read_text()
        ET.fromstring(svg)
        assert CHARTS[name].title in svg
        if name not in ("differences", "confusion_matrix"):
            for arm, colour in colours.items():
                assert colour in svg, (name, arm)
        assert path.with_suffix(".png").read_bytes().startswith(b"\x89PNG")


def test_a_tuned_study_shows_its_trials(study_folder: Path) -> None:
    summary = api.load_results(study_folder).summary
    trials = tuple(
        TrialSummary(learning_rate=rate, validation_score=score, validation_accuracy=score, validation_loss=score,
                     score=score, steps=9,
                     learned=score is not None, too_high=False)
        for rate, score in ((1e-4, 0.6), (1e-3, None))
    )  # fmt: skip
    full = ArmTuning(arm="full", part="", chosen=1e-4, at_edge=True, passed_over=None, train_seconds=1.0, trials=trials)
    tuning = TuningSummary(
        strategy="grid", seeds=(0,), runs=2, train_seconds=1.0, wall_seconds=2.0, few_validation=None, untuned=(),
        arms=(full,),
    )  # fmt: skip
    chart = CHARTS["tuning"].draw(summary.model_copy(update={"tuning": tuning}), [])
    assert chart is not None
    spec = styled(chart, "container").to_dict()
    (rows,) = spec["datasets"].values() if "datasets" in spec else [spec["data"]["values"]]
    assert [(row["rate"], row["accuracy"], row["chosen"]) for row in rows] == [(1e-4, 60.0, True)]


def test_disagreements_are_those_with_the_most_spread_between_arms(study_folder: Path) -> None:
    results = api.load_results(study_folder)
    learned = [arm["arm"] for arm in dictionary(results.summary)["arms"] if arm["learning"]["state"] == "learned"]
    assert 2 <= len(learned) < len(ARMS), "of an arm that did not learn nothing is told"
    right = pd.DataFrame({arm: results.correct(arm).mean(axis=0) for arm in learned})
    found = find_disagreements(results)
    assert 0 < len(found) <= 10
    spread = right.var(axis=1)
    assert spread[[entry.example for entry in found]].tolist() == spread.nlargest(len(found)).tolist()
    test = pd.read_parquet(study_folder / "data" / "test.parquet")
    names = results.prepared.label_names
    for entry in found:
        row = test.loc[[entry.example]].iloc[0]
        assert entry.text == shortened(row["text"], 300)
        assert entry.file is not None
        assert entry.row is not None
        file = pd.read_csv(entry.file)
        assert (Path(entry.file).name, file["text"][entry.row - 1]) == ("test.csv", row["text"])
        assert entry.label == names[row["label"]]
        for arm, answer in entry.arms.items():
            assert answer.right == right.loc[entry.example, arm]
            assert (answer.answer == entry.label) or answer.right <= 0.5


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("12.3 s", 12.3),
        ("2 min 05 s", 125.0),
        ("8.1 ms", 0.0081),
        ("1,676 MB", 1.676e9),
        ("22,713,986", 22_713_986.0),
        ("76.7 to 88.5", 76.7),
        ("82.9% (means nothing)", 82.9),
        ("50.0% †", 50.0),
        ("61.0 s (shared)", 61.0),
        ("oom", None),
        ("", None),
    ],
)
def test_cells_are_sorted_by_what_they_mean(text: str, value: float | None) -> None:
    assert sort_value(text) == pytest.approx(value)


def test_a_report_of_damaged_data_is_refused_in_one_line(study_folder: Path, tuneoff: Command, tmp_path: Path) -> None:
    for name in ("test.parquet", "prepared.json"):
        copy = tmp_path / name
        shutil.copytree(study_folder, copy)
        (copy / "data" / name).write_bytes(b"PAR1 cut short")
        answer = tuneoff("report", copy)
        assert answer.returncode == 2
        assert f"{copy / 'data' / name} is missing or damaged" in answer.stderr
        assert answer.stderr.count("\n") == 1
