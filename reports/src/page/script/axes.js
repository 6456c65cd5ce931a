// Axes: round ticks, linear or, of a distribution's tail, logarithmic.

function roundStep(span, wanted) {
  const power = 10 ** Math.floor(Math.log10(span / wanted));
  return [1, 2, 5, 10].map((k) => k * power).find((step) => span / step <= wanted);
}

function ticks(from, to, wanted) {
  const step = roundStep(to - from, wanted), found = [];
  for (let k = Math.ceil(from / step - 1e-9); k * step <= to + step * 1e-9; k++) {
    found.push(Number((k * step).toPrecision(12)));
  }
  return found;
}

/** The vertical scale: value to share of the height, ticks with their texts, label. */
function vertical(panel, tail, most) {
  if (!tail) {
    return {
      of: (y) => y / panel.y1,
      ticks: ticks(0, panel.y1, 6).map((y) => [y, number(y, 5)]),
      label: panel.y,
    };
  }
  const decades = clamp(Math.ceil(Math.log10(Math.max(most, 10))), 1, 8), floor = 10 ** -decades;
  const marks = [];
  for (let k = 0; k <= decades; k++) marks.push([1 - 10 ** -k, number(10 ** -k, 2)]);
  return {
    of: (y) => 1 + Math.log10(Math.max(1 - y, floor)) / decades,
    ticks: marks,
    label: "share of responses ≥ x (logarithmic)",
  };
}

