// The figures of every backend, and of every two.

import { h, table } from "../dom.js";
import { count, ends, minutes, number, percent, plural, provider, usd } from "../format.js";
import { marked } from "../marks.js";
import { gallery } from "./pictures.js";
import { section } from "./result.js";

/** Backends with their accuracy, its interval on one scale, times, cost, training. */
export function figures(backends) {
  const judged = backends.filter((one) => one.quality);
  const scale = scaled(judged.map((one) => one.quality.accuracy));
  const head = ["backend", judged.length && "accuracy", "p50, ms", "p99, ms", "images/s", "USD per 1,000", "training", "no answer"].filter(Boolean);
  return table("Figures of each backend", head, backends.map((one, place) => row(one, place, judged.length && scale)));
}

export function scaled(values) {
  const [low, high] = [Math.min(...values.map((one) => one.low)), Math.max(...values.map((one) => one.high))];
  return (share) => (share - low) / (high - low || 1);
}

const none = () => h("span.note", {}, "n/a");
const cell = (is, ...content) => h("td.figure", { data: { is } }, ...content);

function row(one, place, scale) {
  const { facts, quality, latency, cost } = one;
  const training = facts.training ?? {};
  const errors = Object.entries(one.errors);
  return h(
    "tr",
    {},
    h("th", { scope: "row" }, marked(facts.name, place), h("small", {}, [facts.version, facts.precision, provider(facts.provider)].filter(Boolean).join(" · "))),
    scale && cell("accuracy", quality ? [h("b", {}, percent(quality.accuracy.value)), h("small", {}, ends(quality.accuracy)), interval(quality.accuracy, place, scale)] : none()),
    cell("p50, ms", latency ? number(latency.total.p50) : none()),
    cell("p99, ms", latency ? number(latency.total.p99) : none()),
    cell("images/s", one.images_per_second ? number(one.images_per_second) : none()),
    cell("USD per 1,000", cost ? [usd(cost.usd_per_1000), h("small", {}, cost.basis === "call" ? "by the call" : "by the hour")] : none()),
    cell("training", training.minutes != null ? [minutes(training.minutes), training.usd != null && h("small", {}, `${usd(training.usd)} USD`)] : none()),
    cell("no answer", errors.length ? h("span.bad", {}, errors.map(([code, many]) => `${count(many)} ${code}`).join(", ")) : "0"),
  );
}

export function interval({ value, low, high }, place, scale) {
  const vars = { low: scale(low), high: scale(high), at: scale(value) };
  return h("div.interval", { class: `k${place % 8}`, vars, "aria-hidden": "true" }, h("i"), h("b"));
}

/** Every two of them: how often they agree, who is right where the other is not, and how likely that is chance. */
export function pairs(job, found, signal) {
  const shown = h("div", { role: "status" });
  const open = (pair, side) => {
    const images = pair.test[`${side}_images`].map((image) => ({ image, label: null, claims: [] }));
    const [right, wrong] = side === "only_first" ? [pair.first, pair.second] : [pair.second, pair.first];
    shown.replaceChildren(h("h3", {}, `${right} is right, ${wrong} is not`), gallery(job, images, {}, signal, pair.test[side]));
  };
  const judged = found.some((one) => one.test);
  const head = ["pair", "agree", ...(judged ? ["only first right", "only second right", "difference, points", "p (Holm)"] : [])];
  const rows = found.map((pair) => {
    const { test } = pair;
    const side = (name) => (test[name] ? h("button.quiet", { type: "button", onclick: () => open(pair, name) }, plural(test[name], "image")) : "0");
    const told = test && [
      cell("only first right", side("only_first")),
      cell("only second right", side("only_second")),
      cell("difference, points", (test.difference.value * 100).toFixed(1), h("small", {}, ends(test.difference))),
      cell("p (Holm)", test.p_holm < 0.001 ? "< 0.001" : test.p_holm.toFixed(3)),
    ];
    return h("tr", {}, h("th", { scope: "row" }, `${pair.first} and ${pair.second}`), cell("agree", pair.compared ? percent(pair.agreed / pair.compared) : none()), told || []);
  });
  const lead = "On the images that both answered. p is that of the exact McNemar test: how often chance alone would set two equally good ones so far apart.";
  return section("Two by two", judged && h("p.note.above", {}, lead), table("Pairs of backends", head, rows), shown);
}
