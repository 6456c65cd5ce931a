// Reading a curve off: the nearest point, and what is said of it.

/** The point of a curve that is nearest to (px, py) on the screen. */
function nearestOn(curve, px, py, X, Y) {
  const { xs, ys } = curve;
  let best = { distance: Infinity };
  for (let i = 0; i < xs.length; i++) {
    const ax = X(xs[i]), ay = Y(ys[i]);
    let at = 0;
    if (i + 1 < xs.length && curve.stroke !== "dots") {
      const bx = X(xs[i + 1]) - ax, by = Y(ys[i + 1]) - ay, length = bx * bx + by * by;
      at = length > 0 ? clamp(((px - ax) * bx + (py - ay) * by) / length, 0, 1) : 0;
      const distance = Math.hypot(ax + at * bx - px, ay + at * by - py);
      if (distance < best.distance) {
        const x = xs[i] + at * (xs[i + 1] - xs[i]), y = ys[i] + at * (ys[i + 1] - ys[i]);
        best = { distance, x, y };
      }
    } else {
      const distance = Math.hypot(ax - px, ay - py);
      if (distance < best.distance) best = { distance, x: xs[i], y: ys[i] };
    }
  }
  return best;
}

/** Where a distribution reaches a share: the response time of that percentile. */
function atShare(curve, share) {
  const { xs, ys } = curve;
  for (let i = 0; i < ys.length; i++) if (ys[i] >= share - 1e-9) return { x: xs[i], y: share };
  return null;
}

function nameOf(curve) {
  const parts = [curve.task, curve.case, curve.kind].filter(Boolean);
  return parts.length ? parts.join(", ") : curve.label;
}

/** What is said of a point of a curve, in lines. */
function reading(panel, curve, point) {
  if (panel.cdf) {
    const jobs = curve.jobs === null ? "" : ` of ${curve.jobs} ${curve.task === "requests" ? "requests" : "jobs"}`;
    return [
      nameOf(curve),
      `response time ${number(point.x)} ${units(panel.x)}`,
      `share ${number(point.y, 5)}, percentile p${number(100 * point.y, 6)}${jobs}`,
    ];
  }
  const jobs = curve.jobs === null ? [] : [`${curve.jobs} in all`];
  return [nameOf(curve), `${panel.x}: ${number(point.x)}`, `${panel.y}: ${number(point.y)}`, ...jobs];
}

