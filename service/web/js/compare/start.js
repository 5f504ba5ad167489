// What to score: a set, backends, how. Below it the runs that there were.

import { read, send } from "../api.js";
import { choice, h, icon, wrappable } from "../dom.js";
import { dropped } from "../drop.js";
import { bytes, percent, usd } from "../format.js";
import { shownProblem } from "../problem.js";
import { answers, paid, served } from "../served.js";
import { addressOf } from "./jobs.js";
import { runs } from "./runs.js";
import { upload } from "./upload.js";

export async function start(main, signal) {
  const place = h("div", { "aria-busy": "true" }, h("p.empty", { role: "status" }, "Looking for sets and runs …"));
  const past = h("section", { "aria-labelledby": "runs-title" });
  main.replaceChildren(
    h(
      "div.hero",
      {},
      h("h1", {}, "Compare on a labelled set"),
      h("p.lead", {}, "Every image through every backend, in the background: accuracy with its interval, latency, cost, and the images that they can’t agree on."),
    ),
    place,
    past,
  );
  const [{ backends }, { datasets }] = await Promise.all([served(signal), read("/v1/datasets", { signal })]);
  place.removeAttribute("aria-busy");
  place.replaceChildren(form(backends.filter(answers), datasets, signal));
  await runs(past, signal);
}

function form(backends, datasets, signal) {
  let [zip, mode] = [null, "throughput"];
  const told = h("div", { role: "status" });
  const sets = picker(datasets, (file) => {
    zip = file;
    ready();
  }, signal);
  const boxes = backends.map((one) => h("input", { type: "checkbox", name: "backend", value: one.name, checked: !paid(one), onchange: ready }));
  const limit = h("input", { type: "number", min: "1", step: "1", placeholder: "all", inputmode: "numeric", id: "limit" });
  const go = h("button.main", { type: "submit" }, "Start the run");
  const chosen = () => boxes.filter((one) => one.checked).map((one) => one.value);

  function ready() {
    go.disabled = !chosen().length || !(zip || sets.name());
  }

  async function submit(event) {
    event.preventDefault();
    go.disabled = true;
    const options = { mode, limit: limit.valueAsNumber || null };
    try {
      const job = zip
        ? await upload(zip, { ...options, backends: chosen().join(",") }, progress, signal)
        : await send("/v1/scorings", { ...options, dataset: sets.name(), backends: chosen() }, { signal });
      location.hash = addressOf(job);
    } catch (problem) {
      if (signal.aborted) return;
      told.replaceChildren(shownProblem(problem));
      ready();
    }
  }

  function progress(share) {
    const text = share < 1 ? `Uploading: ${percent(share, 0)}` : "Uploaded. Looking into it …";
    told.replaceChildren(h("p.note", {}, text), h("div.meter", {}, h("i", { vars: { share } })));
  }

  sets.element.addEventListener("change", ready);
  ready();
  const modes = [["throughput", "Throughput"], ["latency", "Latency"]];
  return h(
    "form.start.card",
    { onsubmit: submit },
    h("div.field", {}, h("h2", {}, "Set"), sets.element),
    h("div.field", {}, h("h2", {}, "Backends"), h("div.boxes", { role: "group", "aria-label": "Backends" }, backends.map((one, place) => box(one, boxes[place])))),
    h(
      "div.field",
      {},
      h("h2", {}, "How"),
      choice("Mode", "mode", modes, mode, (picked) => (mode = picked)),
      h("p.note", {}, "Throughput: as many at once as a backend takes. Latency: one image at a time, so that times tell of the backend."),
      h("label.inline", { for: "limit" }, "Images at most", limit),
      go,
      told,
    ),
  );
}

function box(backend, input) {
  const price = paid(backend) && h("small", {}, `${usd(backend.price.usd * 1000)} USD per 1,000 images`);
  return h("label", {}, input, h("span", {}, wrappable(backend.name), price));
}

/** A set of the server's, or a zip of one's own. `name()`: the one chosen, of the server's. */
function picker(datasets, took, signal) {
  const label = (one) => [one.name.startsWith("sha256:") ? `uploaded: ${one.name.slice(7, 15)}` : one.name, one.bytes && bytes(one.bytes)].filter(Boolean).join(", ");
  const select = h("select", { "aria-label": "A set on the server" }, h("option", { value: "" }, datasets.length ? "On the server …" : "No set on the server yet"), datasets.map((one) => h("option", { value: one.name }, label(one))));
  select.disabled = !datasets.length;
  if (datasets.length) select.value = datasets[0].name;
  const text = h("strong", {}, "Drop a zip");
  const more = h("span.note", {}, "with a folder of images for each class, or click to choose");
  const input = h("input", { type: "file", accept: ".zip,application/zip", "aria-label": "Choose a zip", onchange: () => take(input.files[0]) });
  const zone = h("label.drop", {}, icon("zip"), text, more, input);
  dropped(zone, ([file]) => take(file), signal);
  select.addEventListener("change", () => take(null));

  function take(file) {
    if (file) select.value = "";
    text.textContent = file ? file.name : "Drop a zip";
    more.textContent = file ? bytes(file.size) : "with a folder of images for each class, or click to choose";
    took(file ?? null);
  }
  return { element: h("div.sets", {}, select, h("span.note", {}, "or"), zone), name: () => select.value };
}
