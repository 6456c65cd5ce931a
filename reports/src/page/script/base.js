// Small helpers.
const NS = "http://www.w3.org/2000/svg";

/** An element with attributes and children. */
function make(name, attributes, ...children) {
  const svg = ["svg", "g", "path", "line", "rect", "circle", "text", "clipPath", "polygon"].includes(name);
  const made = svg ? document.createElementNS(NS, name) : document.createElement(name);
  for (const [key, value] of Object.entries(attributes || {})) {
    if (value !== undefined && value !== null) made.setAttribute(key, value);
  }
  made.append(...children);
  return made;
}

/** [dx, dy, dx, dy, …] in whole units, as arrays of x and y. */
function decode(points, unit) {
  const n = points.length / 2, xs = new Float64Array(n), ys = new Float64Array(n);
  for (let i = 0, x = 0, y = 0; i < n; i++) {
    xs[i] = (x += points[2 * i]) * unit[0];
    ys[i] = (y += points[2 * i + 1]) * unit[1];
  }
  return { xs, ys };
}

/** A number with about `digits` digits, without needless zeros. */
function number(value, digits = 4) {
  if (value === 0) return "0";
  const places = Math.max(0, Math.min(6, digits - 1 - Math.floor(Math.log10(Math.abs(value)))));
  return String(Number(value.toFixed(places)));
}

/** Calls when the width of an element is another; not where only its height is, which drawing changes. */
function onWidth(element, act) {
  let known = element.clientWidth;
  new ResizeObserver(() => {
    if (element.clientWidth === known) return;
    known = element.clientWidth;
    requestAnimationFrame(act);
  }).observe(element);
}

const clamp = (value, least, most) => Math.min(most, Math.max(least, value));
const palette = (color) => (color === null || color === undefined ? "kn" : `k${color}`);
const units = (label) => (/\(([^)]*)\)/.exec(label) || ["", ""])[1];

