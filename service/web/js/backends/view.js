// What is served, and how it does: looked at again every few seconds while somebody looks.

import { ask } from "../api.js";
import { h, pause } from "../dom.js";
import { shownProblem } from "../problem.js";
import { served } from "../served.js";
import { panel } from "./panel.js";

const AGAIN_MS = 2000;

export async function show(main, _, signal) {
  main.classList.remove("answered");
  const lost = h("div");
  const place = h("div.panels", { "aria-busy": "true" });
  main.replaceChildren(
    h("div.hero", {}, h("h1", {}, "Backends"), h("p.lead", {}, "What is served here, how it does at this moment, and which versions there are.")),
    lost,
    place,
  );
  const panels = new Map();

  async function look() {
    const { backends, first } = await served(signal);
    for (const one of backends) {
      if (!panels.has(one.name)) panels.set(one.name, panel(one, signal, reload));
      panels.get(one.name).show(one, one.name === first);
    }
    const elements = backends.map((one) => panels.get(one.name).element);
    if (elements.some((one, number) => place.children[number] !== one) || place.children.length !== elements.length) place.replaceChildren(...elements);
    if (!backends.length) place.replaceChildren(h("p.empty", {}, "No backend is loaded. A model that is put into the store appears here within a second."));
    place.removeAttribute("aria-busy");
    lost.replaceChildren();
  }

  async function reload(name) {
    await ask(`/v1/backends/${encodeURIComponent(name)}/reload`, { method: "POST", signal });
    await look();
  }

  await look();
  keepLooking();

  async function keepLooking() {
    while (!signal.aborted) {
      await pause(AGAIN_MS, signal).catch(() => {});
      if (signal.aborted || document.hidden) continue;
      await look().catch((problem) => signal.aborted || lost.firstChild || lost.replaceChildren(shownProblem(problem)));
    }
  }
}
