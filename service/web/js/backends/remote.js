// A backend that answers from elsewhere: its rate, its month, whether it is left alone for a while.

import { h } from "../dom.js";
import { count, percent, usd } from "../format.js";

const BREAKER = { closed: "calls go through", open: "left alone for a while: it failed too often", half_open: "one call is let through to see" };

export function remote({ remote: found }) {
  const { month, breaker, calls_per_second: rate, calls = {}, retries } = found;
  const refused = calls.throttled ?? calls.refused;
  const rows = [
    ["Asks", found.host],
    breaker && ["State", BREAKER[breaker.replace("-", "_")] ?? breaker],
    rate && ["Rate", `${rate} calls a second at most`],
    Object.keys(calls).length && ["Calls", Object.entries(calls).map(([name, many]) => `${count(many)} ${name.replaceAll("_", " ")}`).join(", ")],
    (retries || refused) && ["Tried again", count(retries ?? 0)],
    month && ["This month", spent(month)],
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
