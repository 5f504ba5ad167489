// One run: its progress while it goes, then what came of it. The address is all that it needs, so a reload goes on.

import { ask, read } from "../api.js";
import { h } from "../dom.js";
import { events } from "./events.js";
import { addressOf, ended, facts, titleOf } from "./jobs.js";
import { progress } from "./progress.js";
import { result } from "./result.js";

export async function run(main, id, signal) {
  const path = `/v1/scorings/${encodeURIComponent(id)}`;
  main.replaceChildren(h("p.empty", { role: "status" }, "Looking for the run …"));
  let job = await read(path, { signal });
  if (!ended(job)) {
    await watched(main, job, path, signal);
    main.replaceChildren(head(job), h("p.empty", { role: "status" }, "Working out the figures …"));
    job = await read(path, { signal });
  }
  if (job.results) return result(main, job, signal);
  const note = job.note ?? "It ended before the first image was answered.";
  main.replaceChildren(head(job), h("div.problem", {}, h("b", {}, `The run was ${job.state === "cancelled" ? "cancelled" : "stopped by an error"}`), h("p", {}, note)));
}

export const head = (job) =>
  h("div.hero", {}, h("p.eyebrow", {}, h("a", { href: "#/compare" }, "Compare")), h("h1", {}, titleOf(job)), facts(job));

async function watched(main, job, path, signal) {
  const bars = progress(job);
  const cancel = h("button", { type: "button" }, "Cancel the run");
  cancel.onclick = async () => {
    cancel.disabled = true;
    await ask(path, { method: "DELETE", signal }).catch(() => (cancel.disabled = false));
  };
  main.replaceChildren(head(job), bars.element, h("p.actions", {}, cancel, h("span.note", {}, "It goes on when this page is closed: ", h("a", { href: addressOf(job) }, "this address"), " leads back.")));
  for await (const { event, data } of events(`${path}/events`, signal)) bars.show(event, data);
}
