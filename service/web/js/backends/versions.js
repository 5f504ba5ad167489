// The versions that there are of a backend, and what each could do when it was made.

import { read } from "../api.js";
import { h, table } from "../dom.js";
import { bytes, count, dayOf, ends, minutes, percent, usd } from "../format.js";
import { shownProblem } from "../problem.js";

export function versions(name, signal) {
  const element = h("div", {}, h("p.note", {}, "…"));
  async function show() {
    try {
      const { versions: found } = await read(`/v1/backends/${encodeURIComponent(name)}/versions`, { signal });
      element.replaceChildren(table(`Versions of ${name}`, ["version", "made", "how", "test accuracy", "parameters", "files"], found.map(row)));
    } catch (problem) {
      if (!signal.aborted) element.replaceChildren(shownProblem(problem, show));
    }
  }
  return { element, show };
}

const unknown = () => h("span.note", {}, "n/a");

function row(one) {
  const cell = (is, ...content) => h("td.figure", { data: { is } }, ...content);
  const cost = one.minutes !== null && [minutes(one.minutes), one.usd !== null && `${usd(one.usd)} USD`].filter(Boolean).join(", ");
  const tested = one.variants.filter((variant) => variant.test_accuracy);
  return h(
    "tr",
    {},
    h("th", { scope: "row" }, one.version, h("small", { class: one.state === "broken" ? "bad" : "" }, one.reason ?? one.state)),
    cell("made", one.finished ? dayOf(one.finished) : unknown()),
    cell("how", one.recipe ? [one.recipe, cost && h("small", {}, cost)] : unknown()),
    cell("test accuracy", tested.length ? tested.map(({ precision, test_accuracy: found }) => h("div", {}, `${percent(found.value)} `, h("small", {}, `${precision}, ${ends(found)}`))) : unknown()),
    cell("parameters", one.parameters ? count(one.parameters) : unknown()),
    cell("files", one.variants.map(({ precision, size_bytes: size }) => h("div", {}, size ? `${precision} ${bytes(size)}` : precision))),
  );
}
