// Sizes and decibels as text, and the plot of one against the other.

/** Three figures and a unit, such as "3.25 MB", in multiples of 1000 bytes. */
export function megabytes(size) {
  if (size < 1e5) return `${(size / 1e3).toFixed(1)} kB`;
  return `${(size / 1e6).toFixed(size < 1e7 ? 2 : 1)} MB`;
}

/** "29.46 dB", "≈ 28.8 dB" for an estimate, "" where nobody knows. */
export function decibelText(found) {
  if (!found) return "";
  return found.measured ? `${found.value.toFixed(2)} dB` : `≈ ${found.value.toFixed(1)} dB`;
}

const [WIDTH, HEIGHT] = [300, 176];
const EDGE = { left: 40, right: 16, top: 18, bottom: 30 };

function element(name, attributes, text = "") {
  const made = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.textContent = text;
  return made;
}

/** Round numbers, three or four of them, within low to high. */
function ticks(low, high) {
  const rough = (high - low) / 3;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((n) => n * power).find((n) => n >= rough);
  const found = [];
  for (let n = Math.ceil(low / step) * step; n <= high + step / 1e6; n += step) found.push(Number(n.toPrecision(6)));
  return found;
}

/** The rate-distortion plot: a dot a level, which sets that level when it is pressed. */
export class Plot {
  /**
   * @param svg to draw in.
   * @param points [{level, size, decibels}], of which all have decibels.
   * @param chosen called with a level.
   */
  constructor(svg, name, points, chosen) {
    this.dots = new Map();
    svg.setAttribute("viewBox", `0 0 ${WIDTH} ${HEIGHT}`);
    svg.replaceChildren();
    const sizes = points.map((p) => p.size / 1e6);
    const values = points.map((p) => p.decibels.value);
    const [least, most] = [Math.min(...values), Math.max(...values)];
    const pad = Math.max(0.12 * (most - least), 0.2);
    const x = (size) => EDGE.left + (size / Math.max(...sizes)) * (WIDTH - EDGE.left - EDGE.right);
    const y = (value) => HEIGHT - EDGE.bottom - ((value - least + pad) / (most - least + 2 * pad)) * (HEIGHT - EDGE.top - EDGE.bottom);
    for (const value of ticks(least - pad, most + pad)) {
      svg.append(element("line", { class: "grid", x1: EDGE.left, x2: WIDTH - EDGE.right, y1: y(value), y2: y(value) }));
      svg.append(element("text", { class: "tick", x: EDGE.left - 7, y: y(value) + 4, "text-anchor": "end" }, `${value}`));
    }
    for (const size of ticks(0, Math.max(...sizes))) {
      svg.append(element("text", { class: "tick", x: x(size), y: HEIGHT - 12, "text-anchor": "middle" }, `${size}`));
    }
    svg.append(element("text", { class: "axis", x: 4, y: 12 }, "dB"));
    svg.append(element("text", { class: "axis", x: WIDTH - 2, y: HEIGHT - 1, "text-anchor": "end" }, "MB"));
    const line = points.map((p, i) => `${x(sizes[i]).toFixed(1)},${y(values[i]).toFixed(1)}`).join(" ");
    svg.append(element("polyline", { class: "curve", points: line }));
    points.forEach((point, i) => {
      const dot = element("circle", { class: "dot", cx: x(sizes[i]), cy: y(values[i]), r: 3.5 });
      const area = element("circle", { class: "area", cx: x(sizes[i]), cy: y(values[i]), r: 10 });
      area.append(element("title", {}, `${name} ${point.level}: ${megabytes(point.size)}, ${decibelText(point.decibels)}`));
      area.addEventListener("click", () => chosen(point.level));
      svg.append(dot, area);
      this.dots.set(point.level, dot);
    });
  }

  /** Mark one level, and that on the other side of the line if there is one. */
  mark(level, other) {
    for (const [own, dot] of this.dots) {
      dot.setAttribute("class", own === level ? "dot now" : own === other ? "dot other" : "dot");
      dot.setAttribute("r", own === level || own === other ? 6 : 3.5);
    }
  }
}
