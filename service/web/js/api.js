// Requests to the service: with the key, and with its problems (RFC 9457) as errors.

import { askForKey, key } from "./key.js";

/** What went wrong, in the service's words. */
export class Problem extends Error {
  constructor({ title, detail, code = "", status = 0 }, retryAfter = 0) {
    super(detail || title);
    Object.assign(this, { title, detail, code, status, retryAfter });
  }
}

export const headers = (more = {}) => (key() ? { "X-API-Key": key(), ...more } : more);

/** Ask, and get the response of a success. Throws `Problem`, or what `signal` aborts with. */
export async function ask(path, options = {}) {
  const sent = key();
  let response;
  try {
    response = await fetch(path, { ...options, headers: headers(options.headers) });
  } catch (error) {
    if (options.signal?.aborted) throw error;
    throw new Problem({ title: "The service can't be reached", detail: "Is it running? This page goes on when it is.", code: "offline" });
  }
  if (response.status === 401 && (key() !== sent || (await askForKey()))) return ask(path, options);
  if (!response.ok) throw await problemOf(response);
  return response;
}

/** Ask for JSON. */
export async function read(path, options) {
  return (await ask(path, options)).json();
}

/** Send JSON, get JSON. */
export function send(path, body, options = {}) {
  const kind = { "Content-Type": "application/json", ...options.headers };
  return read(path, { method: "POST", ...options, headers: kind, body: JSON.stringify(body) });
}

async function problemOf(response) {
  const told = await response.json().catch(() => ({ title: `HTTP ${response.status}`, detail: "" }));
  return new Problem({ ...told, status: response.status }, Number(response.headers.get("Retry-After")) || 0);
}

/** An image's path as part of an address. */
export const pathOf = (image) => image.split("/").map(encodeURIComponent).join("/");
