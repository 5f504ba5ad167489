// Asks backends about images: each by itself, so that a slow one holds up no other.

import { ask } from "../api.js";
import { pause } from "../dom.js";

export const TOP = 5;
const UNDER_WAY = 2;
const PATIENCE = 8;

/** One image and what is said of it. `answers`: name -> { state: waiting | answered | failed, result, problem, began, trip }. */
export function shot(file) {
  return { file, name: file.name || "pasted image", url: URL.createObjectURL(file), answers: new Map() };
}

/** Ask every backend about every image; `told(shot, name)` whenever something changes. A few at a time for each backend. */
export function askAll(shots, names, signal, told) {
  for (const name of names) {
    const waiting = [...shots];
    for (const one of waiting) one.answers.set(name, { state: "waiting" });
    const work = async () => {
      while (waiting.length && !signal.aborted) await askOne(waiting.shift(), name, signal, told, shots.length > 1 ? PATIENCE : 0);
    };
    for (let lane = 0; lane < UNDER_WAY; lane++) work();
  }
}

/** One image, one backend. With `patience`, a full queue is waited for so many times, as long as the service says. */
export async function askOne(one, name, signal, told, patience = 0) {
  const began = performance.now();
  const put = (answer) => {
    if (signal.aborted || !one.answers.has(name)) return; // or it was left out meanwhile
    one.answers.set(name, { began, ...answer });
    told(one, name);
  };
  put({ state: "waiting" });
  for (let turn = 0; !signal.aborted; turn++) {
    try {
      const sent = performance.now();
      const reply = await ask(`/v1/classify?backend=${encodeURIComponent(name)}&top=${TOP}`, {
        method: "POST",
        body: one.file,
        headers: { "Content-Type": "application/octet-stream" },
        signal,
      });
      const result = await reply.json();
      return put({ state: "answered", result, trip: performance.now() - sent });
    } catch (problem) {
      if (signal.aborted) return;
      if (!problem.retryAfter || turn >= patience) return put({ state: "failed", problem });
      await pause(problem.retryAfter * 1000, signal).catch(() => {});
    }
  }
}

/** What the answers so far come to: who says which label, most named first, who failed, how many are waited for. */
export function agreement(answers) {
  const said = new Map();
  let [failed, waiting] = [0, 0];
  for (const [name, { state, result }] of answers) {
    if (state === "waiting") waiting++;
    else if (state === "failed") failed++;
    else {
      const label = result.predictions[0].label;
      said.set(label, [...(said.get(label) ?? []), name]);
    }
  }
  const camps = [...said].sort((a, b) => b[1].length - a[1].length);
  const answered = camps.reduce((sum, [, names]) => sum + names.length, 0);
  return { camps, answered, failed, waiting, agree: answered > 1 && camps.length === 1 };
}
