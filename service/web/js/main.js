// Which view is shown: the address after # says it, so that each can be kept, sent and gone back to.

import { shownProblem } from "./problem.js";

const VIEWS = {
  try: { title: "Parallax", load: () => import("./try/view.js") },
  compare: { title: "Compare", load: () => import("./compare/view.js") },
  backends: { title: "Backends", load: () => import("./backends/view.js") },
};
const main = document.getElementById("main");
let leave = new AbortController();

function parts(hash) {
  try {
    return hash.replace(/^#\/?/, "").split("/").map(decodeURIComponent);
  } catch {
    return []; // no address of ours
  }
}

async function show(moved) {
  const [name = "", ...rest] = parts(location.hash);
  const view = VIEWS[name] ?? VIEWS.try;
  leave.abort();
  leave = new AbortController();
  const { signal } = leave;
  for (const link of document.querySelectorAll("[data-view]")) {
    if (VIEWS[link.dataset.view] === view) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  document.title = view.title === "Parallax" ? "Parallax" : `${view.title} · Parallax`;
  try {
    const module = await view.load();
    if (!signal.aborted) await module.show(main, rest, signal);
  } catch (error) {
    if (signal.aborted) return;
    main.replaceChildren(shownProblem(error, () => show(false)));
  }
  if (moved && !signal.aborted) main.focus({ preventScroll: true });
}

addEventListener("hashchange", () => {
  scrollTo(0, 0);
  show(true);
});
document.querySelector(".skip").addEventListener("click", (event) => {
  event.preventDefault(); // its address would be a view's
  main.focus();
});
show(false);
