// Scored images: small pictures, fetched with the key as they come near the window.

import { ask, pathOf } from "../api.js";
import { h } from "../dom.js";
import { percent, plural } from "../format.js";
import { mark } from "../marks.js";

const AT_ONCE = 4;
const FIRST = 12;

/** `exhibits`: { image, label, claims }, as results have them. `total`: of how many these are the first. */
export function gallery(job, exhibits, place, signal, total = exhibits.length) {
  const load = loader(job, signal);
  const list = h("div.gallery", {}, exhibits.slice(0, FIRST).map((one) => exhibit(one, place, load)));
  const rest = exhibits.slice(FIRST);
  const more = h("button", { type: "button" }, `Show ${rest.length} more`);
  more.onclick = () => {
    list.append(...rest.map((one) => exhibit(one, place, load)));
    more.remove();
  };
  const cut = total > exhibits.length && h("p.note", {}, `The first ${exhibits.length} of ${plural(total, "image")}. The rows have all of them.`);
  return h("div", {}, list, rest.length > 0 && more, cut);
}

function exhibit({ image, label, claims }, place, load) {
  const picture = h("div.picture");
  load(picture, image);
  const said = claims.map(({ backend, predicted, probability }) =>
    h("li", { class: predicted === label ? "right" : "" }, mark(place[backend] ?? 0), h("span.label", { title: backend }, predicted, h("span.unseen", {}, ` says ${backend}`)), h("span.figure", {}, percent(probability, 0))),
  );
  const name = image.split("/").at(-1);
  return h("figure", {}, picture, h("figcaption", {}, label && h("p", {}, "labelled ", h("b", {}, label)), said.length > 0 && h("ul", {}, said), h("small", { title: image }, name)));
}

/** A function that fetches the picture of an image into a place once that is near; a few at a time, and none after `signal`. */
function loader(job, signal) {
  const waiting = [];
  let underWay = 0;
  const next = async () => {
    if (underWay >= AT_ONCE || !waiting.length || signal.aborted) return;
    const [place, image] = waiting.shift();
    underWay++;
    try {
      const reply = await ask(`/v1/scorings/${job.id}/images/${pathOf(image)}`, { signal });
      const url = URL.createObjectURL(await reply.blob());
      signal.addEventListener("abort", () => URL.revokeObjectURL(url));
      place.replaceChildren(h("img", { src: url, alt: image }));
    } catch (problem) {
      if (!signal.aborted) place.replaceChildren(h("span.note", {}, problem.title ?? "no picture"));
    }
    underWay--;
    next();
  };
  const watch = new IntersectionObserver((entries) => {
    for (const { isIntersecting, target } of entries) {
      if (!isIntersecting) continue;
      watch.unobserve(target);
      waiting.push([target, target.dataset.image]);
      next();
    }
  }, { rootMargin: "200px" });
  signal.addEventListener("abort", () => watch.disconnect());
  return (place, image) => {
    place.dataset.image = image;
    watch.observe(place);
  };
}
