// What came of a run: the verdict first, then what it stands on.

import { ask } from "../api.js";
import { choice, h } from "../dom.js";
import { unbroken } from "../format.js";
import { key } from "../key.js";
import { marked } from "../marks.js";
import { charts } from "./charts.js";
import { figures, pairs } from "./figures.js";
import { facts, titleOf } from "./jobs.js";
import { matrices } from "./matrix.js";
import { gallery } from "./pictures.js";

export function result(main, job, signal) {
  const found = job.results;
  const { verdict, galleries } = found;
  const place = Object.fromEntries(found.backends.map((one, number) => [one.facts.name, number]));
  const judged = found.backends.filter((one) => one.quality);
  const sections = [
    verdict.advice.length > 1 && section("Who should choose which", h("div.advices", {}, verdict.advice.map((one) => advice(one, place)))),
    section("Figures", figures(found.backends)),
    judged.length > 0 && charts(judged, place, signal),
    judged.length > 0 && matrices(job, judged, place, signal),
    worthALook(job, galleries, place, signal),
    found.pairs.length > 0 && pairs(job, found.pairs, signal),
    verdict.notes.length > 0 && section("What to know before one believes it", h("ul.notes", {}, verdict.notes.map((one) => h("li", {}, unbroken(one))))),
  ];
  main.replaceChildren(
    h(
      "div.hero",
      {},
      h("p.eyebrow", {}, h("a", { href: "#/compare" }, "Compare"), h("span", {}, titleOf(job))),
      h("h1.headline", {}, unbroken(verdict.headline)),
      verdict.trade_off && h("p.lead", {}, unbroken(verdict.trade_off)),
      facts(job),
      job.note && h("p.note", {}, job.note),
      ways(job),
    ),
    ...sections.filter(Boolean),
  );
}

export function section(title, ...content) {
  const id = title.toLowerCase().replaceAll(/\W+/g, "-");
  return h("section", { "aria-labelledby": id }, h("div.heading", {}, h("h2", { id }, title)), ...content);
}

function advice({ backend, choose, because }, place) {
  const number = place[backend] % 8;
  return h("article.card.advice", { class: `k${number}` }, h("h3", {}, marked(backend, number)), h("p.choose", {}, choose), h("p.note", {}, unbroken(because)));
}

/** The report and the rows. A link sends no key: with one, they are fetched and saved. */
function ways(job) {
  const path = `/v1/scorings/${job.id}`;
  const files = [
    ["Report", `${path}/report`, `${titleOf(job)}.html`],
    ["Rows as CSV", `${path}/predictions?format=csv`, `${job.id}.csv`],
    ["Rows as JSON", `${path}/predictions`, `${job.id}.jsonl`],
  ];
  return h("p.ways", {}, files.map(([label, address, name], number) => {
    if (key()) return h("button.quiet", { type: "button", onclick: (event) => save(event.target, address, name) }, `Save: ${label}`);
    return number ? h("a", { href: address, download: name }, label) : h("a.report", { href: address, target: "_blank", rel: "noopener" }, "Open the report");
  }));
}

async function save(button, address, name) {
  button.disabled = true;
  try {
    const url = URL.createObjectURL(await (await ask(address)).blob());
    h("a", { href: url, download: name }).click();
    setTimeout(() => URL.revokeObjectURL(url), 60_000);
  } finally {
    button.disabled = false;
  }
}

function worthALook(job, { disagreements, doubted, mistakes }, place, signal) {
  const kinds = [
    ["disagreements", "Disagreements", disagreements, "The backends name different labels; those first of which two are sure."],
    ["doubted", "Suspected label errors", doubted, "No backend names the label; those first to whose label they give the least. Most often the label is wrong."],
    ...Object.entries(mistakes).map(([name, one]) => [name, `Mistakes of ${name}`, one, "Wrong answers, the surest first."]),
  ].filter(([, , one]) => one?.total);
  if (!kinds.length) return null;
  const shown = h("div");
  const show = (value) => {
    const [, , found, lead] = kinds.find(([name]) => name === value);
    shown.replaceChildren(h("p.note", {}, lead), gallery(job, found.exhibits, place, signal, found.total));
  };
  show(kinds[0][0]);
  const options = kinds.map(([value, label, { total }]) => [value, label, h("small", {}, `\u00a0${total}`)]);
  return section("Images worth a look", choice("Which images", "gallery", options, kinds[0][0], show), shown);
}

