// Two runs beside each other, backend by backend.

import { read } from "../api.js";
import { h, table } from "../dom.js";
import { ends, number, percent, usd } from "../format.js";
import { marked } from "../marks.js";
import { addressOf, facts, titleOf } from "./jobs.js";
import { section } from "./result.js";

export async function versus(main, one, other, signal) {
  main.replaceChildren(h("p.empty", { role: "status" }, "Looking for both runs …"));
  const jobs = await Promise.all([one, other].map((id) => read(`/v1/scorings/${encodeURIComponent(id)}`, { signal })));
  jobs.sort((a, b) => a.created.localeCompare(b.created));
  const names = [...new Set(jobs.flatMap((job) => (job.results?.backends ?? []).map((found) => found.facts.name)))];
  const head = h("div.hero", {}, h("p.eyebrow", {}, h("a", { href: "#/compare" }, "Compare")), h("h1", {}, "Two runs"), h("div.two", {}, jobs.map(card)));
  main.replaceChildren(head, ...warnings(jobs), section("Figures", ...compared(jobs, names)));
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

/** A row for each backend; in a cell what was, what is, and what has changed. */
function compared(jobs, names) {
  const found = (name) => jobs.map((job) => job.results?.backends.find((one) => one.facts.name === name));
  const head = ["backend", "accuracy", "p50, ms", "p99, ms", "images/s", "USD per 1,000"];
  const alike = jobs[0].options.mode === jobs[1].options.mode;
  const ratio = (was, now) => (alike && was && now ? `× ${(now / was).toPrecision(2)}` : "");
  const rows = names.map((name, place) => {
    const both = found(name);
    const versions = [...new Set(both.filter(Boolean).map(({ facts: one }) => `${one.version} ${one.precision}`))];
    return h(
      "tr",
      {},
      h("th", { scope: "row" }, marked(name, place), h("small", {}, versions.join(", then "))),
      cell("accuracy", both, (one) => one.quality?.accuracy, (one) => [percent(one.value), h("small", {}, ends(one))], (was, is) => signed((is.value - was.value) * 100, "points")),
      cell("p50, ms", both, (one) => one.latency?.total.p50, number, ratio),
      cell("p99, ms", both, (one) => one.latency?.total.p99, number, ratio),
      cell("images/s", both, (one) => one.images_per_second, number, ratio),
      cell("USD per 1,000", both, (one) => one.cost?.usd_per_1000, usd, ratio),
    );
  });
  const note = h("p.note.above", {}, "Above what was, below what is. Where the intervals overlap, a change may be chance.");
  return [note, table("Both runs", head, rows)];
}

function cell(is, both, pick, shown, change) {
  const [was, now] = both.map((one) => one && (pick(one) ?? undefined));
  const line = (value, word, tag) => h(tag, {}, h("span.unseen", {}, `${word} `), value === undefined ? "–" : shown(value));
  const told = was !== undefined && now !== undefined && h("small", {}, change(was, now));
  return h("td.figure.then", { data: { is } }, line(was, "before", "span.was"), line(now, "after", "span.now"), told);
}

const signed = (value, unit) => `${value < 0 ? "−" : "+"}${Math.abs(value).toFixed(1)} ${unit}`;
