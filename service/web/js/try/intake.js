// How images come in: dropped, pasted, picked, photographed, or one of the samples.

import { h, icon } from "../dom.js";
import { dropped } from "../drop.js";

const SAMPLES = ["sea", "forest", "buildings"];

/** The zone and the samples. `take` is called with the files; what is dropped or pasted anywhere counts, until `signal` aborts. */
export function intake(take, signal) {
  const zone = h(
    "label.drop",
    {},
    icon("image"),
    h("strong", {}, "Drop an image"),
    h("span", {}, "or click to choose, or paste one. Several become a table."),
    h("input", { type: "file", accept: "image/*", multiple: true, "aria-label": "Choose images", onchange: picked }),
  );
  function picked(event) {
    const files = [...event.target.files];
    event.target.value = "";
    if (files.length) take(files);
  }
  dropped(zone, take, signal);
  const pasted = (event) => {
    const files = [...(event.clipboardData?.files ?? [])];
    if (files.length) take(files);
  };
  document.addEventListener("paste", pasted, { signal });
  return h("div.intake", {}, zone, h("div.samples", {}, h("span.note", {}, "or try a painted one"), SAMPLES.map(sample), camera()));

  function sample(name) {
    const picture = h("img", { src: `/web/samples/${name}.jpg`, alt: "", width: 300, height: 225 });
    const pick = async () => {
      const data = await (await fetch(`/web/samples/${name}.jpg`)).blob();
      take([new File([data], `${name}.jpg`, { type: "image/jpeg" })]);
    };
    return h("button.sample", { type: "button", onclick: pick, "aria-label": `Try the sample ${name}` }, picture);
  }

  /** A phone's own camera; elsewhere the attribute means nothing, so there is no button. */
  function camera() {
    if (!matchMedia("(pointer: coarse)").matches) return null;
    const input = h("input", { type: "file", accept: "image/*", capture: "environment", "aria-label": "Take a photo", onchange: picked });
    return h("label.drop.camera", {}, icon("camera"), h("span", {}, "Take a photo"), input);
  }
}
