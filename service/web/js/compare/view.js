// Compare: what to score, how it goes, what came of it. #/compare, #/compare/RUN, #/compare/RUN/with/RUN

import { run } from "./run.js";
import { start } from "./start.js";
import { versus } from "./versus.js";

export function show(main, [one, word, other], signal) {
  main.classList.remove("answered");
  if (one && word === "with" && other) return versus(main, one, other, signal);
  return one ? run(main, one, signal) : start(main, signal);
}
