// Files that are dropped: onto a zone, or anywhere beside it, as nobody who misses it means to leave the page.

/** Calls `take` with the files, until `signal` aborts. */
export function dropped(zone, take, signal) {
  const on = (kind, act) => document.addEventListener(kind, act, { signal });
  on("dragover", (event) => {
    event.preventDefault();
    zone.classList.add("over");
  });
  on("dragleave", (event) => event.relatedTarget ?? zone.classList.remove("over"));
  on("drop", (event) => {
    event.preventDefault();
    zone.classList.remove("over");
    const files = [...(event.dataTransfer?.files ?? [])];
    if (files.length) take(files);
  });
}
