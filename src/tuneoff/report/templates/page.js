const drawCharts = () => {
  const charts = JSON.parse(document.getElementById("charts").textContent);
  // ast: Vega interprets its expressions, so that the page's policy can forbid eval.
  const options = { actions: false, renderer: "svg", ast: true };
  return Promise.all(
    Object.entries(charts).map(([name, chart]) => window.vegaEmbed(`#chart-${name}`, chart, options)),
  );
};

const sortValue = (cell) => ("value" in cell.dataset ? Number(cell.dataset.value) : null);

// What a cell says, without the tags beside it.
const cellText = (cell) => {
  const copy = cell.cloneNode(true);
  for (const extra of copy.querySelectorAll("[data-skip]")) extra.remove();
  return copy.textContent.trim();
};

const sortTable = (table, column, direction) => {
  const body = table.tBodies[0];
  const rows = [...body.rows].map((row) => {
    const cell = row.cells[column];
    return { row, value: sortValue(cell), text: cellText(cell) };
  });
  const isNumeric = rows.some(({ value }) => value !== null);
  const compare = (a, b) => {
    if (!isNumeric) return direction * a.text.localeCompare(b.text);
    if (a.value === null || b.value === null) return (a.value === null) - (b.value === null);
    return direction * (a.value - b.value);
  };
  body.append(...rows.sort(compare).map(({ row }) => row));
};

const makeSortable = (table) => {
  const headings = [...table.tHead.rows[0].cells];
  headings.forEach((heading, column) => {
    heading.querySelector("button").addEventListener("click", () => {
      const ascending = heading.ariaSort !== "ascending";
      for (const other of headings) other.setAttribute("aria-sort", "none");
      heading.setAttribute("aria-sort", ascending ? "ascending" : "descending");
      sortTable(table, column, ascending ? 1 : -1);
    });
  });
};

const asCsv = (rows) =>
  rows.map((row) => row.map((text) => (/[",\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text)).join(",")).join("\n");

const asMarkdown = ([headings, ...rows]) => {
  const line = (row) => `| ${row.map((text) => text.replaceAll("|", "\\|")).join(" | ")} |`;
  const rule = headings.map((_, column) => (column ? "---:" : "---"));
  return [line(headings), line(rule), ...rows.map(line)].join("\n");
};

const asLatex = ([headings, ...rows]) => {
  const special = { "\\": "\\textbackslash{}", "~": "\\textasciitilde{}", "^": "\\textasciicircum{}" };
  const escape = (text) => text.replace(/[\\~^&%$#_{}]/g, (sign) => special[sign] ?? `\\${sign}`);
  const line = (row) => `${row.map(escape).join(" & ")} \\\\`;
  const columns = `l${"r".repeat(headings.length - 1)}`;
  return [
    `\\begin{tabular}{${columns}}`, "\\toprule", line(headings), "\\midrule", ...rows.map(line), "\\bottomrule", "\\end{tabular}",
  ].join("\n");
};

const FORMATS = { csv: asCsv, markdown: asMarkdown, latex: asLatex };

const makeCopying = (table) => {
  const status = document.querySelector(".copy [role=status]");
  for (const button of document.querySelectorAll("[data-copy]")) {
    button.addEventListener("click", async () => {
      const rows = [...table.rows].map((row) => [...row.cells].map(cellText));
      const copied = navigator.clipboard?.writeText(FORMATS[button.dataset.copy](rows));
      status.textContent = await (copied ?? Promise.reject()).then(
        () => `Copied as ${button.textContent}.`,
        () => "This browser does not allow copying.",
      );
    });
  }
};

const showScrolling = (region) => {
  new ResizeObserver(() => region.classList.toggle("scrolls", region.scrollWidth > region.clientWidth + 1)).observe(region);
};

document.querySelectorAll("table.sortable").forEach(makeSortable);
document.querySelectorAll(".wide").forEach(showScrolling);
makeCopying(document.getElementById("results-table"));
window.addEventListener("beforeprint", () => {
  for (const details of document.querySelectorAll("details")) details.open = true;
});
await drawCharts();
document.documentElement.dataset.charts = "drawn";
