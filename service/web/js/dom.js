// Elements without HTML in strings: whatever a name holds, it is text.

const SVG = "http://www.w3.org/2000/svg";

/** `h("button.main", { type: "button", onclick: go }, "Go")`. `vars` are custom properties, `data` data attributes. */
export function h(tag, props = {}, ...children) {
  const [name, ...classes] = tag.split(".");
  return filled(document.createElement(name), classes, props, children);
}

/** The same for SVG. */
export function s(tag, props = {}, ...children) {
  const [name, ...classes] = tag.split(".");
  return filled(document.createElementNS(SVG, name), classes, props, children);
}

function filled(element, classes, props, children) {
  if (classes.length) element.classList.add(...classes);
  for (const [name, value] of Object.entries(props)) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "vars") for (const [key, one] of Object.entries(value)) element.style.setProperty(`--${key}`, one);
    else if (name === "data") Object.assign(element.dataset, value);
    else if (name === "class") element.classList.add(...value.split(" ").filter(Boolean));
    else if (name === "value" || name === "checked") element[name] = value;
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat(3).filter((one) => one !== null && one !== undefined && one !== false));
  return element;
}

/** A name that may go on in the next line where its words end. */
export function wrappable(name) {
  return name.split(/(?<=[_/.-])/).flatMap((part, place) => (place ? [h("wbr"), part] : [part]));
}

const PATHS = {
  image: "M4 5h16v14H4zM4 16l4.5-4.5 4 4 2.5-2.5L20 18M15.5 9.5h.01",
  check: "M5 12.5l4.5 4.5L19 7.5",
  differ: "M7 8h10M7 16h10M15 4L9 20",
  camera: "M4 8h3.5L9 5.5h6L16.5 8H20v11H4zM12 16.5a3 3 0 1 0 0-6 3 3 0 0 0 0 6z",
  zip: "M6 3h8l4 4v14H6zM14 3v4h4M10 12v.01M12 14v.01M10 16v.01M12 18v.01",
};

export function icon(name) {
  return s("svg.icon", { viewBox: "0 0 24 24", "aria-hidden": "true" }, s("path", { d: PATHS[name] }));
}

/** A button of a few that exclude each other. `options`: [value, label nodes]; `pick` is called with the value. */
export function choice(legend, name, options, chosen, pick) {
  return h(
    "fieldset.choice",
    { onchange: (event) => pick(event.target.value) },
    h("legend.unseen", {}, legend),
    options.map(([value, ...label]) =>
      h("label", {}, h("input", { type: "radio", name, value, checked: value === chosen }), label),
    ),
  );
}

/** A table in a frame that scrolls by itself and can be reached by the keyboard for that. */
export function table(title, head, rows, { stack = true } = {}) {
  return h(
    `div.wide${stack ? ".stack" : ""}`,
    { tabindex: "0", role: "region", "aria-label": title },
    h(
      "table",
      {},
      h("thead", {}, h("tr", {}, head.map((one) => (one instanceof Node ? one : h("th", { scope: "col" }, one))))),
      h("tbody", {}, rows),
    ),
  );
}

/** Resolves after so many milliseconds, unless `signal` ends the wait. */
export const pause = (ms, signal) =>
  new Promise((resolve, reject) => {
    const stop = () => {
      clearTimeout(timer);
      reject(signal.reason);
    };
    const timer = setTimeout(() => {
      signal?.removeEventListener("abort", stop);
      resolve();
    }, ms);
    signal?.addEventListener("abort", stop);
  });
