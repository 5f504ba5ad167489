// How a problem is shown, wherever it happens.

import { h } from "./dom.js";

/** `again`: what to do when its button is pressed. */
export function shownProblem(problem, again) {
  return h(
    "div.problem",
    { role: "alert" },
    h("b", {}, problem.title ?? "Something went wrong on this page"),
    h("p", {}, problem.detail || problem.message),
    again && !final(problem) && h("button", { type: "button", onclick: again }, "Try again"),
  );
}

/** Whether asking once more would only say the same: the request itself is what is wrong. */
const final = ({ status }) => status >= 400 && status < 500 && status !== 408 && status !== 429;
