// One pair of axes: draws itself, reads itself off, zooms.

class Panel {
  constructor(data, figure, at) {
    Object.assign(this, { data, figure, tail: false, range: [data.x0, data.x1], at: null });
    this.curves = data.lines.map((line) => ({ ...line, ...decode(line.points, data.unit) }));
    const name = `${figure.data.title}${figure.data.panels.length > 1 ? `, part ${at + 1}` : ""}`;
    this.tip = make("div", { class: "tip", hidden: "", "aria-hidden": "true" });
    this.host = make("div", {
      class: "plot", tabindex: "0", role: "slider", "aria-label": `Read off ${name}`,
      "aria-valuemin": "0", "aria-valuemax": "100", "aria-valuenow": "0",
      "aria-valuetext": "arrow keys read a curve off",
    });
    this.clip = `clip-${figure.data.name}-${at}`;
    this.listen();
    listenKeys(this);
  }

  shown() {
    return this.curves.filter((curve) => this.figure.isOn(curve));
  }

  draw() {
    const width = Math.max(260, this.host.clientWidth || 520), height = width < 420 ? 300 : 360;
    this.box = { left: 62, right: width - 14, top: 24, bottom: height - 44, width, height };
    const { left, right, top, bottom } = this.box, [x0, x1] = this.range;
    const most = Math.max(1, ...this.curves.map((curve) => curve.jobs || 1));
    this.scale = vertical(this.data, this.tail, most);
    this.X = (x) => left + ((x - x0) / (x1 - x0)) * (right - left);
    this.Y = (y) => bottom - this.scale.of(y) * (bottom - top);
    const svg = make("svg", { viewBox: `0 0 ${width} ${height}`, height, "aria-hidden": "true" });
    const area = { x: left, y: top - 1, width: right - left, height: bottom - top + 2 };
    svg.append(make("clipPath", { id: this.clip }, make("rect", area)));
    this.drawAxes(svg);
    this.drawBounds(svg);
    const inside = make("g", { "clip-path": `url(#${this.clip})` });
    this.shown().forEach((curve) => this.drawCurve(inside, curve));
    this.cursor = make("g", {});
    svg.append(inside, this.cursor);
    this.svg = svg;
    this.host.replaceChildren(svg, this.tip);
    this.showReading();
  }

  drawAxes(svg) {
    const { left, right, top, bottom, height } = this.box;
    for (const x of ticks(...this.range, right - left < 320 ? 4 : 7)) {
      const at = this.X(x);
      svg.append(make("line", { class: "grid", x1: at, x2: at, y1: top, y2: bottom }));
      svg.append(make("text", { x: at, y: bottom + 17, "text-anchor": "middle" }, number(x, 6)));
    }
    for (const [y, text] of this.scale.ticks) {
      const at = this.Y(y);
      svg.append(make("line", { class: "grid", x1: left, x2: right, y1: at, y2: at }));
      svg.append(make("text", { x: left - 7, y: at + 4, "text-anchor": "end" }, text));
    }
    svg.append(make("path", { class: "axis", fill: "none", d: `M${left},${top}V${bottom}H${right}` }));
    svg.append(make("text", { x: (left + right) / 2, y: height - 8, "text-anchor": "middle" }, this.data.x));
    const middle = (top + bottom) / 2, turn = `rotate(-90 14 ${middle})`;
    svg.append(make("text", { x: 14, y: middle, "text-anchor": "middle", transform: turn }, this.scale.label));
  }

  drawBounds(svg) {
    if (!this.figure.boundsOn) return;
    const { top, bottom, left, right } = this.box;
    for (const bound of this.data.bounds) {
      const x = this.X(bound.x);
      if (x < left || x > right) continue;
      const group = make("g", { class: palette(bound.color) });
      group.append(make("line", { class: "bound", x1: x, x2: x, y1: top, y2: bottom }));
      const half = 3.4 * bound.label.length, at = clamp(x, half, this.box.width - half);
      group.append(make("text", { class: "bound-label", x: at, y: top - 7 }, bound.label));
      svg.append(group);
    }
  }

  drawCurve(parent, curve) {
    const group = make("g", { class: palette(curve.color) }), { xs, ys } = curve;
    if (curve.stroke === "dots") {
      for (let i = 0; i < xs.length; i++) {
        if (xs[i] < this.range[0] || xs[i] > this.range[1]) continue;
        const [cx, cy] = [this.X(xs[i]).toFixed(1), this.Y(ys[i]).toFixed(1)];
        group.append(make("circle", { class: "dot", cx, cy, r: xs.length > 60 ? 2 : 3.5 }));
      }
    } else {
      let d = "";
      for (let i = 0; i < xs.length; i++) {
        d += `${i ? "L" : "M"}${this.X(xs[i]).toFixed(1)},${this.Y(ys[i]).toFixed(1)}`;
      }
      group.append(make("path", { class: `curve ${curve.stroke}`, d }));
      if (curve.stroke === "solid" && this.data.cdf) this.drawMarkers(group, curve);
    }
    parent.append(group);
  }

  /** So that curves can be told apart without colours. */
  drawMarkers(group, curve) {
    for (const share of [0.1, 0.3, 0.5, 0.7, 0.9]) {
      const point = atShare(curve, share);
      if (!point || point.x < this.range[0] || point.x > this.range[1]) continue;
      group.append(marker(curve.color, this.X(point.x), this.Y(point.y)));
    }
  }

  /** Shows what is read off; `null` ends it. */
  read(at) {
    this.at = at;
    this.showReading();
  }

  showReading() {
    if (!this.cursor) return;
    this.cursor.replaceChildren();
    if (this.at && !this.figure.isOn(this.at.curve)) this.at = null;
    this.tip.hidden = !this.at;
    if (!this.at) return;
    const { curve, point } = this.at, { left, top, bottom, right, width } = this.box;
    const x = clamp(this.X(point.x), left, right), y = this.Y(point.y);
    this.cursor.append(
      make("path", { class: "cross", fill: "none", d: `M${x},${top}V${bottom}M${left},${y}H${right}` }),
      make("circle", { class: `here ${palette(curve.color)}`, cx: x, cy: y, r: 5.5 }),
    );
    const lines = reading(this.data, curve, point);
    this.tip.replaceChildren(...lines.map((line) => make("div", {}, line)));
    const { offsetWidth: wide, offsetHeight: high } = this.tip, near = this.host.clientWidth / width;
    const beside = x * near + 14 + wide > this.host.clientWidth ? x * near - wide - 14 : x * near + 14;
    this.tip.style.left = `${clamp(beside, 0, Math.max(0, this.host.clientWidth - wide))}px`;
    this.tip.style.top = `${clamp(y - high - 12, 0, bottom)}px`;
    this.host.setAttribute("aria-valuenow", number(this.data.cdf ? 100 * point.y : point.y, 6));
    this.host.setAttribute("aria-valuetext", lines.join(", "));
  }

  /** The nearest point of all curves to a place on the screen. */
  nearest(px, py) {
    let best = null;
    for (const curve of this.shown()) {
      const point = nearestOn(curve, px, py, this.X, this.Y);
      if (point.distance < (best ? best.point.distance - 0.5 : Infinity)) best = { curve, point };
    }
    return best;
  }

  place(event) {
    const frame = this.svg.getBoundingClientRect(), size = this.box.width / frame.width;
    return [(event.clientX - frame.left) * size, (event.clientY - frame.top) * size];
  }

  listen() {
    let from = null;
    this.host.addEventListener("pointerdown", (event) => { from = this.place(event)[0]; });
    this.host.addEventListener("pointermove", (event) => {
      const [px, py] = this.place(event);
      this.read(this.nearest(px, py));
      if (from !== null && event.buttons) this.drawChosen(from, px);
    });
    this.host.addEventListener("pointerup", (event) => {
      const to = this.place(event)[0];
      if (from !== null && Math.abs(to - from) > 12) this.zoomTo(this.xAt(from), this.xAt(to));
      from = null;
    });
    this.host.addEventListener("pointerleave", () => { from = null; this.read(null); });
    this.host.addEventListener("dblclick", () => this.zoomTo(this.data.x0, this.data.x1));
  }

  drawChosen(a, b) {
    const { top, bottom } = this.box, x = Math.min(a, b), width = Math.abs(a - b);
    this.cursor.append(make("rect", { class: "chosen", x, width, y: top, height: bottom - top }));
  }

  xAt(px) {
    const { left, right } = this.box, [x0, x1] = this.range;
    return x0 + clamp((px - left) / (right - left), 0, 1) * (x1 - x0);
  }

  zoomTo(a, b) {
    const { x0, x1 } = this.data, least = (x1 - x0) / 5000;
    const from = clamp(Math.min(a, b), x0, x1 - least), to = clamp(Math.max(a, b), from + least, x1);
    this.range = [from, to];
    this.draw();
  }

  /** Around what is read off, or the middle. */
  zoomBy(factor) {
    const [x0, x1] = this.range, middle = this.at ? this.at.point.x : (x0 + x1) / 2;
    this.zoomTo(middle - (middle - x0) * factor, middle + (x1 - middle) * factor);
  }
}

/** Circle, square, triangle, diamond: by the place in the palette. */
function marker(color, x, y) {
  const r = 4, shape = (points) => make("polygon", {
    class: "marker", points: points.map(([a, b]) => `${x + a * r},${y + b * r}`).join(" "),
  });
  switch ((color || 0) % 4) {
    case 0: return make("circle", { class: "marker", cx: x, cy: y, r });
    case 1: return shape([[-1, -1], [1, -1], [1, 1], [-1, 1]]);
    case 2: return shape([[0, -1.2], [1.2, 1], [-1.2, 1]]);
    default: return shape([[0, -1.3], [1.3, 0], [0, 1.3], [-1.3, 0]]);
  }
}

