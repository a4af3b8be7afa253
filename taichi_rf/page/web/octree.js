// An octree field (VQAD, Takikawa et al. 2022) as its file holds it: cells, the vertices at their corners, and sixteen
// numbers a vertex, which levels of detail add up to.

import { Refused } from "./bytes.js";
import { Bricks, NODES } from "./bricks.js";

const CHANNELS = 16;
const AXES = [0x09249249, 0x12492492, 0x24924924]; // the bits of a Morton code that belong to x, y and z
const PRIMES = [1, 2654435761, 805459861];

function aligned(bits) {
  return 2 ** Math.ceil(Math.log2(bits));
}

/** What the chunk of a level (1, 2, ...) holds of the field. */
export function octreeSchema(field, level) {
  const tree = { tree: ["u1", [level === 1 ? 8 ** field.base_depth / 8 : field.cells[level - 2]]] };
  const vertices = field.vertices[level - 1];
  const book = { codebook: ["f2", [2 ** field.bits, CHANNELS]] };
  switch (field.codes) {
    case "none":
      return { ...tree, features: ["f2", [vertices, CHANNELS]] };
    case "lowrank":
      return { ...tree, factors: ["f2", [vertices, field.rank]], matrix: ["f2", [field.rank, CHANNELS]] };
    case "hash":
      return { ...tree, ...book };
    default:
      return { ...tree, ...book, indices: ["u1", [Math.ceil((vertices * aligned(field.bits)) / 8)]] };
  }
}

function compact(code) {
  let bits = code & AXES[0];
  bits = (bits | (bits >>> 2)) & 0x030c30c3;
  bits = (bits | (bits >>> 4)) & 0x0300f00f;
  bits = (bits | (bits >>> 8)) & 0x030000ff;
  return (bits | (bits >>> 16)) & 0x3ff;
}

/** x, y and z of a Morton code. */
function coordinates(code) {
  return [compact(code), compact(code >>> 1), compact(code >>> 2)];
}

/** The next place along an axis: the other axes' bits are set, so that a carry runs through them. */
function after(code, axis) {
  const mask = AXES[axis];
  return ((((code | ~mask) + 1) & mask) | (code & ~mask)) >>> 0;
}

/** Cells of one depth: codes of cells and of vertices, ascending, and of each cell its eight corners' indices. */
class Layer {
  constructor(cells, depth) {
    this.cells = cells;
    this.depth = depth;
    const codes = new Uint32Array(8 * cells.length);
    for (let i = 0; i < cells.length; i++) {
      codes[8 * i] = cells[i];
      for (let axis = 0, known = 1; axis < 3; axis++, known *= 2) {
        for (let c = 0; c < known; c++) codes[8 * i + known + c] = after(codes[8 * i + c], axis);
      }
    }
    const sorted = codes.slice().sort();
    let count = 0;
    for (let i = 0; i < sorted.length; i++) if (i === 0 || sorted[i] !== sorted[i - 1]) sorted[count++] = sorted[i];
    this.vertices = sorted.slice(0, count);
    this.corners = new Uint32Array(codes.length);
    for (let i = 0; i < codes.length; i++) this.corners[i] = this.find(codes[i]);
  }

  /** The index of a vertex, by bisection. */
  find(code) {
    let low = 0;
    let high = this.vertices.length - 1;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.vertices[middle] < code) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}

/** Reads level after level. */
export class Octree {
  constructor(field) {
    this.field = field;
    this.layers = [];
    this.totals = []; // of each level, what its vertices have with all levels below added
  }

  /** Take the arrays of the next level. */
  add(arrays) {
    const { field, layers } = this;
    const level = layers.length + 1;
    const before = layers[level - 2];
    const bits = arrays.tree;
    const told = field.cells[level - 1];
    let count = 0;
    for (let i = 0; i < bits.length; i++) {
      if (before && !bits[i]) throw new Refused(`octree, level ${level}: cell ${i} of the level before has no child`);
      for (let byte = bits[i]; byte; byte &= byte - 1) count++;
    }
    if (count !== told) throw new Refused(`octree, level ${level}: its bits stand for ${count} cells, not ${told}`);
    const cells = new Uint32Array(count);
    const parents = new Uint32Array(count);
    let out = 0;
    for (let i = 0; i < bits.length; i++) {
      for (let bit = 0; bit < 8; bit++) {
        if (!((bits[i] >> bit) & 1)) continue;
        cells[out] = (before ? before.cells[i] : i) * 8 + bit;
        parents[out++] = i;
      }
    }
    const layer = new Layer(cells, field.base_depth + level - 1);
    const vertices = layer.vertices.length;
    if (vertices !== field.vertices[level - 1]) {
      throw new Refused(`octree, level ${level}: ${vertices} vertices, but ${field.vertices[level - 1]} are told of`);
    }
    const totals = this.features(arrays, layer);
    if (before) this.prolong(layer, parents, totals, before, this.totals[level - 2]);
    layers.push(layer);
    this.totals.push(totals);
  }

  /** Sixteen numbers a vertex that a level adds. */
  features(arrays, layer) {
    const { codes, bits, rank } = this.field;
    const count = layer.vertices.length;
    if (codes === "none") return arrays.features.slice();
    const rows = new Float32Array(CHANNELS * count);
    if (codes === "lowrank") {
      for (let v = 0; v < count; v++) {
        for (let k = 0; k < CHANNELS; k++) {
          let sum = 0;
          for (let j = 0; j < rank; j++) sum += arrays.factors[v * rank + j] * arrays.matrix[j * CHANNELS + k];
          rows[v * CHANNELS + k] = sum;
        }
      }
      return rows;
    }
    const width = codes === "hash" ? 0 : aligned(bits);
    for (let v = 0; v < count; v++) {
      const row = width ? packed(arrays.indices, v, width) : hashed(layer.vertices[v], bits);
      if (row >= 2 ** bits) throw new Refused(`a number of ${bits} bits cannot be ${row}`);
      rows.set(arrays.codebook.subarray(row * CHANNELS, (row + 1) * CHANNELS), v * CHANNELS);
    }
    return rows;
  }

  /** Add to `totals` what the level before has at the layer's vertices: trilinear in each cell's parent. */
  prolong(layer, parents, totals, before, above) {
    const done = new Uint8Array(layer.vertices.length);
    for (let i = 0; i < layer.cells.length; i++) {
      const octant = layer.cells[i] & 7;
      for (let c = 0; c < 8; c++) {
        const vertex = layer.corners[8 * i + c];
        if (done[vertex]) continue;
        done[vertex] = 1;
        for (let p = 0; p < 8; p++) {
          let weight = 1;
          for (let axis = 0; axis < 3; axis++) {
            const place = (((octant >> axis) & 1) + ((c >> axis) & 1)) / 2;
            weight *= (p >> axis) & 1 ? place : 1 - place;
          }
          if (!weight) continue;
          const from = before.corners[8 * parents[i] + p] * CHANNELS;
          for (let k = 0; k < CHANNELS; k++) totals[vertex * CHANNELS + k] += weight * above[from + k];
        }
      }
    }
  }

  /** How many bricks a level's cells are in: those of one follow each other. */
  bricks(level) {
    const { cells } = this.layers[level - 1];
    let count = 0;
    for (let i = 0; i < cells.length; i++) if (i === 0 || cells[i] >>> 6 !== cells[i - 1] >>> 6) count++;
    return count;
  }

  /** Bricks of a level's cells, the vertex of every node in the atlas, and the numbers of the vertices. */
  placed(level, room) {
    const layer = this.layers[level - 1];
    const side = 2 ** layer.depth;
    const bricks = new Bricks([side, side, side]);
    const owner = new Uint32Array(layer.cells.length);
    for (let i = 0; i < owner.length; i++) owner[i] = bricks.mark(...coordinates(layer.cells[i]));
    bricks.finish(room);
    const [ax, ay, az] = bricks.atlas.map((n) => n * NODES);
    const nodes = new Uint32Array(ax * ay * az);
    for (let i = 0; i < owner.length; i++) {
      const slot = bricks.table[4 * owner[i]];
      const [x, y, z] = coordinates(layer.cells[i]);
      const begin = [slot & 1023, (slot >>> 10) & 1023, (slot >>> 20) & 1023].map((n) => n * NODES);
      const at = ((begin[2] + (z & 3)) * ay + begin[1] + (y & 3)) * ax + begin[0] + (x & 3);
      for (let c = 0; c < 8; c++) {
        nodes[at + (c & 1) + (((c >> 1) & 1) + (c >> 2) * ay) * ax] = layer.corners[8 * i + c];
      }
    }
    return { bricks, nodes, totals: this.totals[level - 1] };
  }
}

/** Number v of a stream of numbers of `width` bits, lowest bit first; the width divides a byte or is two. */
function packed(stream, v, width) {
  if (width === 16) return stream[2 * v] | (stream[2 * v + 1] << 8);
  const bit = v * width;
  return (stream[bit >> 3] >> (bit & 7)) & (2 ** width - 1);
}

/** The row of a vertex by its place (instant-ngp's hash): modulo 2^bits only low bits count. */
function hashed(code, bits) {
  const [x, y, z] = coordinates(code);
  return (Math.imul(x, PRIMES[0]) ^ Math.imul(y, PRIMES[1] | 0) ^ Math.imul(z, PRIMES[2])) & (2 ** bits - 1);
}
