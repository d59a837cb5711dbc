"use strict";

const MOST_ROWS = 10;
const element = (id) => document.getElementById(id);
let models = {};
let asked = 0;

function made(name, text, attributes = {}) {
  const node = document.createElement(name);
  node.textContent = text;
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  return node;
}

function say(text, wrong = false) {
  element("status").textContent = text;
  element("status").className = wrong ? "wrong" : "";
}

async function told(response) {
  const answer = await response.json().catch(() => ({ error: `the server answered ${response.status}` }));
  if (!response.ok) throw new Error(answer.error);
  return answer;
}

async function start() {
  const info = await told(await fetch("info"));
  models = info.models;
  const names = Object.keys(models);
  const pairs = names.filter((name) => models[name].pairs);
  const named = names.length === 1 ? `The model ${names[0]}` : `${names.length} models: ${names.join(", ")}`;
  element("about").textContent = `${named}. ${info.device}, ${info.precision}, Tuneoff ${info.version}.`;
  element("pair").hidden = pairs.length === 0;
  element("second").required = pairs.length === names.length;
  element("pair-note").textContent = `For ${pairs.join(", ")}, which classify pairs of texts.`;
}

function answer(name, scores) {
  if (models[name].kind === "number") return `${scores[0].label} ${Number(scores[0].score.toPrecision(4))}`;
  if (models[name].kind === "class") return scores[0].label;
  const { labels, thresholds } = models[name];
  const given = scores.filter(({ label, score }) => score > thresholds[labels.indexOf(label)]).map(({ label }) => label);
  return given.join(", ") || "none of its labels";
}

function drawn(name, scores) {
  const section = made("section", "", { "data-model": name });
  section.append(made("h2", `${name}: ${answer(name, scores)}`));
  if (models[name].kind === "number") {
    section.append(made("p", `${models[name].method}, ${models[name].base_model}`));
    return section;
  }
  const table = made("table", "");
  const of = scores.length > MOST_ROWS ? `; the first ${MOST_ROWS} of ${scores.length} classes` : "";
  table.append(made("caption", `${models[name].method}, ${models[name].base_model}${of}`));
  const body = made("tbody", "");
  for (const { label, score } of scores.slice(0, MOST_ROWS)) {
    const row = made("tr", "");
    const bar = made("td", "", { class: "bar" });
    bar.append(made("progress", "", { max: 1, value: score, "aria-hidden": "true" }));
    row.append(made("th", label, { scope: "row" }), bar, made("td", `${(100 * score).toFixed(1)}%`, { class: "score" }));
    body.append(row);
  }
  table.append(body);
  section.append(table);
  return section;
}

function failed(name, error) {
  const section = made("section", "", { "data-model": name });
  section.append(made("h2", name), made("p", error.message, { class: "wrong" }));
  return section;
}

async function classify(event) {
  event.preventDefault();
  const mine = ++asked;
  const first = element("first").value;
  const second = element("second").value;
  const names = Object.keys(models).filter((name) => !models[name].pairs || second);
  say("Classifying…");
  const sections = await Promise.all(
    names.map((name) =>
      fetch("predict", {
        method: "POST",
        headers: { "Content-Type": "application/json" },
        body: JSON.stringify({ inputs: models[name].pairs ? [first, second] : first, model: name }),
      })
        .then(told)
        .then((scores) => drawn(name, scores))
        .catch((error) => failed(name, error)),
    ),
  );
  if (mine !== asked) return;
  element("answers").replaceChildren(...sections);
  say(sections.map((section) => section.querySelector("h2").textContent).join("; "));
}

element("form").addEventListener("submit", classify);
element("form").addEventListener("keydown", (event) => {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) element("form").requestSubmit();
});
start().catch((error) => say(`The server does not answer: ${error.message}`, true));
