"""The page in a real browser: drawn without a network, readable on a phone, sorted, copied, safe, accessible."""

from __future__ import annotations

import csv
import io
import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, BrowserContext, Dialog, Page, ViewportSize, sync_playwright

import tuneoff as api
from page_study import CLASSES, LONG_NAME, SCRIPT, page_file, study_folder
from stored import dictionaries, dictionary
from tuneoff.report import evidence
from tuneoff.report.charts import CHARTS, draw_charts
from tuneoff.report.page import sort_value, write_page

__all__ = ["page_file", "study_folder"]

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium (apt-get install chromium)")

DESKTOP = ViewportSize(width=1280, height=900)
WIDE = ViewportSize(width=1440, height=900)
PHONE = ViewportSize(width=390, height=844)


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


@pytest.fixture(scope="module")
def desktop(browser: Browser, page_file: Path) -> Iterator[Page]:
    """The page on a desktop, which takes seconds to draw: tests share it, and those that sort and unfold come last."""
    context = browser.new_context(viewport=DESKTOP, permissions=["clipboard-read", "clipboard-write"])
    yield opened(context, page_file)[0]
    context.close()


@pytest.fixture(scope="module")
def wide(browser: Browser, page_file: Path) -> Iterator[Page]:
    """The page on a wide screen, likewise."""
    context = browser.new_context(viewport=WIDE)
    yield opened(context, page_file)[0]
    context.close()


@needs_chromium
@pytest.mark.parametrize(("size", "scheme"), [(DESKTOP, "light"), (PHONE, "dark")], ids=["desktop-light", "phone-dark"])
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
def test_the_table_of_contents_leads_to_every_section(desktop: Page) -> None:
    links = desktop.get_by_role("navigation", name="Contents").get_by_role("link")
    assert links.all_text_contents() == desktop.locator("h2").all_text_contents()
    for link in links.all():
        link.click()
        heading = desktop.locator(desktop.evaluate("location.hash"))
        assert heading.inner_text() == link.inner_text()
        assert heading.evaluate("heading => heading.getBoundingClientRect().top < innerHeight")


@needs_chromium
def test_findings_for_information_are_folded(desktop: Page, study_folder: Path) -> None:
    findings = json.loads((study_folder / "summary.json").read_text())["audit"]
    known = [finding for finding in findings if finding["severity"] == "info"]
    assert known
    section = desktop.locator("section", has=desktop.locator("#audit"))
    assert section.locator(".tag.info:visible").count() == 0
    section.get_by_text(f"{len(known)} findings for information").click()
    assert section.locator(".tag.info:visible").count() == len(known)


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
def test_arms_that_did_not_learn_are_marked_and_hollow(wide: Page, study_folder: Path) -> None:
    summary = dictionary(api.load_results(study_folder).summary)
    (idle,) = (arm["arm"] for arm in summary["arms"] if arm["learning"]["state"] != "learned")
    assert summary["pareto"]
    assert not any(idle in front for front in summary["pareto"].values())
    table = wide.locator("#results-table")
    cells = dict(
        zip(
            table.get_by_role("rowheader").all_text_contents(),
            table.locator("td:nth-child(2)").all_text_contents(),
            strict=True,
        )
    )
    assert [name for name, text in cells.items() if text.endswith(" †")] == [idle]
    assert wide.get_by_text(re.compile(rf"^† .*: {idle}")).count() == 1
    region = wide.get_by_role("region", name="Results of all arms and baselines")
    assert region.evaluate("region => region.scrollWidth <= region.clientWidth + 1"), "the table fits"
    # A colour stands on the line on which its arm's name begins.
    for swatch in table.locator(".swatch").all():
        name = swatch.locator("xpath=following-sibling::span")
        boxes = [
            part.evaluate("part => [...part.getClientRects()].map(box => [box.top, box.bottom])[0]")
            for part in (swatch, name)
        ]
        assert boxes[1][0] - 1 <= boxes[0][0] <= boxes[1][1]
    charts = draw_charts(api.load_results(study_folder))
    for chart, field in (("accuracy", "learned"), ("accuracy_by_memory", "front")):
        datasets = charts[chart].to_dict()["datasets"].values()
        assert [row["arm"] for rows in datasets for row in rows if not row.get(field, True)] == [idle]


@needs_chromium
def test_all_runs_have_the_width_that_they_need(wide: Page) -> None:
    wide.get_by_text("All runs (").click()
    runs = wide.get_by_role("region", name="All runs, table")
    box = runs.bounding_box()
    assert box is not None
    assert box["x"] >= 0
    assert box["x"] + box["width"] <= WIDE["width"]
    assert runs.evaluate(
        "region => region.scrollWidth <= region.clientWidth + 1 || region.clientWidth >= innerWidth - 41"
    )


@needs_chromium
@pytest.mark.parametrize("size", [PHONE, WIDE], ids=["phone", "wide"])
def test_nothing_is_cut(browser: Browser, wide: Page, page_file: Path, size: ViewportSize) -> None:
    context = browser.new_context(viewport=size)
    page = wide if size is WIDE else opened(context, page_file)[0]
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
@pytest.mark.parametrize("done", [0, 1])
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
