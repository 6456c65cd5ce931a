// The window of the timeline: bars by lane; pointing and arrows read a bar off.

class Timeline {
  constructor(data, live) {
    Object.assign(this, { data, range: [...data.span], at: null });
    this.host = make("div", {
      class: "plot", tabindex: "0", role: "slider", "aria-label": `Read off ${data.title}`, "aria-valuemin": "0",
      "aria-valuemax": String(data.span[1]), "aria-valuenow": "0", "aria-valuetext": "arrow keys read the bars off",
    });
    this.tip = make("div", { class: "tip", hidden: "", "aria-hidden": "true" });
    const button = (text, label, act) => {
      const made = make("button", { type: "button", "aria-label": `${label}: timeline`, title: label }, text);
      made.addEventListener("click", act);
      return made;
    };
    live.replaceChildren(
      make("div", { class: "tools" }, button("+", "Zoom in", () => this.zoomBy(0.5)),
        button("−", "Zoom out", () => this.zoomBy(2)), button("All", "Show all", () => this.zoomBy(Infinity))),
      this.host);
    live.hidden = false;
    this.host.addEventListener("pointermove", (event) => this.point(event));
    this.host.addEventListener("pointerleave", () => this.read(null));
    this.host.addEventListener("keydown", (event) => { if (this.key(event.key)) event.preventDefault(); });
    this.draw();
    onWidth(this.host, () => this.draw());
  }

  draw() {
    const width = Math.max(280, this.host.clientWidth), left = width < 420 ? 84 : 130, right = width - 12, high = 30, top = 8;
    const bottom = top + this.data.lanes.length * high, [from, to] = this.range;
    this.X = (ms) => left + clamp((ms - from) / (to - from), 0, 1) * (right - left);
    Object.assign(this, { left, right, high, top, width });
    const svg = make("svg", { viewBox: `0 0 ${width} ${bottom + 44}`, height: bottom + 44, "aria-hidden": "true" });
    this.data.stalls.filter(([a, b]) => b > from && a < to).forEach(([a, b]) => {
      svg.append(make("rect", { class: "stall", x: this.X(a), width: Math.max(1, this.X(b) - this.X(a)), y: top, height: bottom - top }));
    });
    for (const x of ticks(from, to, width < 420 ? 3 : 8)) {
      svg.append(make("line", { class: "grid", x1: this.X(x), x2: this.X(x), y1: top, y2: bottom }));
      svg.append(make("text", { x: this.X(x), y: bottom + 17, "text-anchor": "middle" }, number(x, 7)));
    }
    svg.append(make("text", { x: (left + right) / 2, y: bottom + 37, "text-anchor": "middle" }, "since the workload's start (ms)"));
    this.data.lanes.forEach((lane, at) => this.drawLane(svg, lane, top + at * high));
    this.svg = svg;
    this.cursor = make("g", {});
    svg.append(this.cursor);
    this.host.replaceChildren(svg, this.tip);
    this.showReading();
  }

  drawLane(svg, lane, y) {
    const name = lane.label.length > 16 ? `${lane.label.slice(0, 15)}…` : lane.label;
    svg.append(make("text", { x: this.left - 8, y: y + 20, "text-anchor": "end" }, name));
    const inside = ([a, b]) => b > this.range[0] && a < this.range[1];
    const bar = (kind, y0, height) => ([a, b]) => make("rect", {
      class: `bar-${kind}`, x: this.X(a).toFixed(1), width: Math.max(0.8, this.X(b) - this.X(a)).toFixed(1), y: y0, height });
    svg.append(...lane.bars.filter(inside).map(bar(lane.group, y + 6, 18)));
    svg.append(...lane.missed.filter(inside).map(bar("missed", y + 6, 18)));
    for (const at of lane.releases.filter((at) => at >= this.range[0] && at <= this.range[1])) {
      const x = this.X(at);
      svg.append(make("path", { class: "release", d: `M${x},${y + 24}V${y + 3}M${x - 3},${y + 8}L${x},${y + 3}L${x + 3},${y + 8}` }));
    }
    svg.append(make("line", { class: "grid", x1: this.left, x2: this.right, y1: y + 30, y2: y + 30 }));
  }

  point(event) {
    const frame = this.svg.getBoundingClientRect(), size = this.width / frame.width;
    const lane = Math.floor(((event.clientY - frame.top) * size - this.top) / this.high), [from, to] = this.range;
    const ms = from + (((event.clientX - frame.left) * size - this.left) / (this.right - this.left)) * (to - from);
    const bars = (this.data.lanes[lane] || { bars: [] }).bars, slack = (to - from) / 150;
    const bar = bars.findIndex(([a, b]) => ms >= a - slack && ms <= b + slack);
    this.read(bar < 0 ? null : { lane, bar });
  }

  key(key) {
    const lanes = this.data.lanes, now = this.at || { lane: 0, bar: -1 };
    const go = (lane, bar) => {
      const at = (lane + lanes.length) % lanes.length;
      this.read(lanes[at].bars.length ? { lane: at, bar: clamp(bar, 0, lanes[at].bars.length - 1) } : { lane: at, bar: -1 });
      return true;
    };
    switch (key) {
      case "ArrowRight": return go(now.lane, now.bar + 1);
      case "ArrowLeft": return go(now.lane, now.bar - 1);
      case "ArrowDown": return go(now.lane + (this.at ? 1 : 0), 0);
      case "ArrowUp": return go(now.lane - 1, 0);
      case "+": case "=": this.zoomBy(0.5); return true;
      case "-": this.zoomBy(2); return true;
      case "0": this.zoomBy(Infinity); return true;
      case "Escape": this.read(null); return true;
      default: return false;
    }
  }

  read(at) {
    this.at = at;
    this.showReading();
  }

  showReading() {
    this.cursor.replaceChildren();
    this.tip.hidden = !this.at;
    if (!this.at) return;
    const lane = this.data.lanes[this.at.lane], bar = lane.bars[this.at.bar];
    const lines = bar
      ? [lane.label, `${number(bar[0], 7)} to ${number(bar[1], 7)} ms`, `for ${number(bar[1] - bar[0])} ms`]
      : [lane.label, "nothing in the window"];
    this.host.setAttribute("aria-valuetext", lines.join(", "));
    if (bar) this.host.setAttribute("aria-valuenow", number(bar[0], 7));
    this.tip.replaceChildren(...lines.map((line) => make("div", {}, line)));
    const y = this.top + this.at.lane * this.high, x = bar ? this.X(bar[0]) : this.left;
    if (bar) {
      this.cursor.append(make("rect", { class: "bar-now", fill: "none", x, y: y + 5, height: 20, width: Math.max(2, this.X(bar[1]) - x) }));
    }
    const most = Math.max(0, this.host.clientWidth - this.tip.offsetWidth);
    this.tip.style.left = `${clamp(x, 0, most)}px`;
    this.tip.style.top = `${y + this.high + 4}px`;
  }

  zoomBy(factor) {
    const [a, b] = this.data.span, [from, to] = this.range, bar = this.at && this.data.lanes[this.at.lane].bars[this.at.bar];
    const middle = bar ? (bar[0] + bar[1]) / 2 : (from + to) / 2, half = Math.min((to - from) * factor, b - a) / 2;
    const start = clamp(middle - half, a, b - 2 * half);
    this.range = [start, start + Math.max(2 * half, 0.01)];
    this.draw();
  }
}

