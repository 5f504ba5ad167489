// Several images: a row each, a column for each backend. A row opens as if it had come alone.

import { h, icon, table, wrappable } from "../dom.js";
import { ms, percent, plural } from "../format.js";
import { agreement } from "./asking.js";

/** `show(shot)` brings a row up to date. `open(shot)` is called when one is chosen. */
export function grid(shots, backends, open) {
  const rows = new Map(shots.map((one) => [one, row(one, backends, open)]));
  const verdict = h("p.verdict", { role: "status" });
  const head = ["image", ...backends.map((one) => one.name), "agreement"].map((one) => h("th.text", { scope: "col" }, wrappable(one)));
  const element = h("section.grid", { "aria-label": "Answers" }, h("div.heading", {}, h("h2", {}, plural(shots.length, "image")), verdict), table("Answers by image", head, [...rows.values()].map((one) => one.element)));

  function show(...changed) {
    for (const one of changed.length ? changed : shots) rows.get(one).show();
    const found = shots.map((one) => agreement(one.answers));
    const waiting = found.filter((one) => one.waiting).length;
    const judged = found.filter((one) => one.answered > 1);
    const text = waiting ? `${shots.length - waiting} of ${shots.length} done` : `The backends agree on ${judged.filter((one) => one.agree).length} of ${judged.length}.`;
    if (judged.length || waiting) verdict.textContent = text;
  }
  show();
  return { element, show };
}

function row(shot, backends, open) {
  const cells = new Map(backends.map((one) => [one.name, h("td.text", { data: { is: one.name } })]));
  const agrees = h("td.text", { data: { is: "agreement" } });
  const picture = h("img", { src: shot.url, alt: "", loading: "lazy", width: 56, height: 56 });
  const name = h("button.quiet.open", { type: "button", onclick: () => open(shot) }, picture, h("span", {}, shot.name));
  const element = h("tr", {}, h("th", { scope: "row" }, name), [...cells.values()], agrees);
  const show = () => {
    for (const [backend, cell] of cells) cell.replaceChildren(...said(shot.answers.get(backend)));
    const found = agreement(shot.answers);
    element.classList.toggle("differ", found.camps.length > 1);
    agrees.replaceChildren(...(found.waiting || found.answered < 2 ? [] : found.agree ? [icon("check"), " agree"] : [icon("differ"), " differ"]));
  };
  return { element, show };
}

function said(answer) {
  if (!answer || answer.state === "waiting") return [h("span.note", {}, "…")];
  if (answer.state === "failed") return [h("span.bad", { title: answer.problem.detail }, answer.problem.title)];
  const [first] = answer.result.predictions;
  return [h("span.label", {}, wrappable(first.label)), h("small", {}, `${percent(first.probability)} · ${ms(answer.result.timing_ms.total)}`)];
}
