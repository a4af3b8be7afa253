// Planes of whole numbers, each in the context of those around it: the decoder of taichi_rf/coding/planes.py.

import { octaves } from "./entropy.js";

export const SCALES = 16;
const ACTIVITIES = 16;
const MAGNITUDES = 18;
const LEANS = 6;
const FIRST = SCALES * ACTIVITIES;
export const CONTEXTS = FIRST + 3 * MAGNITUDES * LEANS;
const CAP = 255;
const LATTICES = [[0, 0], [1, 1], [0, 1], [1, 0]]; // first row and column of each

const CLASS = (() => {
  const firsts = octaves(2, 4096);
  const table = new Uint8Array(4096);
  for (let value = 0, kind = 0; value < 4096; value++) {
    while (firsts[kind + 1] <= value) kind++;
    table[value] = kind;
  }
  return table;
})();

function classOf(value, classes) {
  const found = CLASS[value < 4095 ? value : 4095];
  return found < classes ? found : classes - 1;
}

function capped(value) {
  return value > CAP ? CAP : value < -CAP ? -CAP : value;
}

/** What the levels so far have at each place of the planes of one mode. */
export class Activity {
  constructor(rows, columns) {
    this.rows = rows;
    this.columns = columns;
    this.values = new Int32Array(rows * columns);
  }

  /** The class of every other row's every other place, row by row. */
  classes() {
    const { rows, columns, values } = this;
    const found = new Int32Array(Math.ceil(rows / 2) * Math.ceil(columns / 2));
    let out = 0;
    for (let y = 0; y < rows; y += 2) {
      for (let x = 0; x < columns; x += 2) {
        const at = y * columns + x;
        let sum = 2 * values[at];
        if (y > 0) sum += values[at - columns];
        if (y + 1 < rows) sum += values[at + columns];
        if (x > 0) sum += values[at - 1];
        if (x + 1 < columns) sum += values[at + 1];
        found[out++] = classOf(sum >> 2, ACTIVITIES);
      }
    }
    return found;
  }

  /** Planes (n, rows, columns) of the next level. Earlier ones count half of what they did. */
  add(planes, n) {
    const size = this.values.length;
    for (let at = 0; at < size; at++) {
      let sum = this.values[at] >> 1;
      for (let k = 0; k < n; k++) sum += Math.min(Math.abs(planes[k * size + at]), CAP);
      this.values[at] = sum;
    }
  }
}

/** The planes (n, rows, columns) of one level and mode. */
export function decodedPlanes(n, scales, activity, decoder) {
  const { rows, columns } = activity;
  const planes = new Int32Array(n * rows * columns);
  const near = new Int32Array(n * (rows + 2) * (columns + 2)); // the same, capped, with a margin of zeros
  for (let index = 0; index < LATTICES.length; index++) {
    const [row, column] = LATTICES[index];
    const [down, across] = [Math.ceil((rows - row) / 2), Math.ceil((columns - column) / 2)];
    const contexts = new Int32Array(n * down * across);
    const signs = new Int8Array(contexts.length).fill(1);
    if (index === 0) {
      const classes = activity.classes();
      for (let k = 0; k < n; k++) {
        for (let i = 0; i < classes.length; i++) contexts[k * classes.length + i] = scales[k] * ACTIVITIES + classes[i];
      }
    } else {
      neighbours(near, n, activity, index, contexts, signs);
    }
    const numbers = decoder.take(contexts);
    let at = 0;
    for (let k = 0; k < n; k++) {
      for (let y = row; y < rows; y += 2) {
        const line = (k * rows + y) * columns;
        const beside = (k * (rows + 2) + y + 1) * (columns + 2) + 1;
        for (let x = column; x < columns; x += 2, at++) {
          const value = numbers[at] * signs[at];
          planes[line + x] = value;
          near[beside + x] = capped(value);
        }
      }
    }
  }
  activity.add(planes, n);
  return planes;
}

/** Contexts and signs of one lattice after the first, by what lies at the sides and at the corners. */
function neighbours(near, n, { rows, columns }, index, contexts, signs) {
  const [row, column] = LATTICES[index];
  const base = FIRST + (index - 1) * MAGNITUDES * LEANS;
  const sides = index > 1 ? 2 : 0;
  const corners = index === 2 ? 0 : sides ? 1 : 2; // they count double where they are the nearest there is
  const width = columns + 2;
  let at = 0;
  for (let k = 0; k < n; k++) {
    for (let y = row; y < rows; y += 2) {
      const line = (k * (rows + 2) + y + 1) * width + 1;
      for (let x = column; x < columns; x += 2, at++) {
        const here = line + x;
        let lean = 0;
        let size = 0;
        if (sides) {
          const a = near[here - width];
          const b = near[here + width];
          const c = near[here - 1];
          const d = near[here + 1];
          lean = sides * (a + b + c + d);
          size = sides * (Math.abs(a) + Math.abs(b) + Math.abs(c) + Math.abs(d));
        }
        if (corners) {
          const a = near[here - width - 1];
          const b = near[here - width + 1];
          const c = near[here + width - 1];
          const d = near[here + width + 1];
          lean += corners * (a + b + c + d);
          size += corners * (Math.abs(a) + Math.abs(b) + Math.abs(c) + Math.abs(d));
        }
        contexts[at] = base + classOf(size, MAGNITUDES) * LEANS + classOf(Math.abs(lean) >> 2, LEANS);
        if (lean < 0) signs[at] = -1;
      }
    }
  }
}
