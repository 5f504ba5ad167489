// A backend's colour and shape, the same in every table and chart, and in the report.

import { s, wrappable } from "./dom.js";

const SHAPES = [
  ["circle", "M5.2,0A5.2,5.2 0 1,1 -5.2,0A5.2,5.2 0 1,1 5.2,0z"],
  ["square", "M-4.7,-4.7h9.4v9.4h-9.4z"],
  ["diamond", "M0,-6L6,0 0,6 -6,0z"],
  ["triangle-up", "M0,-5.4L6,5 -6,5z"],
  ["star", "M0.0,-6.0 1.5,-2.1 5.7,-1.9 2.5,0.8 3.5,4.9 0.0,2.6 -3.5,4.9 -2.5,0.8 -5.7,-1.9 -1.5,-2.1z"],
  ["hexagon", "M-5.2,-3L0,-6 5.2,-3 5.2,3 0,6 -5.2,3z"],
  ["cross", "M-2,-6h4v4h4v4h-4v4h-4v-4h-4v-4h4z"],
  ["triangle-down", "M0,5.4L6,-5 -6,-5z"],
];

export const symbol = (place) => SHAPES[place % SHAPES.length][0];

export function mark(place) {
  const number = place % SHAPES.length;
  return s(`svg.mark.k${number}`, { viewBox: "-6 -6 12 12", "aria-hidden": "true" }, s("path", { d: SHAPES[number][1] }));
}

/** A backend's name behind its mark. */
export const marked = (name, place) => [mark(place), ...wrappable(name)];
