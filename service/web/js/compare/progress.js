// How far a run is, backend by backend, as its events say.

import { h, wrappable } from "../dom.js";
import { count, left, number, percent } from "../format.js";

/** `show(event, data)`: what the next event says. */
export function progress(job) {
  const rows = new Map(job.backends.map((one) => [one.name, row(one)]));
  const status = h("p.note", { role: "status" }, job.state);
  const element = h("section.progress.card", { "aria-label": "Progress" }, [...rows.values()].map((one) => one.element), status);

  function show(event, data) {
    if (event === "resumed") status.textContent = "Taken up again where it had stopped.";
    if (event === "lost") status.textContent = "The connection was lost. The run goes on; this page looks for it again …";
    if (event !== "progress") return;
    for (const one of data.backends) rows.get(one.name)?.show(one);
    const text = data.state === "queued" ? "Waiting for its turn." : `${percent(data.total ? data.done / data.total : 0, 0)} of the run is done.`;
    if (status.textContent !== text) status.textContent = text;
  }
  for (const one of job.backends) rows.get(one.name).show({ ...one, seconds_left: null });
  return { element, show };
}

function row({ name, version, precision }) {
  const meter = h("div.meter", { role: "progressbar", "aria-label": name, "aria-valuemin": "0" }, h("i"));
  const done = h("span.figure");
  const facts = h("span.note.figure");
  const element = h("div.going", {}, h("h3", {}, wrappable(name), h("small", {}, ` ${version} ${precision}`)), done, meter, facts);
  const show = (one) => {
    const { done: many, total } = one.progress;
    meter.firstChild.style.setProperty("--share", total ? many / total : 0);
    meter.setAttribute("aria-valuemax", total);
    meter.setAttribute("aria-valuenow", many);
    done.textContent = `${count(many)} of ${count(total)}`;
    facts.textContent = [
      one.images_per_second && many < total && `${number(one.images_per_second)} images/s`,
      one.accuracy !== null && `right on ${percent(one.accuracy)} so far`,
      one.failed && `${count(one.failed)} without an answer`,
      one.seconds_left && many < total && `${left(one.seconds_left)} left`,
    ].filter(Boolean).join(" · ") || "\u00a0";
  };
  return { element, show };
}
