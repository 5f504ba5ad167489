// What is served, as the views want it: a backend by name, and what its answers cost.

import { read } from "./api.js";
import { provider } from "./format.js";

/** One entry a name: the version that answers, or the one that failed where none does. */
export async function served(signal) {
  const { backends, default: first } = await read("/v1/backends", { signal });
  const found = new Map();
  for (const one of backends) {
    const known = found.get(one.name);
    if (!known) found.set(one.name, { ...one, versions: [one] });
    else known.versions.push(one);
  }
  return { backends: [...found.values()], first };
}

export const answers = (backend) => backend.state !== "failed";
export const paid = (backend) => backend.price?.basis === "call";

/** USD for 1,000 such calls: its price, or that of the machine for the time in which it decoded and inferred. */
export function usdPer1000(backend, timing) {
  const price = backend.price;
  if (!price) return null;
  if (price.basis === "call") return price.usd * 1000;
  return ((timing.decode + timing.infer) / 3_600_000) * price.usd * 1000;
}

/** What it runs as, and where, in a few words. */
export function standing({ version, precision, provider: name, remote }) {
  const where = remote ? `at ${remote.host}` : provider(name ?? "");
  return [`version ${version}`, precision, where].filter((text) => text && text !== "none" && text !== "unknown");
}
