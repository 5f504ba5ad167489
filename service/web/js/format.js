// Figures as people read them, the same as in the report (models/scoring/words.py).

const NBSP = "\u00a0";
const whole = new Intl.NumberFormat("en");

export const percent = (share, digits = 1) => `${(share * 100).toFixed(digits)}${NBSP}%`;
export const ends = ({ low, high }) => `${(low * 100).toFixed(1)} to ${(high * 100).toFixed(1)}`;
export const count = (value) => whole.format(value);

/** Of milliseconds, or of images in a second: `0.42`, `4.2`, `42`, `4,200`. */
export function number(value) {
  if (value < 1) return value.toFixed(2);
  return value < 10 ? value.toFixed(1) : whole.format(Math.round(value));
}

/** `4.3 ms`, `1.2 s`. */
export const ms = (value) => (value < 1000 ? `${number(value)}${NBSP}ms` : `${(value / 1000).toFixed(1)}${NBSP}s`);

/** Two digits that count and no exponent: `0.26`, `0.000013`, `2.50`, `41`. */
export function usd(amount) {
  if (amount >= 10) return whole.format(Math.round(amount));
  if (amount >= 1) return amount.toFixed(2);
  if (!amount) return "0";
  const digits = Math.min(20, 1 - Math.floor(Math.log10(amount)));
  return Number(amount.toPrecision(2)).toFixed(digits);
}

/** `12 min`, `4 h`, `2 h 48 min`. */
export function minutes(value) {
  const rounded = Math.round(value);
  if (rounded < 1) return `${Math.round(value * 60)}${NBSP}s`;
  const [hours, rest] = [Math.floor(rounded / 60), rounded % 60];
  return [hours && `${hours}${NBSP}h`, rest && `${rest}${NBSP}min`].filter(Boolean).join(" ");
}

/** What is left of a run. */
export const left = (seconds) => (seconds < 90 ? `${Math.ceil(seconds)}${NBSP}s` : minutes(seconds / 60));

export function bytes(size) {
  const units = ["bytes", "kB", "MB", "GB"];
  const place = Math.min(3, Math.floor(Math.log10(Math.max(1, size)) / 3));
  return `${place ? number(size / 1000 ** place) : size}${NBSP}${units[place]}`;
}

const day = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short", hour: "2-digit", minute: "2-digit" });
export const moment = (iso) => day.format(new Date(iso));

const date = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short", year: "numeric" });
export const dayOf = (iso) => date.format(new Date(iso));

/** `a`, `a and b`, `a, b and c`. */
export const listed = (names) => (names.length < 2 ? names.join("") : `${names.slice(0, -1).join(", ")} and ${names.at(-1)}`);

export const plural = (value, one, many = `${one}s`) => `${count(value)} ${value === 1 ? one : many}`;

/** `CPUExecutionProvider` -> `CPU`; a host as it is. */
export const provider = (name) => name.replace(/ExecutionProvider$/, "");

/** A figure stays on a line with its unit, as in the report. */
export const unbroken = (text) => text.replaceAll(/(?<=\d) (?=(?:USD|ms|points|min|h|times)\b|%)|(?<=\bp) (?=[<=])|(?<=[<=]) (?=[01])/g, NBSP);
