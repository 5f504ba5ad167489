// One image beside what every backend says of it.

import { h } from "../dom.js";
import { bytes, listed, plural } from "../format.js";
import { agreement } from "./asking.js";
import { card } from "./card.js";

/** `show()` brings it up to date. `again(name)` asks one backend once more. */
export function single(shot, backends, again) {
  const cards = new Map(backends.map((one) => [one.name, card(one, () => again(one.name))]));
  const verdict = h("p.verdict", { role: "status" });
  const grid = h("div.answers", {}, [...cards.values()].map((one) => one.element));
  const element = h("section.single", { "aria-label": shot.name, class: backends.length > 3 ? "many" : "" }, h("div.subject", {}, picture(shot), verdict), grid);

  function show() {
    const found = agreement(shot.answers);
    const totals = [...shot.answers.values()].map((one) => one.result?.timing_ms.total ?? 0);
    grid.style.setProperty("--most", Math.max(...totals) || 1);
    for (const [name, one] of cards) one.show(shot.answers.get(name), found);
    const text = inWords(found, shot.answers.size);
    if (verdict.textContent !== text) verdict.textContent = text;
    verdict.classList.toggle("agree", found.agree && !found.waiting);
  }
  show();
  return { element, show };
}

function picture(shot) {
  const facts = h("figcaption.note", {}, h("span.name", {}, shot.name), h("span", {}, bytes(shot.file.size)));
  const image = h("img", {
    src: shot.url,
    alt: `The image that was sent: ${shot.name}`,
    onload: (event) => facts.append(h("span", {}, `${event.target.naturalWidth} × ${event.target.naturalHeight}`)),
    onerror: (event) => event.target.replaceWith(h("p.empty", {}, "This browser can't show the file.")),
  });
  return h("figure", {}, image, facts);
}

/** `All 3 say sea.`, `2 of 3 say sea; transfer says forest.` */
export function inWords({ camps, answered, failed, waiting }, all) {
  const rest = [waiting && `waiting for ${waiting} of ${all}`, failed && `${plural(failed, "backend")} gave no answer`].filter(Boolean).join(", ");
  const after = rest ? ` (${rest})` : "";
  if (!answered) return failed === all ? "No backend could answer." : `${rest[0]?.toUpperCase() ?? ""}${rest.slice(1)}.`;
  const [[label, names], ...others] = camps;
  if (!others.length) return `${answered === 1 ? `${names[0]} says` : `All ${answered} say`} ${label}${after}.`;
  const minority = others.map(([one, who]) => `${listed(who)} ${who.length > 1 ? "say" : "says"} ${one}`);
  const start = names.length > 1 ? `${names.length} of ${answered} say ${label}` : `${names[0]} says ${label}`;
  return `${start}, ${minority.join(", ")}${after}.`;
}
