// A figure: its panels and the switches for tasks, cases, and samples.

const PLAIN = "";

class Figure {
  constructor(data, live) {
    Object.assign(this, { data, off: { task: new Set(), case: new Set(), kind: new Set() }, boundsOn: true });
    this.panels = data.panels.map((panel, at) => new Panel(panel, this, at));
    const hosts = make("div", { class: "panels" }, ...this.panels.map((panel) => panel.host));
    const hint = "Point at a curve to read it off; drag sideways to zoom. By keyboard: arrows; + − 0 zoom.";
    live.replaceChildren(this.switches(), this.tools(), hosts, make("p", { class: "hint" }, hint));
    live.hidden = false;
    this.draw();
    onWidth(hosts, () => this.draw());
  }

  isOn(curve) {
    return !this.off.task.has(curve.task) && !this.off.case.has(curve.case) && !this.off.kind.has(curve.kind || PLAIN);
  }

  draw() {
    this.panels.forEach((panel) => panel.draw());
  }

  /** One for each task, case and kind that tells curves apart. */
  switches() {
    const set = make("fieldset", { class: "switches" }, make("legend", {}, "Shown"));
    const curves = this.panels.flatMap((panel) => panel.curves);
    for (const key of ["task", "case", "kind"]) {
      const names = [...new Set(curves.map((curve) => curve[key]).filter(Boolean))];
      if (key !== "kind" && names.length < 2) continue;
      for (const name of names) {
        set.append(this.check(name, sample(curves.filter((curve) => curve[key] === name), key), (on) => {
          this.off[key][on ? "delete" : "add"](name);
        }));
      }
    }
    const bounded = this.data.panels.find((panel) => panel.bounds.length);
    if (bounded) {
      const line = swatch(make("line", { class: "bound", x1: 0, x2: 30, y1: 6, y2: 6 }), "kn");
      set.append(this.check(bounded.bounds_label, line, (on) => { this.boundsOn = on; }));
    }
    return set;
  }

  check(name, picture, change) {
    const box = make("input", { type: "checkbox", checked: "" });
    box.addEventListener("change", () => { change(box.checked); this.draw(); });
    return make("label", {}, box, picture, name);
  }

  tools() {
    const each = (act) => () => this.panels.forEach(act);
    const button = (text, label, act) => {
      const made = make("button", { type: "button", "aria-label": `${label}: ${this.data.title}`, title: label }, text);
      made.addEventListener("click", act);
      return made;
    };
    const row = make("div", { class: "tools" },
      button("+", "Zoom in", each((panel) => panel.zoomBy(0.5))),
      button("−", "Zoom out", each((panel) => panel.zoomBy(2))),
      button("All", "Show all", each((panel) => panel.zoomTo(panel.data.x0, panel.data.x1))));
    if (this.data.panels.some((panel) => panel.cdf)) {
      const tail = button("Tail", "Far percentiles, on a logarithmic axis", () => {
        const on = tail.getAttribute("aria-pressed") !== "true";
        tail.setAttribute("aria-pressed", String(on));
        this.panels.forEach((panel) => { panel.tail = on && panel.data.cdf; panel.draw(); });
      });
      tail.setAttribute("aria-pressed", "false");
      row.append(tail);
    }
    return row;
  }
}

function swatch(line, colour) {
  return make("svg", { viewBox: "0 0 30 12", "aria-hidden": "true", class: colour }, line);
}

/** What the curves of a switch have in common: colour, or kind of line. */
function sample(curves, key) {
  const colours = new Set(curves.map((curve) => palette(curve.color)));
  const strokes = new Set(curves.filter((curve) => key === "kind" || !curve.kind).map((curve) => curve.stroke));
  const stroke = strokes.size === 1 ? [...strokes][0] : "solid";
  const colour = colours.size === 1 ? [...colours][0] : "kn";
  if (stroke === "dots") return swatch(make("circle", { class: "dot", cx: 15, cy: 6, r: 4 }), colour);
  const made = swatch(make("path", { class: `curve ${stroke}`, d: "M0,6H30" }), colour);
  const marked = colours.size === 1 && stroke !== "dashed" && stroke !== "simulated";
  if (marked) made.append(marker(curves[0].color, 15, 6));
  return made;
}

