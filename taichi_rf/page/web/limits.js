// What the graphics of a device, and a page, can take of a model: asked before memory is taken, and of all its levels.

import { Refused } from "./bytes.js";
import { NODES } from "./bricks.js";
import { megabytes } from "./figures.js";

export const MAX_BYTES = 2 ** 30; // of graphics memory for one level, and of the page's own for all of them
export const VERTEX_ROW = 512; // an octree's vertices side by side in the texture of their numbers
export const BASIS_ROWS = 63; // vec4 of a rank: three modes, three components, 28 numbers each
export const BRICK_BYTES = 16; // of a brick in the table

/** A model, or a level of one, is well, but too large for this device. */
export class TooLarge extends Refused {}

/** What the graphics take at most. */
export function limitsOf(gl) {
  return {
    side: gl.getParameter(gl.MAX_TEXTURE_SIZE),
    side3: gl.getParameter(gl.MAX_3D_TEXTURE_SIZE),
    layers: gl.getParameter(gl.MAX_ARRAY_TEXTURE_LAYERS),
    block: gl.getParameter(gl.MAX_UNIFORM_BLOCK_SIZE),
  };
}

/**
 * How many of a model's first `count` levels can be shown, as far as its header tells: {levels, why}, where `why` says
 * what the next one lacks, and is "" if there is none.
 *
 * @param header a checked one.
 */
export function fitting(limits, header, count) {
  const { field } = header;
  const lacks = field.kind === "vm" ? tensorLacks : octreeLacks;
  for (let level = 1; level <= count; level++) {
    const why = lacks(limits, field, level);
    if (why) return { levels: level - 1, why };
  }
  return { levels: count, why: "" };
}

/** What a device lacks for the first `ranks` ranks of a tensor; "" where it has all. */
function tensorLacks({ side, side3, layers, block }, { resolution: [nx, ny, nz] }, ranks) {
  const table = [nx, ny, nz].map((n) => bricksAlong(n - 1));
  return (
    tooLong(Math.max(nx, ny, nz), side) || tooLong(Math.max(...table), side3) || tooLong(ranks, layers) ||
    tooMuch(16 * BASIS_ROWS * ranks, block, "for constants, its graphics have") ||
    tooMuch(8 * ranks * (nx * ny + nx * nz + ny * nz) + BRICK_BYTES * table[0] * table[1] * table[2])
  );
}

/** Likewise for an octree up to level of detail `level`. What is kept while it is read counts, too. */
function octreeLacks({ side, side3 }, { base_depth: base, cells, vertices }, level) {
  const [rows, bricks] = [Math.ceil(vertices[level - 1] / VERTEX_ROW), bricksAlong(2 ** (base + level - 1))];
  let kept = BRICK_BYTES * bricks ** 3 + 64 * cells[level - 1];
  for (let below = 0; below < level; below++) kept += 64 * vertices[below] + 36 * cells[below];
  return (
    tooLong(Math.max(4 * VERTEX_ROW, rows), side) || tooLong(bricks, side3) || tooMuch(kept)
  );
}

function bricksAlong(cells) {
  return Math.ceil(cells / (NODES - 1));
}

function tooLong(texels, most) {
  return texels > most ? `a texture would be ${texels} texels long, its graphics allow ${most}` : "";
}

function tooMuch(bytes, most = MAX_BYTES, of = "of memory, a page takes at most") {
  return bytes > most ? `it takes ${megabytes(bytes)} ${of} ${megabytes(most)}` : "";
}

/**
 * Slots along x, y and z of an atlas of `count` bricks. Throws TooLarge where the graphics have no room for so many.
 *
 * @param bytes that each texel takes, all textures together.
 */
export function atlasOf(limits, count, bytes) {
  const most = Math.floor(limits.side3 / NODES);
  const x = Math.min(most, Math.max(1, Math.ceil(Math.cbrt(count))));
  const y = Math.min(most, Math.max(1, Math.ceil(Math.sqrt(count / x))));
  const z = Math.max(1, Math.ceil(count / (x * y)));
  const why = tooLong(z * NODES, limits.side3) || tooMuch(bytes * x * y * z * NODES ** 3);
  if (why) throw new TooLarge(why);
  return [x, y, z];
}
