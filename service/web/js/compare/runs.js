// The runs that there were: each leads to its result, two of them to their comparison.

import { read } from "../api.js";
import { h, table, wrappable } from "../dom.js";
import { moment, percent } from "../format.js";
import { addressOf, ended, titleOf } from "./jobs.js";

export async function runs(place, signal) {
  const chosen = [];
  const both = h("button", { type: "button", onclick: () => (location.hash = `#/compare/${chosen[0]}/with/${chosen[1]}`) }, "Compare two");
  const more = h("button", { type: "button" }, "Older ones");
  const found = [];
  const shown = h("div");
  place.replaceChildren(h("div.heading", {}, h("h2", { id: "runs-title" }, "Runs"), both), shown, more);

  function pick(event) {
    const { checked, value } = event.target;
    if (checked) chosen.push(value);
    else chosen.splice(chosen.indexOf(value), 1);
    if (chosen.length > 2) place.querySelector(`input[value="${chosen.shift()}"]`).checked = false;
    told();
  }
  function told() {
    both.disabled = chosen.length !== 2;
    both.textContent = chosen.length === 2 ? "Compare the two" : "Mark two to compare them";
  }
  async function page(before) {
    const { scorings, next } = await read(`/v1/scorings?limit=10${before ? `&before=${before}` : ""}`, { signal });
    found.push(...scorings);
    both.hidden = found.length < 2;
    more.hidden = !next;
    more.onclick = () => page(next);
    shown.replaceChildren(found.length ? list(found, chosen, pick) : h("p.empty", {}, "None yet. What is started above is kept here."));
  }
  told();
  await page("");
}

function list(jobs, chosen, pick) {
  const head = [h("th.text", { scope: "col" }, h("span.unseen", {}, "To compare")), ...["set", "state", "images", "most accurate", "when"].map((one) => h("th", { scope: "col", class: one === "set" ? "text" : "" }, one))];
  return table("List of runs", head, jobs.map((job) => row(job, chosen.includes(job.id), pick)));
}

function row(job, checked, pick) {
  const title = titleOf(job);
  const best = job.backends.filter((one) => one.accuracy !== null).sort((a, b) => b.accuracy - a.accuracy)[0];
  const mark = h("input", { type: "checkbox", value: job.id, checked, onchange: pick, "aria-label": `Compare ${title}, ${moment(job.created)}`, disabled: !ended(job) });
  const names = job.backends.map((one) => one.name).join(", ");
  return h(
    "tr",
    {},
    h("td.tick", {}, mark),
    h("th.text", { scope: "row" }, h("a", { href: addressOf(job) }, wrappable(title)), h("small", {}, `${names}${job.options.mode === "latency" ? " · latency" : ""}`)),
    h("td", { data: { is: "state" } }, h("span", { class: job.state === "failed" ? "bad" : "" }, ended(job) ? job.state : `${job.state}, ${percent(job.progress.total ? job.progress.done / job.progress.total : 0, 0)}`)),
    h("td", { data: { is: "images" } }, String(job.dataset.images)),
    h("td", { data: { is: "most accurate" } }, best ? [h("span", {}, `${best.name} `), h("small", {}, percent(best.accuracy))] : "–"),
    h("td", { data: { is: "when" } }, moment(job.created)),
  );
}
