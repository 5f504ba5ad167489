// One backend: state, queue, plan, counters, what it costs, whom it asks; its versions on demand.

import { h, wrappable } from "../dom.js";
import { count, number, percent, usd } from "../format.js";
import { shownProblem } from "../problem.js";
import { standing } from "../served.js";
import { remote } from "./remote.js";
import { versions } from "./versions.js";

const SOURCES = { default: "default", settings: "set", inherited: "from the version before", kept: "measured here", measured: "measured here" };
const STATES = { ready: "ready", failed: "not served", checking: "not asked yet", failing: "fails" };

/** `show(backend, first)` brings it up to date. `reload(name)` looks for a new version; it throws its problem. */
export function panel({ name }, signal, reload) {
  const state = h("span.state");
  const facts = h("ul.facts");
  const body = h("dl.measures");
  const more = h("div");
  const told = h("div.told", { role: "status" });
  const button = h("button", { type: "button", onclick: look }, "Reload");
  const history = h("details", { ontoggle: () => history.open && list.show() }, h("summary", {}, "Versions"));
  const list = versions(name, signal);
  history.append(list.element);
  const id = `backend-${name}`;
  const element = h("article.card.panel", { "aria-labelledby": id }, h("header", {}, h("h2", { id }, wrappable(name)), state, button, facts), body, more, told, history);

  async function look() {
    button.disabled = true;
    try {
      await reload(name);
      told.replaceChildren(h("p.note", {}, "Looked again: the newest sound version serves."));
    } catch (problem) {
      if (!signal.aborted) told.replaceChildren(shownProblem(problem));
    }
    button.disabled = false;
    if (history.open) list.show();
  }

  function show(one, first) {
    history.hidden = Boolean(one.remote); // it has the one
    state.dataset.state = one.state;
    state.textContent = STATES[one.state] ?? one.state;
    facts.replaceChildren(...[...standing(one), one.kind, first && "answers when nobody is named"].filter(Boolean).map((text) => h("li", {}, text)));
    body.replaceChildren(...measures(one).map(([title, ...content]) => h("div", {}, h("dt", {}, title), h("dd", {}, content))));
    const problems = one.versions.filter((version) => version.reason).map((version) => shownProblem({ title: version.state === "failed" ? `Version ${version.version} can’t be served` : "It does not answer", detail: version.reason }));
    problems.forEach((problem) => problem.removeAttribute("role")); // it is brought up to date every few seconds
    more.replaceChildren(...[one.remote && remote(one), ...problems].filter(Boolean));
  }
  return { element, show };
}

function measures(one) {
  const { queue, counters, plan, tuning, price, test_accuracy: tested, labels } = one;
  const share = queue ? Math.min(1, queue.held / queue.max_queue) : 0;
  return [
    queue && ["In the queue", h("b", {}, count(queue.held)), ` of ${count(queue.max_queue)}`, h("div.meter", { "aria-hidden": "true" }, h("i", { vars: { share } }))],
    counters && ["Answered", h("b", {}, count(counters.answered)), h("small", {}, [counters.failed && `${count(counters.failed)} failed`, counters.refused && `${count(counters.refused)} refused`].filter(Boolean).join(", ") || "none failed")],
    plan && ["Plan", h("b", {}, planned(one)), h("small", {}, tuning ? `${SOURCES[tuning.source] ?? tuning.source}${rate(one)}` : "")],
    price && ["Costs", h("b", {}, `${usd(price.basis === "call" ? price.usd * 1000 : price.usd)} USD`), h("small", { title: price.source }, price.basis === "call" ? "for 1,000 calls" : "for an hour of this machine")],
    tested && ["Test accuracy", h("b", {}, percent(tested)), h("small", {}, "on the first set it met")],
    labels?.length && ["Labels", h("b", {}, count(labels.length)), h("small", {}, labels.slice(0, 6).join(", ") + (labels.length > 6 ? ", …" : ""))],
  ].filter(Boolean);
}

function planned({ plan, remote: elsewhere }) {
  const many = (value, word) => `${value} ${word}${value === 1 ? "" : "s"}`;
  if (elsewhere) return `${many(plan.lanes, "call")} at once`;
  return `${many(plan.lanes, "lane")} × ${many(plan.threads, "thread")}, batches of ${plan.batch_size}`;
}

/** What its plan made here when it was measured. */
function rate({ plan, tuning }) {
  const found = tuning.measured.find((one) => ["lanes", "threads", "batch_size"].every((name) => one.plan[name] === plan[name]));
  return found ? `, ${number(found.images_per_second)} images/s` : "";
}
