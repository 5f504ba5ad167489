// Scoring jobs as every part of this view names them.

import { h } from "../dom.js";
import { count, moment } from "../format.js";

export const ended = (job) => !["queued", "running"].includes(job.state);

/** What a set is called: as given, else its name; an upload's is its digest. */
export function titleOf(job) {
  const { options, dataset } = job;
  return options.title || (dataset.name.startsWith("sha256:") ? `an uploaded zip (${dataset.name.slice(7, 15)})` : dataset.name);
}

export const modes = { throughput: "as fast as they go", latency: "one image at a time" };

export function facts(job) {
  const { dataset, options } = job;
  const images = dataset.images === dataset.of ? `${count(dataset.images)} images` : `${count(dataset.images)} of ${count(dataset.of)} images`;
  const told = [images, dataset.labelled ? `${dataset.labels.length} classes` : "without labels", modes[options.mode], moment(job.created)];
  return h("ul.facts", {}, [...told.map((one) => h("li", {}, one)), job.state !== "succeeded" && h("li", { class: job.state === "failed" ? "bad" : "" }, job.state)].filter(Boolean));
}

export const addressOf = (job) => `#/compare/${job.id}`;
