// What one backend says of one image.

import { h, icon, wrappable } from "../dom.js";
import { ms, number, percent, usd } from "../format.js";
import { shownProblem } from "../problem.js";
import { standing, usdPer1000 } from "../served.js";

const STAGES = ["queue", "decode", "infer"];

/** A card whose `show(answer, camps)` says how it stands. `again` asks once more. */
export function card(backend, again) {
  const body = h("div.said", { "aria-busy": "true" });
  const facts = h("ul.facts", {}, standing(backend).map((one) => h("li", {}, one)));
  const element = h("article.card.answer", { "aria-labelledby": `of-${backend.name}` }, h("header", {}, h("h2.small", { id: `of-${backend.name}` }, wrappable(backend.name)), facts), body);
  let ticking = 0;

  function show(answer, verdict) {
    cancelAnimationFrame(ticking);
    element.dataset.state = answer?.state ?? "idle";
    body.setAttribute("aria-busy", String(answer?.state === "waiting"));
    if (!answer) body.replaceChildren();
    else if (answer.state === "waiting") wait(answer.began);
    else if (answer.state === "failed") body.replaceChildren(shownProblem(answer.problem, again));
    else if (body.dataset.id !== answer.result.request_id) {
      body.dataset.id = answer.result.request_id;
      body.replaceChildren(...said(backend, answer));
    }
    if (answer?.state === "answered") body.querySelector(".stance").replaceChildren(...stance(backend.name, answer, verdict));
    else delete body.dataset.id;
  }

  function wait(began) {
    const text = h("span.figure", {}, "…");
    body.replaceChildren(h("p.waiting", {}, h("span.meter.unknown", {}, h("i")), text));
    const tick = () => {
      if (!text.isConnected && text.textContent !== "…") return;
      const passed = performance.now() - began;
      text.textContent = passed < 300 || Number.isNaN(passed) ? "… " : `${(passed / 1000).toFixed(1)} s`;
      ticking = requestAnimationFrame(tick);
    };
    tick();
  }

  return { element, show };
}

function said(backend, { result, trip }) {
  const [first] = result.predictions;
  return [
    h("p.first", {}, h("span.label", {}, wrappable(first.label)), h("span.figure", {}, percent(first.probability))),
    h("p.stance.note"),
    h("ol.ranked", {}, result.predictions.map(ranked)),
    h("div.time", {}, times(result.timing_ms), h("dl.figure", {}, spent(backend, result.timing_ms, trip))),
  ];
}

function ranked({ label, probability }) {
  return h("li", {}, h("span.label", {}, wrappable(label)), h("span.figure", {}, percent(probability)), h("span.bar", { "aria-hidden": "true" }, h("i", { vars: { share: probability } })));
}

/** A bar of the stages, on one scale with those of the other cards: --most is set on what holds them. */
function times(timing) {
  return h("div.stages", { "aria-hidden": "true" }, STAGES.map((name) => h(`i.${name}`, { vars: { ms: timing[name] } })));
}

function spent(backend, timing, trip) {
  const price = usdPer1000(backend, timing);
  const rows = [
    ["total", ms(timing.total)],
    ...STAGES.map((name) => [name === "infer" && backend.remote ? "remote" : name, number(timing[name]), name]),
    ["round trip from here", ms(trip)],
    price !== null && ["USD per 1,000", usd(price)],
  ];
  return rows.filter(Boolean).map(([name, value, stage]) => h("div", { class: stage ?? "" }, h("dt", {}, name), h("dd", {}, value)));
}

function stance(name, { result }, { camps, answered }) {
  if (answered < 2) return ["\u00a0"];
  const label = result.predictions[0].label;
  const with_ = camps.find(([one]) => one === label)[1].length - 1;
  if (camps.length === 1) return [h("span.agrees", {}, icon("check"), " as all say")];
  if (with_) return [h("span.agrees", {}, icon("check"), ` as ${with_} of ${answered - 1} others`)];
  return [h("span.differs", {}, icon("differ"), " alone with this")];
}
