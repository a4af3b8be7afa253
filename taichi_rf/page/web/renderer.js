// Pictures of a baked field, in horizontal bands of any height, so that no call keeps the graphics busy for long.

import blitSource from "./blit.glsl";
import marchSource from "./march.glsl";
import raysSource from "./rays.glsl";
import surfaceSource from "./surface.glsl";
import { checkGraphics } from "./bake.js";
import { program, quad, texture, use } from "./gl.js";
import { stepSize } from "./header.js";
import { BASIS_ROWS } from "./limits.js";
import { PERCEPTRONS } from "./perceptron.js";

const FARTHEST = 1000; // of a contraction, in half sides of its inner cube
const BEND = 2;

/** u of t: see taichi_rf/kernels/spaces.py. */
function curve(t) {
  return t <= BEND ? t : 2 * BEND - (BEND * BEND) / t;
}

export class Renderer {
  constructor(gl) {
    checkGraphics(gl);
    this.gl = gl;
    this.blitter = program(gl, blitSource);
    this.targets = {};
  }

  /** Show a model with this header and up to `levels` levels from now on; `weights`, its decoder's buffers, come later. */
  prepare(header, levels) {
    const { gl } = this;
    this.header = header;
    this.weights = null;
    const space = header.space?.kind ?? "box";
    this.solid = header.render === "surface";
    const defines = {
      HARMONICS: 0, SMALL: 1, MLP: 2, DECODER: { sh: 0, small: 1, mlp: 2, none: 0 }[header.decoder],
      SOFTPLUS: 0, RELU: 1, ACTIVATION: header.field.activation === "relu" ? 1 : 0,
      STRAIGHT: 0, CONTRACTED: 1, DEVICE: 2, SPACE: { box: 0, contract: 1, ndc: 2 }[space],
      ...(PERCEPTRONS[header.decoder]
        ? { INPUTS: PERCEPTRONS[header.decoder].inputs, HIDDEN: PERCEPTRONS[header.decoder].hidden } : {}),
    };
    const source = raysSource + (this.solid ? surfaceSource : marchSource);
    this.built = {};
    // in the order in which they are wanted: the first picture of a tensor looks features up in planes and lines
    this.shader = (ready) =>
      (this.built[ready] ??= program(gl, source, ready ? { ...defines, DIRECT: 0 } : { ...defines, DIRECT: 1, BASIS: BASIS_ROWS * levels }));
    this.shader(header.field.kind !== "vm");
  }

  /** Begin to compile what the first picture does without. */
  rest() {
    this.shader(true);
  }

  /** A frame to draw in, at least `width` x `height` pixels large. */
  target(name, width, height) {
    const { gl, targets } = this;
    const old = targets[name];
    if (old && old.size[0] >= width && old.size[1] >= height) return old;
    if (old) {
      gl.deleteTexture(old.texture);
      gl.deleteFramebuffer(old.frame);
    }
    const size = [Math.max(width, old?.size[0] ?? 0), Math.max(height, old?.size[1] ?? 0)];
    const made = texture(gl, gl.TEXTURE_2D, gl.RGBA8, size, { linear: true });
    made.frame = gl.createFramebuffer();
    gl.bindFramebuffer(gl.FRAMEBUFFER, made.frame);
    gl.framebufferTexture2D(gl.FRAMEBUFFER, gl.COLOR_ATTACHMENT0, gl.TEXTURE_2D, made.texture, 0);
    return (targets[name] = made);
  }

  /**
   * Draw a part of a picture into a target.
   *
   * @param camera {axes, eye, focal (in heights of what is free), raised (pixels below that are not)}: see camera.js.
   * @param part {x, y, width, height} in pixels from the lower left corner.
   * @param quick whether colours may be a preview's.
   * @param baker of what is baked, whose planes and lines are read where the features are not ready.
   */
  draw(baked, camera, target, width, height, part, quick, baker) {
    const { gl, header } = this;
    const shader = this.shader(baked.ready);
    gl.bindFramebuffer(gl.FRAMEBUFFER, target.frame);
    gl.viewport(0, 0, width, height);
    gl.enable(gl.SCISSOR_TEST);
    gl.scissor(part.x, part.y, part.width, part.height);
    const [low, high] = header.box;
    const kind = header.space?.kind ?? "box";
    const stride = stepSize(header);
    const { near, far } = range(header, camera.eye);
    const diagonal = Math.hypot(...high.map((n, a) => n - low[a]));
    const span = kind === "contract" ? far - near : Math.min(diagonal, far - near);
    use(gl, shader, {
      axes: camera.axes, eye: camera.eye, lens: [camera.focal * (height - camera.raised), width / 2, (height + camera.raised) / 2],
      low, high, near, far, stride, cells: baked.bricks.cells, background: this.background ?? header.background,
      table: baked.table, density: baked.density, atlasSize: baked.size,
      delta: stride * header.distance_scale, shift: header.field.density_shift, threshold: header.weight_threshold,
      focal: header.space?.focal ?? [1, 1], most: Math.ceil(Math.max(span, 0) / stride * 1.00001) + 1,
      quick: quick ? 1 : 0, side: Math.min(...high.map((n, a) => n - low[a])),
      ...Object.fromEntries(baked.features.map((feature, k) => [`features${k}`, feature])),
      ...(baked.ready ? {} : baker.factors(shader, baked.level)),
    });
    ["First", "Second", "Last"].forEach((block, k) => {
      if (!this.weights) return;
      gl.uniformBlockBinding(shader.built, gl.getUniformBlockIndex(shader.built, block), k + 1);
      gl.bindBufferBase(gl.UNIFORM_BUFFER, k + 1, this.weights[k]);
    });
    quad(gl);
    gl.disable(gl.SCISSOR_TEST);
  }

  /** Put a picture of `width` x `height` pixels in a target onto the whole canvas. */
  show(target, width, height) {
    const { gl } = this;
    gl.bindFramebuffer(gl.FRAMEBUFFER, null);
    const size = [gl.drawingBufferWidth, gl.drawingBufferHeight];
    gl.viewport(0, 0, ...size);
    use(gl, this.blitter, { picture: target, size, share: [width / target.size[0], height / target.size[1]] });
    quad(gl);
  }

  /** Wait for what was asked for, and give the pixels (RGBA, the top row first) of a picture. */
  pixels(target, width, height) {
    const { gl } = this;
    gl.bindFramebuffer(gl.FRAMEBUFFER, target.frame);
    const flipped = new Uint8Array(4 * width * height);
    gl.readPixels(0, 0, width, height, gl.RGBA, gl.UNSIGNED_BYTE, flipped);
    const rows = new Uint8Array(flipped.length);
    for (let y = 0; y < height; y++) {
      rows.set(flipped.subarray(4 * width * (height - 1 - y), 4 * width * (height - y)), 4 * width * y);
    }
    return rows;
  }
}

/** Between which distances a ray from `eye` may meet something: `depth_range` and `interval` of spaces.py. */
function range({ space, box: [low, high] }, eye) {
  const kind = space?.kind ?? "box";
  if (kind === "contract") return { near: curve(0.05), far: curve(FARTHEST) };
  if (kind === "ndc") return { near: 0, far: 1000 };
  const nearest = Math.hypot(...eye.map((e, a) => e - Math.min(Math.max(e, low[a]), high[a])));
  const farthest = Math.hypot(...eye.map((e, a) => Math.max(Math.abs(e - low[a]), Math.abs(e - high[a]))));
  return { near: Math.max(nearest, 1e-3 * Math.hypot(...high.map((h, a) => h - low[a]))), far: farthest };
}
