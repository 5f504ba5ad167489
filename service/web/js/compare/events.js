// Server-sent events by fetch, because EventSource can't send a key.

import { ask } from "../api.js";
import { pause } from "../dom.js";

const AGAIN_MS = 1000;

/** Every event of an address, from the first to `end`, over as many connections as that takes. Yields { event, data }. */
export async function* events(path, signal) {
  let last = "";
  while (true) {
    try {
      const response = await ask(path, { signal, headers: last ? { "Last-Event-ID": last } : {} });
      for await (const one of parsed(response.body)) {
        if (one.id) last = one.id;
        yield one;
        if (one.event === "end") return;
      }
    } catch (error) {
      if (signal.aborted || (error.status && error.status < 500)) throw error;
      yield { event: "lost", data: error };
    }
    await pause(AGAIN_MS, signal); // the service may be starting anew: the job goes on, and so does this
  }
}

async function* parsed(body) {
  let text = "";
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  try {
    while (true) {
      const { done, value } = await reader.read();
      if (done) return;
      text += value;
      const blocks = text.split("\n\n");
      text = blocks.pop();
      for (const block of blocks) {
        const fields = Object.fromEntries(block.split("\n").map((line) => line.split(/: ?(.*)/s).slice(0, 2)));
        if (fields.data) yield { id: fields.id, event: fields.event, data: JSON.parse(fields.data) };
      }
    }
  } finally {
    reader.cancel().catch(() => {});
  }
}
