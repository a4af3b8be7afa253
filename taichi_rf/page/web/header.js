// The header of a model, every entry that is relied on checked: the twin of `checked` in
// taichi_rf/storage/model_file.py, for what this page can show.

import { Refused } from "./bytes.js";

const MAX_RANKS = 64;
const MAX_NODES = 1024;
const MAX_NUMBERS = 2 ** 26;
const MAX_STEPS = 8192;
const MAX_VERTICES = 2 ** 24;
const MAX_LODS = 5;
const MAX_DEPTH = 9;

function wrong(key, expected) {
  return new Refused(`the header's '${key}' should be ${expected}`);
}

function isNumber(value, low, high) {
  return typeof value === "number" && value >= low && value <= high;
}

function isWhole(value, low, high) {
  return Number.isInteger(value) && isNumber(value, low, high);
}

function areAll(values, count, test) {
  return Array.isArray(values) && values.length === count && values.every(test);
}

/** Throws Refused where the header describes no model that this page can show. */
export function checkHeader(header, levels) {
  const { field, decoder } = header;
  if (typeof field !== "object" || field === null) throw wrong("field", "an object");
  if (field.kind === "vm") checkTensor(field, levels);
  else if (field.kind === "octree") checkOctree(field, levels);
  else throw wrong("field.kind", "vm or octree");
  const decoders = field.kind === "vm" ? ["sh", "mlp"] : ["small", "none"];
  if (!decoders.includes(decoder)) throw wrong("decoder", `one of ${decoders.join(", ")}`);
  if (!["half", "compact", undefined].includes(header.decoder_coding)) throw wrong("decoder_coding", "half or compact");
  const corner = (values) => areAll(values, 3, (n) => isNumber(n, -1e6, 1e6));
  const { box } = header;
  if (!areAll(box, 2, corner) || box[0].some((low, a) => !(box[1][a] - low > 1e-6))) {
    throw wrong("box", "two corners of three numbers, the first below the second");
  }
  if (!isNumber(header.near, 0, 1e6) || !isNumber(header.far, 1e-6, 1e7) || !(header.near < header.far)) {
    throw wrong("near/far", "numbers of 0 or more, one below the other");
  }
  if (!areAll(header.background, 3, (n) => isNumber(n, 0, 1))) throw wrong("background", "three numbers from 0 to 1");
  if (!isNumber(header.step_ratio, 0.05, 16) || !isNumber(header.distance_scale, 1e-3, 1e4)) {
    throw wrong("step_ratio/distance_scale", "positive numbers");
  }
  if (!isNumber(header.weight_threshold, 0, 1)) throw wrong("weight_threshold", "a number from 0 to 1");
  const solid = header.render === "surface";
  if (!["surface", "volume", undefined].includes(header.render)) throw wrong("render", "volume or surface");
  if (solid !== (decoder === "none") || solid !== (field.activation === "none")) {
    throw wrong("render", "'surface' for a field of distances without a decoder, and for no other");
  }
  checkSpace(header.space, solid, box);
  const diagonal = Math.hypot(...box[1].map((high, a) => high - box[0][a]));
  if (diagonal / stepSize(header) > MAX_STEPS) {
    throw wrong("step_ratio", `such that a ray takes ${MAX_STEPS} steps at most`);
  }
}

function checkTensor(field, levels) {
  if (!isWhole(field.num_levels, levels, MAX_RANKS)) throw wrong("field.num_levels", `${levels} to ${MAX_RANKS}`);
  if (!areAll(field.resolution, 3, (n) => isWhole(n, 2, MAX_NODES))) {
    throw wrong("field.resolution", `three whole numbers from 2 to ${MAX_NODES}`);
  }
  if (!["softplus", "relu"].includes(field.activation)) throw wrong("field.activation", "softplus or relu");
  if (!isNumber(field.density_shift, -100, 100)) throw wrong("field.density_shift", "a number from -100 to 100");
  if (!["half", "compact", undefined].includes(field.coding)) throw wrong("field.coding", "half or compact");
  const [nx, ny, nz] = field.resolution;
  const numbers = levels * 4 * (nx * ny + nx * nz + ny * nz + nx + ny + nz);
  if (field.coding === "compact" && numbers > MAX_NUMBERS) throw wrong("field.resolution", "smaller");
}

function checkOctree(field, levels) {
  const { num_levels: count, base_depth: base } = field;
  if (!isWhole(count, Math.max(1, levels), MAX_LODS)) throw wrong("field.num_levels", `${levels} to ${MAX_LODS}`);
  if (!isWhole(base, 2, 7)) throw wrong("field.base_depth", "a whole number from 2 to 7");
  if (!isWhole(field.finest_depth, base + count - 1, Math.min(MAX_DEPTH, base + MAX_LODS - 1))) {
    throw wrong("field.finest_depth", `a whole number from ${base + count - 1} to ${MAX_DEPTH}`);
  }
  for (const key of ["cells", "vertices"]) {
    if (!areAll(field[key], count, (n) => isWhole(n, 1, MAX_VERTICES))) {
      throw wrong(`field.${key}`, `${count} whole numbers from 1 to ${MAX_VERTICES}`);
    }
  }
  if (field.vertices.slice(0, levels).reduce((a, b) => a + b, 0) > MAX_VERTICES) {
    throw wrong("field.vertices", `at most ${MAX_VERTICES} in all`);
  }
  field.cells.forEach((cells, i) => {
    const most = i ? field.cells[i - 1] * 8 : 8 ** base;
    if (cells > most || cells >= field.vertices[i] || field.vertices[i] > 8 * cells) {
      throw wrong("field.cells", "numbers of cells that an octree can have, with one to eight vertices each");
    }
  });
  if (!["softplus", "none"].includes(field.activation)) throw wrong("field.activation", "softplus or none");
  if (!isNumber(field.density_shift, -100, 100)) throw wrong("field.density_shift", "a number from -100 to 100");
  const most = { learned: 8, kmeans: 8, hash: 14, lowrank: 0, none: 0 }[field.codes];
  if (most === undefined) throw wrong("field.codes", "learned, kmeans, hash, lowrank or none");
  if (most && !isWhole(field.bits, 1, most)) throw wrong("field.bits", `a whole number from 1 to ${most}`);
  if (field.codes === "lowrank" && !isWhole(field.rank, 1, 15)) throw wrong("field.rank", "a whole number from 1 to 15");
}

function checkSpace(space, solid, box) {
  if (space === undefined || space?.kind === "box") return;
  if (!["contract", "ndc"].includes(space?.kind)) throw wrong("space", "one of the kinds box, contract, ndc");
  if (solid) throw wrong("space", "none, for a solid lies in a box");
  if (space.kind === "contract" && (box[0].some((n) => n !== -2) || box[1].some((n) => n !== 2))) {
    throw wrong("box", "that of a contraction, -2 to 2 along each axis");
  }
  if (space.kind === "ndc" && !areAll(space.focal, 2, (n) => isNumber(n, 1e-2, 1e2))) {
    throw wrong("space.focal", "two numbers from 0.01 to 100");
  }
}

/** Nodes along x, y and z of the grid by which steps along a ray go. */
export function stepNodes(field) {
  if (field.kind === "vm") return field.resolution;
  const side = 2 ** field.finest_depth + 1;
  return [side, side, side];
}

/** Distance between samples, in units of the box. */
export function stepSize({ field, box, step_ratio: ratio }) {
  const spacing = stepNodes(field).map((n, a) => (box[1][a] - box[0][a]) / (n - 1));
  return (ratio * (spacing[0] + spacing[1] + spacing[2])) / 3;
}

/** What a level is called. */
export function levelName(field) {
  return field.kind === "vm" ? "rank" : "LOD";
}

/** PSNR of a level as the file says it: {value, measured}, or null. See taichi_rf/storage/quality.py. */
export function decibels(header, level) {
  const metadata = header.metadata ?? {};
  const stated = (name) => {
    const value = Array.isArray(metadata[name]) ? metadata[name][level - 1] : undefined;
    return typeof value === "number" && Math.abs(value) <= 100 ? value : null;
  };
  const found = stated("level_psnr");
  if (found === null) return null;
  const coded = header.decoder_coding === "compact" || header.field.coding === "compact";
  if (!coded && !Object.hasOwn(metadata, "coding_loss")) return { value: found, measured: true };
  return { value: found - Math.max(stated("coding_loss") ?? 0, 0), measured: false };
}
