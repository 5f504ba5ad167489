// What is taken for what. A count leads to its images.

import { ask } from "../api.js";
import { choice, h } from "../dom.js";
import { count, percent, plural } from "../format.js";
import { marked } from "../marks.js";
import { gallery } from "./pictures.js";
import { section } from "./result.js";

const SHOWN = 60;
const LARGEST = 24;
/** Classes beyond which a table is of no use, and the commonest mix-ups are listed. */

export function matrices(job, judged, place, signal) {
  const shown = h("div.matrix-place");
  const images = h("div.cell-images", { role: "status" });
  const hint = () => h("p.empty", {}, "Choose a number to see its images.");
  const show = (name) => {
    const one = judged.find(({ facts }) => facts.name === name);
    images.replaceChildren(hint());
    const open = (label, predicted, many) => opened(job, one, label, predicted, many, images, place, signal);
    shown.replaceChildren(one.quality.classes.length > LARGEST ? mixUps(one, open) : matrix(one, open));
  };
  show(judged[0].facts.name);
  const names = judged.map(({ facts }) => [facts.name, marked(facts.name, place[facts.name])]);
  const lead = "Rows are labels, columns answers; the deeper a colour, the larger its share of the row. A number opens its images.";
  return section("Confusion", names.length > 1 && choice("Whose", "matrix", names, names[0][0], show), h("p.note.above", {}, lead), h("div.beside", {}, shown, images));
}

function matrix({ facts, quality: { classes, confusion } }, open) {
  const labels = classes.map((one) => one.label);
  const cell = (row, column, many) => {
    const [label, predicted] = [labels[row], labels[column]];
    const share = many / (classes[row].images || 1);
    const title = `${plural(many, "image")} of ${label} called ${predicted}, ${percent(share)}`;
    const inside = many ? h("button", { type: "button", title, "aria-label": title, onclick: () => open(label, predicted, many) }, count(many)) : h("span", { "aria-label": "0" }, "·");
    return h("td", { class: row === column ? "right" : "off", vars: { v: share } }, inside);
  };
  const rows = confusion.map((counts, row) => h("tr", {}, h("th", { scope: "row" }, labels[row]), counts.map((many, column) => cell(row, column, many))));
  return h("div.scroll", { tabindex: "0", role: "region", "aria-label": `Confusion matrix of ${facts.name}` }, h("table.matrix", {}, h("thead", {}, h("tr", {}, h("td"), labels.map((one) => h("th", { scope: "col" }, h("span", {}, one))))), h("tbody", {}, rows)));
}

function mixUps({ quality: { classes, confusion } }, open) {
  const found = confusion.flatMap((counts, row) => counts.map((many, column) => [many, classes[row].label, classes[column].label, row === column])).filter(([many, , , right]) => many && !right);
  found.sort((a, b) => b[0] - a[0]);
  return h("ol.mix-ups", {}, found.slice(0, SHOWN).map(([many, label, predicted]) => h("li", {}, h("button.quiet", { type: "button", onclick: () => open(label, predicted, many) }, plural(many, "image")), ` of ${label} called ${predicted}`)));
}

/** Rows name labels in the backend's words, the matrix in the set's. */
async function opened(job, { facts }, label, predicted, many, place, marks, signal) {
  const own = (word) => Object.entries(facts.words).find(([, theirs]) => theirs === word)?.[0] ?? word;
  const query = new URLSearchParams({ backend: facts.name, label: own(label), predicted: own(predicted), limit: SHOWN });
  place.replaceChildren(h("p.note", {}, "Looking for the images …"));
  const text = await (await ask(`/v1/scorings/${job.id}/predictions?${query}`, { signal })).text();
  const exhibits = text.trim().split("\n").filter(Boolean).map((line) => JSON.parse(line));
  const shown = exhibits.map((row) => ({ image: row.image, label, claims: [{ backend: facts.name, predicted, probability: row.probability }] }));
  place.replaceChildren(h("h3", {}, label === predicted ? `${label}, rightly called so` : `${label} called ${predicted}`), gallery(job, shown, marks, signal, many));
  place.scrollIntoView({ block: "nearest" });
}
