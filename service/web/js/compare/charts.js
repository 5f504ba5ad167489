// Accuracy against latency and against cost, by Plotly, which is fetched when there is something to draw.

import { h } from "../dom.js";
import { symbol } from "../marks.js";
import { section } from "./result.js";

const LIBRARY = "/web/plotly/plotly-basic.min.js";
let library = null;

function loaded() {
  library ??= new Promise((resolve, reject) => {
    // Plotly looks for this element before it would write style sheets into the page, which the page's policy forbids.
    document.head.append(h("link.no-inline-styles", { id: "plotly.js-style-global", rel: "stylesheet", href: "/web/css/plotly.css" }));
    document.head.append(h("script", { src: LIBRARY, onload: () => resolve(window.Plotly), onerror: reject }));
  });
  return library;
}

/** A section with both charts; drawn when it comes near the window, and again when light turns to dark. */
export function charts(judged, place, signal) {
  const plots = [
    ["Accuracy against latency", "ms", judged.filter((one) => one.latency).map((one) => [one, one.latency.total.p50, one.latency.total.p99]), "A mark stands at the time that half of the answers took; its line reaches to 99 %."],
    ["Accuracy against cost", "USD per 1,000 images", judged.filter((one) => one.cost?.usd_per_1000).map((one) => [one, one.cost.usd_per_1000, null]), "What the run cost, by the hour of the machine or by the call."],
  ].filter(([, , points]) => points.length > 1);
  if (!plots.length) return null;
  const drawings = plots.map(([title, unit, points, caption]) => {
    const spot = h("div.plot", { role: "img", "aria-label": `${title}: the table above has the figures` });
    const element = h("figure.card", {}, h("h3", {}, title), spot, h("figcaption.note", {}, `Up and to the left is better. ${caption}`));
    return { element, draw: (Plotly) => drawn(Plotly, spot, unit, points, place) };
  });
  const all = async () => {
    const Plotly = await loaded();
    if (signal.aborted) return;
    await Promise.all(drawings.map((one) => one.draw(Plotly)));
    element.dataset.drawn = "yes";
  };
  const element = section("Trade-offs", h("div.plots", {}, drawings.map((one) => one.element)));
  const watch = new IntersectionObserver(([seen]) => {
    if (!seen.isIntersecting) return;
    watch.disconnect();
    all().catch(() => drawings.forEach((one) => one.element.querySelector(".plot").replaceChildren("The charts could not be loaded; the table has their figures.")));
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", all, { signal });
  }, { rootMargin: "400px" });
  watch.observe(element);
  signal.addEventListener("abort", () => watch.disconnect());
  return element;
}

function drawn(Plotly, spot, unit, points, place) {
  const style = getComputedStyle(document.documentElement);
  const ink = (name) => style.getPropertyValue(name).trim();
  const reach = points.flatMap(([, low, high]) => [low, high ?? low]);
  const [low, high] = [Math.log10(Math.min(...reach)), Math.log10(Math.max(...reach))];
  const narrow = spot.clientWidth < 480;
  const axis = (title, more) => ({ title: { text: title, standoff: 8, font: { size: 12 } }, gridcolor: ink("--line"), zeroline: false, linecolor: ink("--line"), ticks: "", automargin: true, ...more });
  const pad = Math.max(0.15, (high - low) * 0.15);
  const layout = {
    paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", height: 320, margin: { l: 52, r: 24, t: 12, b: 44 },
    font: { family: style.fontFamily, size: 12, color: ink("--ink") }, dragmode: false, showlegend: false,
    hoverlabel: { bgcolor: ink("--card"), bordercolor: ink("--line"), font: { color: ink("--ink") } },
    xaxis: axis(unit, { type: "log", range: [low - pad, high + pad], dtick: high - low > (narrow ? 1.2 : 2.5) ? 1 : "D2", exponentformat: "none", tickformat: "~r" }),
    yaxis: axis("accuracy, %"),
  };
  const middle = (low + high) / 2;
  const data = points.map(([one, x, right]) => trace(one, x, right, place[one.facts.name], ink, Math.log10(x) > middle ? "left" : "right"));
  return Plotly.react(spot, data, layout, { displayModeBar: false, responsive: true });
}

/** `side`: where its name stands, which must not reach beyond the frame. */
function trace({ facts, quality }, x, right, place, ink, side) {
  const { value, low, high } = quality.accuracy;
  const color = ink(`--c${place % 8}`);
  const bar = { type: "data", symmetric: false, color, thickness: 1.5, width: 4 };
  return {
    x: [x], y: [value * 100], mode: "markers+text", name: plain(facts.name), text: [plain(facts.name)], textposition: `top ${side}`, textfont: { size: 12 }, cliponaxis: false,
    marker: { color, size: 11, symbol: symbol(place) },
    error_y: { ...bar, array: [(high - value) * 100], arrayminus: [(value - low) * 100] },
    ...(right && { error_x: { ...bar, thickness: 1, width: 3, array: [right - x], arrayminus: [0] } }),
    hovertemplate: `<b>${plain(facts.name)}</b><br>%{y:.1f} % (${(low * 100).toFixed(1)} to ${(high * 100).toFixed(1)})<br>%{x:.3~g}<extra></extra>`,
  };
}

/** Plotly reads some HTML in texts. */
function plain(name) {
  return name.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");
}
