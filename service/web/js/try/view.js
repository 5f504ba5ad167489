// The first view: an image comes in, every backend answers.

import { h, icon, wrappable } from "../dom.js";
import { usd } from "../format.js";
import { answers, paid, served } from "../served.js";
import { askAll, askOne, shot } from "./asking.js";
import { card } from "./card.js";
import { grid } from "./grid.js";
import { intake } from "./intake.js";
import { single } from "./single.js";
import { snippets } from "./snippets.js";

const MOST = 200;
const kept = { shots: [], open: null, left: new Set() };
/** What was shown stays while other views are looked at. `left`: backends that are not asked. */
const tell = (one) => kept.told(one); // whoever shows it now
let asking = new AbortController();

export async function show(main, _, signal) {
  const lead = h("p.lead", {}, "Drop a photo and see what each model makes of it, how sure it is, how long it took and what it cost.");
  const place = h("div.stage");
  const chips = h("div.chips", { role: "group", "aria-label": "Backends to ask" });
  const hero = h("div.hero", {}, h("h1", {}, "One image, every backend’s answer"), lead);
  main.replaceChildren(hero, intake(take, signal), chips, place);
  main.setAttribute("aria-busy", "true");
  let [usable, early] = [null, null]; // files may come before it is known who answers
  const { backends } = await served(signal).finally(() => main.removeAttribute("aria-busy"));
  usable = backends.filter(answers);
  const asked = () => usable.filter((one) => !kept.left.has(one.name));
  let shown = null;

  function take(files) {
    early = files;
    if (!usable) return;
    asking.abort();
    asking = new AbortController();
    for (const one of kept.shots) URL.revokeObjectURL(one.url);
    kept.shots = files.slice(0, MOST).map(shot);
    kept.open = null;
    kept.cut = files.length - kept.shots.length;
    if (kept.shots.length > 1) for (const one of usable.filter(paid)) kept.left.add(one.name); // until its chip is pressed
    draw();
    askAll(kept.shots, asked().map((one) => one.name), asking.signal, tell);
    place.scrollIntoView({ block: "nearest" });
  }

  function told(one) {
    if (kept.open ? kept.open === one : kept.shots.length) shown?.show(...(kept.open || kept.shots.length === 1 ? [] : [one]));
  }
  kept.told = told;

  function draw() {
    main.classList.toggle("answered", kept.shots.length > 0);
    drawChips();
    const one = kept.open ?? (kept.shots.length === 1 ? kept.shots[0] : null);
    if (!kept.shots.length) return place.replaceChildren(waiting(usable));
    if (one) {
      shown = single(one, asked(), (name) => askOne(one, name, asking.signal, tell));
      const back = kept.open && h("button.quiet.back", { type: "button", onclick: () => open(null) }, "Back to all images");
      place.replaceChildren(...[back, shown.element, asked().length && snippets(asked()[0].name, one.name)].filter(Boolean));
    } else {
      shown = grid(kept.shots, asked(), open);
      const cut = kept.cut && h("p.note", {}, `Only the first ${MOST} are shown. A whole set is for Compare.`);
      place.replaceChildren(...[shown.element, cut].filter(Boolean));
    }
  }

  function open(one) {
    kept.open = one;
    draw();
    place.querySelector(one ? ".back" : ".open")?.focus();
  }

  function drawChips() {
    chips.hidden = usable.length < 2;
    chips.replaceChildren(...usable.map(chip));
  }

  function chip(backend) {
    const on = !kept.left.has(backend.name);
    const price = paid(backend) && h("small", {}, ` ${usd(backend.price.usd * 1000)} USD per 1,000`);
    const press = () => {
      if (on) kept.left.add(backend.name);
      else kept.left.delete(backend.name);
      const missing = kept.shots.filter((one) => !one.answers.has(backend.name));
      if (on) for (const one of kept.shots) one.answers.delete(backend.name);
      draw();
      if (!on && missing.length) askAll(missing, [backend.name], asking.signal, tell);
      chips.querySelector(`[data-name="${CSS.escape(backend.name)}"]`).focus();
    };
    return h("button.chip", { type: "button", "aria-pressed": String(on), onclick: press, data: { name: backend.name } }, on && icon("check"), wrappable(backend.name), price);
  }

  if (early) take(early);
  else draw();
}

/** Before the first image: who will answer. */
function waiting(backends) {
  if (!backends.length) return h("p.empty", {}, "No backend is loaded yet. Put a model into the store, and it appears here.");
  return h("div.answers.idle", { "aria-label": "Backends", role: "group" }, backends.map((one) => {
    const { element } = card(one, () => {});
    const accuracy = one.test_accuracy && h("p.note", {}, `right on ${(one.test_accuracy * 100).toFixed(1)} % of its test set`);
    const labels = one.labels?.length && h("p.note", {}, `${one.labels.length} labels: ${one.labels.slice(0, 8).join(", ")}${one.labels.length > 8 ? ", …" : ""}`);
    element.querySelector(".said").replaceChildren(...[accuracy, labels].filter(Boolean));
    element.querySelector(".said").removeAttribute("aria-busy");
    return element;
  }));
}
