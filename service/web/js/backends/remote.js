// A backend that answers from elsewhere: its rate, its month, whether it is left alone for a while.

import { h } from "../dom.js";
import { count, percent, usd } from "../format.js";

const BREAKER = {
  closed: "calls go through",
  open: "left alone for a while, as it failed too often",
  "half-open": "one call is let through to see whether it answers again",
};
const OUTCOMES = { answered: "answered", throttled: "throttled", refused: "refused", failed: "failed", timed_out: "timed out", unreachable: "unreachable", given_up: "given up" };

export function remote({ remote: found }) {
  const { month, breaker, calls_per_second: rate, calls = {}, retries } = found;
  const came = Object.entries(calls).filter(([, many]) => many).map(([name, many]) => `${count(many)} ${OUTCOMES[name] ?? name}`);
  const rows = [
    ["Asks", found.host],
    month && ["This month", spent(month)],
    rate && ["Rate", `${rate} calls a second at most${calls.throttled ? `; ${count(calls.throttled)} throttled all the same` : ""}`],
    breaker && ["State", BREAKER[breaker] ?? breaker],
    came.length && ["Calls", `${came.join(", ")}${retries ? `; ${count(retries)} of them new attempts` : ""}`],
  ].filter(Boolean);
  return h("dl.remote", {}, rows.map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, value))));
}

function spent({ calls, budget, usd: cost }) {
  const money = cost !== null && cost !== undefined ? `, ${usd(cost)} USD` : "";
  if (!budget) return `${count(calls)} calls${money}, without a budget`;
  const share = Math.min(1, calls / budget);
  return [
    `${count(calls)} of ${count(budget)} calls (${percent(share, 0)})${money}`,
    h("div.meter", { role: "meter", "aria-label": "Budget of the month", "aria-valuenow": calls, "aria-valuemin": "0", "aria-valuemax": budget }, h("i", { vars: { share } })),
  ];
}
