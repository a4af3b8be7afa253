// A field at one level as textures that a ray can read: its values at the nodes of occupied bricks, in half precision.

import bakeSource from "./bake.glsl";
import { Refused } from "./bytes.js";
import { NODES, bricksOfBits } from "./bricks.js";
import { program, quad, texture, use } from "./gl.js";
import { BASIS_ROWS, MAX_BYTES, VERTEX_ROW, atlasOf } from "./limits.js";
import { FEATURES } from "./tensor.js";

const INDEX_BYTES = 4; // of a texel's vertex, while an octree is baked

/** Bytes that a texel of an atlas takes with so many textures of features. */
function texelBytes(features) {
  return 2 + 8 * features;
}

/** Textures of a field at one level. Throws TooLarge where the graphics have not the memory for them. */
class Baked {
  constructor(gl, bricks, features) {
    this.gl = gl;
    this.bricks = bricks;
    this.size = bricks.atlas.map((n) => n * NODES);
    this.texels = this.size[0] * this.size[1] * this.size[2];
    this.large = texelBytes(features) * this.texels > MAX_BYTES;
    this.count = features;
    this.features = []; // made when they are wanted
    this.filled = 0; // slices of them that are done, one pass after the other
    this.frame = gl.createFramebuffer();
    this.level = 0;
    try {
      this.makeTextures(gl, bricks);
    } catch (error) {
      this.free();
      throw error;
    }
  }

  makeTextures(gl, bricks) {
    const [ax, ay, az] = bricks.atlas;
    this.table = texture(gl, gl.TEXTURE_3D, gl.RGBA32UI, bricks.size, {
      data: bricks.table, layout: [gl.RGBA_INTEGER, gl.UNSIGNED_INT],
    });
    this.density = texture(gl, gl.TEXTURE_3D, gl.R16F, this.size, { linear: true });
    this.owners = texture(gl, gl.TEXTURE_2D, gl.R32UI, [ax, ay * az], {
      data: bricks.owners, layout: [gl.RED_INTEGER, gl.UNSIGNED_INT],
    });
  }

  /** Graphics memory that is taken. */
  get bytes() {
    return texelBytes(this.features.length) * this.texels;
  }

  makeFeatures() {
    const { gl } = this;
    while (this.features.length < this.count) {
      this.features.push(texture(gl, gl.TEXTURE_3D, gl.RGBA16F, this.size, { linear: true }));
    }
  }

  /** Do without them: they are looked up in planes and lines. */
  dropFeatures() {
    for (const made of this.features) this.gl.deleteTexture(made.texture);
    this.features = [];
    this.filled = 0;
    this.ready = false;
  }

  /** Fill slices first to before last of the textures in `targets`. */
  fill(targets, shader, values, first = 0, last = this.size[2]) {
    const { gl, size } = this;
    gl.bindFramebuffer(gl.FRAMEBUFFER, this.frame);
    gl.viewport(0, 0, size[0], size[1]);
    gl.disable(gl.SCISSOR_TEST);
    use(gl, shader, { owners: this.owners, atlas: this.bricks.atlas, slice: 0, ...values });
    gl.drawBuffers(targets.map((_, k) => gl.COLOR_ATTACHMENT0 + k));
    for (let slice = first; slice < last; slice++) {
      targets.forEach((target, k) =>
        gl.framebufferTextureLayer(gl.FRAMEBUFFER, gl.COLOR_ATTACHMENT0 + k, target.texture, 0, slice));
      gl.uniform1i(shader.places.slice.place, slice);
      quad(gl);
    }
    targets.forEach((_, k) => gl.framebufferTextureLayer(gl.FRAMEBUFFER, gl.COLOR_ATTACHMENT0 + k, null, 0, 0));
    gl.bindFramebuffer(gl.FRAMEBUFFER, null);
  }

  free() {
    const { gl } = this;
    for (const made of [this.table, this.density, this.owners, ...this.features]) gl.deleteTexture(made?.texture ?? null);
    gl.deleteFramebuffer(this.frame);
  }
}

/** Throws Refused where nothing can be drawn into textures of half precision. */
export function checkGraphics(gl) {
  if (!gl.getExtension("EXT_color_buffer_float") && !gl.getExtension("EXT_color_buffer_half_float")) {
    throw new Refused("the graphics of this browser cannot draw in half precision");
  }
}

/** Bakes a tensor, whose ranks come one after the other. */
export class TensorBaker {
  /**
   * @param limits of limits.js.
   * @param ranks as many as there may be.
   * @param occupancy the bits of the base chunk. Throws TooLarge.
   */
  constructor(gl, limits, field, ranks, occupancy) {
    this.gl = gl;
    this.field = field;
    this.nodes = field.resolution;
    this.bricks = bricksOfBits(this.nodes.map((n) => n - 1), occupancy, (count) => atlasOf(limits, count, texelBytes(0)));
    const [nx, ny, nz] = this.nodes;
    const layers = (size) => texture(gl, gl.TEXTURE_2D_ARRAY, gl.RGBA16F, [...size, ranks], { linear: true });
    this.planes = [[nx, ny], [nx, nz], [ny, nz]].map(layers);
    this.lines = layers([Math.max(nx, ny, nz), 3]);
    const size = BASIS_ROWS * ranks * 16;
    this.basis = gl.createBuffer();
    gl.bindBuffer(gl.UNIFORM_BUFFER, this.basis);
    gl.bufferData(gl.UNIFORM_BUFFER, size, gl.STATIC_DRAW);
    this.ranks = ranks;
    this.shaders = [];
    this.shader(0);
  }

  /** The shader of a part: 0 density, 1 and 2 features. Begins to compile it where that has not been done. */
  shader(part) {
    return (this.shaders[part] ??= program(this.gl, bakeSource, { FIELD: 0, PART: part, BASIS: BASIS_ROWS * this.ranks }));
  }

  /** Begin to compile what the first picture does without. */
  rest() {
    for (const part of [1, 2]) this.shader(part);
  }

  /** Take rank `level` (1, 2, ...): factors (4, texels) and basis (3, 3, 27). */
  put(level, factors, basis) {
    const { gl, nodes: [nx, ny, nz] } = this;
    const unit = factors.length / 4;
    const rows = (begin, width, height) => {
      const data = new Float32Array(4 * width * height);
      for (let k = 0; k < 4; k++) {
        for (let i = 0; i < width * height; i++) data[4 * i + k] = factors[k * unit + begin + i];
      }
      return data;
    };
    let begin = 0;
    const upload = (target, y, width, height) => {
      gl.bindTexture(target.target, target.texture);
      gl.texSubImage3D(target.target, 0, 0, y, level - 1, width, height, 1, gl.RGBA, gl.FLOAT, rows(begin, width, height));
      begin += width * height;
    };
    this.planes.forEach((target) => upload(target, 0, target.size[0], target.size[1]));
    [nz, ny, nx].forEach((length, row) => upload(this.lines, row, length, 1));
    const padded = new Float32Array(4 * BASIS_ROWS);
    for (let row = 0; row < 9; row++) padded.set(basis.subarray(FEATURES * row, FEATURES * (row + 1)), 28 * row);
    gl.bindBuffer(gl.UNIFORM_BUFFER, this.basis);
    gl.bufferSubData(gl.UNIFORM_BUFFER, 16 * BASIS_ROWS * (level - 1), padded);
  }

  /** What both shaders read planes, lines and basis by; the buffer is bound. */
  factors(shader, level) {
    const { gl, planes } = this;
    const block = gl.getUniformBlockIndex(shader.built, "Basis");
    if (block !== gl.INVALID_INDEX) gl.uniformBlockBinding(shader.built, block, 0);
    gl.bindBufferBase(gl.UNIFORM_BUFFER, 0, this.basis);
    return {
      level, planesXY: planes[0], planesXZ: planes[1], planesYZ: planes[2], lines: this.lines, longest: this.lines.size[0],
    };
  }

  /**
   * The densities of a level; until `more` has done all, features are to be looked up in planes and lines.
   *
   * @param into what this returned before, if nobody needs it any more.
   */
  bake(level, into = null) {
    const baked = into ?? new Baked(this.gl, this.bricks, 7);
    const shader = this.shader(0);
    baked.fill([baked.density], shader, { nodes: this.nodes, ...this.factors(shader, level) });
    baked.level = level;
    baked.filled = 0;
    baked.ready = false;
    return baked;
  }

  /** Bake the features of so many slices more. */
  more(baked, slices) {
    const { size } = baked;
    baked.makeFeatures();
    const part = baked.filled < size[2] ? 0 : 1;
    const first = baked.filled - part * size[2];
    const last = Math.min(first + slices, size[2]);
    const targets = part ? baked.features.slice(4) : baked.features.slice(0, 4);
    const shader = this.shader(1 + part);
    baked.fill(targets, shader, { nodes: this.nodes, ...this.factors(shader, baked.level) }, first, last);
    baked.filled += last - first;
    baked.ready = baked.filled === 2 * size[2];
  }
}

/** Bakes an octree, whose levels of detail come one after the other. */
export class OctreeBaker {
  /** @param features whether it has any besides its density. */
  constructor(gl, limits, tree, features) {
    this.gl = gl;
    this.limits = limits;
    this.tree = tree;
    this.features = features ? 4 : 0;
    this.shaders = [0, 1].map((part) =>
      program(gl, bakeSource, { FIELD: 1, PART: part, ROW: VERTEX_ROW }));
    this.room = (count) => atlasOf(limits, count, texelBytes(this.features) + INDEX_BYTES);
  }

  /** Throws TooLarge where a level of the tree takes more than there is. */
  check(level) {
    this.room(this.tree.bricks(level));
  }

  /** All that there is to compile is needed for the first picture. */
  rest() {}

  bake(level, into = null) {
    const { gl, tree } = this;
    into?.free(); // another level has other cells
    const { bricks, nodes, totals } = tree.placed(level, this.room);
    const rows = Math.max(1, Math.ceil(totals.length / (16 * VERTEX_ROW)));
    const padded = new Float32Array(16 * VERTEX_ROW * rows);
    padded.set(totals);
    const baked = new Baked(gl, bricks, this.features);
    const values = {};
    try {
      values.vertices = texture(gl, gl.TEXTURE_3D, gl.R32UI, baked.size, {
        data: nodes, layout: [gl.RED_INTEGER, gl.UNSIGNED_INT],
      });
      values.totals = texture(gl, gl.TEXTURE_2D, gl.RGBA32F, [4 * VERTEX_ROW, rows], {
        data: padded, layout: [gl.RGBA, gl.FLOAT],
      });
      baked.fill([baked.density], this.shaders[0], values);
      baked.makeFeatures();
      if (this.features) baked.fill(baked.features, this.shaders[1], values);
    } catch (error) {
      baked.free();
      throw error;
    } finally {
      for (const made of Object.values(values)) gl.deleteTexture(made.texture);
    }
    baked.ready = true;
    baked.level = level;
    return baked;
  }
}
