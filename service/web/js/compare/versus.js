// Two runs beside each other, backend by backend.

import { read } from "../api.js";
import { h, table } from "../dom.js";
import { ends, number, percent, usd } from "../format.js";
import { marked } from "../marks.js";
import { interval, scaled } from "./figures.js";
import { addressOf, facts, titleOf } from "./jobs.js";
import { section } from "./result.js";

export async function versus(main, one, other, signal) {
  main.replaceChildren(h("p.empty", { role: "status" }, "Looking for both runs …"));
  const jobs = await Promise.all([one, other].map((id) => read(`/v1/scorings/${encodeURIComponent(id)}`, { signal })));
  jobs.sort((a, b) => a.created.localeCompare(b.created));
  const names = [...new Set(jobs.flatMap((job) => (job.results?.backends ?? []).map((found) => found.facts.name)))];
  const head = h("div.hero", {}, h("p.eyebrow", {}, h("a", { href: "#/compare" }, "Compare")), h("h1", {}, "Two runs"), h("div.two", {}, jobs.map(card)));
  main.replaceChildren(head, ...warnings(jobs), section("Figures", compared(jobs, names)));
}

function card(job, place) {
  return h("article.card", {}, h("p.eyebrow", {}, place ? "after" : "before"), h("h2", {}, h("a", { href: addressOf(job) }, titleOf(job))), facts(job));
}

function warnings([first, second]) {
  const set = ({ dataset }) => `${dataset.name} ${dataset.images}`;
  const found = [
    set(first) !== set(second) && "They are over different images: differences may be those of the sets.",
    first.options.mode !== second.options.mode && "One was scored one image at a time, the other as fast as could be: their times are not to be compared.",
  ].filter(Boolean);
  return found.map((text) => h("p.note.caution", {}, text));
}

function compared(jobs, names) {
  const of = (job, name) => job.results?.backends.find((one) => one.facts.name === name);
  const values = jobs.flatMap((job) => names.map((name) => of(job, name)?.quality?.accuracy).filter(Boolean));
  const scale = scaled(values);
  const head = ["backend", "", values.length && "accuracy", "p50, ms", "p99, ms", "images/s", "USD per 1,000"].filter((one) => one !== 0 && one !== false);
  const rows = names.flatMap((name, place) => jobs.map((job, number) => row(of(job, name), name, place, number, values.length && scale)));
  return table("Both runs", head.map((one, place) => h("th", { scope: "col", class: place < 2 ? "text" : "" }, one || h("span.unseen", {}, "run"))), rows);
}

function row(found, name, place, number_, scale) {
  const cell = (is, ...content) => h("td.figure", { data: { is } }, ...content);
  const version = found && [found.facts.version, found.facts.precision].join(" ");
  const { quality, latency, cost } = found ?? {};
  const none = "–";
  return h(
    "tr",
    { class: number_ ? "after" : "before" },
    h("th", { scope: "row" }, marked(name, place), version && h("small", {}, `version ${version}`)),
    h("td.text", { data: { is: "run" } }, number_ ? "after" : "before"),
    scale && cell("accuracy", quality ? [h("b", {}, percent(quality.accuracy.value)), h("small", {}, ends(quality.accuracy)), interval(quality.accuracy, place, scale)] : none),
    cell("p50, ms", latency ? number(latency.total.p50) : none),
    cell("p99, ms", latency ? number(latency.total.p99) : none),
    cell("images/s", found?.images_per_second ? number(found.images_per_second) : none),
    cell("USD per 1,000", cost ? usd(cost.usd_per_1000) : none),
  );
}
