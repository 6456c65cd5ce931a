// The same by keyboard: arrows read off, plus and minus zoom, 0 shows all, Escape ends.

const FIRST_SHARE = 0.5;

function listenKeys(panel) {
  panel.host.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.altKey || event.metaKey) return;
    const done = panel.data.cdf ? alongShares(panel, event) : alongPoints(panel, event);
    if (done || other(panel, event.key)) event.preventDefault();
  });
}

function other(panel, key) {
  switch (key) {
    case "ArrowUp": return step(panel, -1);
    case "ArrowDown": return step(panel, 1);
    case "+": case "=": panel.zoomBy(0.5); return true;
    case "-": panel.zoomBy(2); return true;
    case "0": panel.zoomTo(panel.data.x0, panel.data.x1); return true;
    case "Escape": panel.read(null); return true;
    default: return false;
  }
}

/** To the next curve, at the same share or x. */
function step(panel, by) {
  const shown = panel.shown().filter((curve) => curve.xs.length);
  if (!shown.length) return true;
  const now = panel.at ? shown.indexOf(panel.at.curve) : -1;
  const curve = shown[panel.at ? (now + by + shown.length) % shown.length : 0];
  return panel.data.cdf
    ? toShare(panel, curve, panel.at ? panel.at.point.y : FIRST_SHARE)
    : toPoint(panel, curve, panel.at ? indexAt(curve, panel.at.point.x) : 0);
}

function toShare(panel, curve, share) {
  const last = curve.ys[curve.ys.length - 1];
  const point = atShare(curve, clamp(share, 0, last));
  if (point) panel.read({ curve, point });
  return true;
}

function alongShares(panel, event) {
  const fine = event.shiftKey ? 0.001 : 0.01;
  const by = { ArrowLeft: -fine, ArrowRight: fine, PageUp: 0.1, PageDown: -0.1, Home: -1, End: 1 }[event.key];
  if (by === undefined) return false;
  if (!panel.at) return step(panel, 1);
  const share = Math.round((panel.at.point.y + by) * 1e5) / 1e5;
  return toShare(panel, panel.at.curve, share);
}

function indexAt(curve, x) {
  let best = 0;
  curve.xs.forEach((own, i) => { if (Math.abs(own - x) < Math.abs(curve.xs[best] - x)) best = i; });
  return best;
}

function toPoint(panel, curve, index) {
  const i = clamp(index, 0, curve.xs.length - 1);
  panel.read({ curve, point: { x: curve.xs[i], y: curve.ys[i], i } });
  return true;
}

function alongPoints(panel, event) {
  const far = 1e9;
  const by = { ArrowLeft: -1, ArrowRight: 1, PageUp: 10, PageDown: -10, Home: -far, End: far }[event.key];
  if (by === undefined) return false;
  if (!panel.at) return step(panel, 1);
  const { curve, point } = panel.at;
  return toPoint(panel, curve, (point.i === undefined ? indexAt(curve, point.x) : point.i) + by);
}

