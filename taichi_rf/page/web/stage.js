// What is on the canvas: coarse while anything moves, so that it follows the hand, and sharp a moment later.

import { TooLarge } from "./limits.js";

const FRAME = 40; // ms that a picture may take while something moves
const BAND = 30; // ms that a band of the sharp picture may take
const MOST_BAKING = 1500; // ms that the features of a level may take: slower graphics do without
const SCREEN = 17; // ms that nothing takes less than, because it is asked once a frame of the screen
const FIRST_TEXELS = 150_000; // whose features are baked at first, to see how long that takes
const LEAST_ROWS = 40; // of a band: each waits for the screen's next frame
const LONG = 300; // ms above which a sharp picture is preceded by a middling one
const REST = 180; // ms without a change after which the sharp picture is begun
const COARSEST = 0.12; // of the sharp picture's side
const MIDDLE = 0.35; // likewise, of what is shown until the sharp picture is done
const MOST_PIXELS = 3.2e6;

export class Stage {
  /**
   * @param renderer of renderer.js.
   * @param canvas its canvas.
   * @param told called with "first" when the first picture is on the screen, with "sharp" when a sharp one is.
   * @param lacks called with a level for which the graphics have not the memory, and the words for it.
   */
  constructor(renderer, canvas, told, lacks) {
    this.renderer = renderer;
    this.gl = renderer.gl;
    this.canvas = canvas;
    this.told = told;
    this.lacks = lacks;
    this.scale = MIDDLE;
    this.band = 64;
    this.began = new Promise((go) => (this.begun = go)); // the first picture is there
    this.frames = 0;
    this.cost = Infinity; // ms that the last sharp picture took
    this.behind = false; // whether what is shown is of another level
    this.split = null; // where the line between two levels is, 0 to 1; null without one
    this.left = this.right = null; // baked fields; the right one is shown beyond the line
    this.wanted = { left: 0, right: 0 }; // their levels; 0 for none
    this.view = null; // an Orbit
    this.covered = 0; // share of the height, from below, that panels cover
    this.changed(true);
  }

  /** Show these levels of what a baker has, as soon as nothing else is being drawn. */
  want(baker, left, right) {
    this.baker = baker;
    this.wanted = { left, right };
  }

  /** Bake one side if it is not what is wanted; whether there was anything to do. */
  bake() {
    for (const side of ["left", "right"]) {
      const level = this.wanted[side];
      if ((this[side]?.level ?? 0) === level) continue;
      if (level) {
        this.since = performance.now();
        if (!this.made(side, level)) return true;
        if (this.shown) this.submitted("bake"); // the first picture follows at once
      } else {
        this[side].free();
        this[side] = null;
      }
      this.changed(true);
      this.behind = true;
      return true;
    }
    return false;
  }

  /** Bake a level for one side; whether there was the memory for it. */
  made(side, level) {
    try {
      this[side] = this.baker.bake(level, this[side]);
      return true;
    } catch (error) {
      if (!(error instanceof TooLarge)) throw error;
      this[side] = null;
      this.lacks(level, error.message);
      return false;
    }
  }

  /** Something is to be drawn anew; `still` where nobody waits for a movement. */
  changed(still = false) {
    this.moved = still ? 0 : performance.now();
    this.stale = true;
    this.done = 0; // rows of the picture that is being drawn
    this.share = MIDDLE; // of the sharp one's side that it has
    this.sharp = false;
  }

  /** Pixels of the canvas: those of the screen, within reason. */
  fit() {
    const { clientWidth: width, clientHeight: height } = this.canvas;
    const ratio = Math.min(window.devicePixelRatio || 1, Math.sqrt(MOST_PIXELS / Math.max(1, width * height)));
    const size = [width, height].map((n) => Math.max(1, Math.round(n * ratio)));
    if (this.canvas.width !== size[0] || this.canvas.height !== size[1]) {
      [this.canvas.width, this.canvas.height] = size;
      this.changed(true);
    }
  }

  /** Called once a frame of the screen. */
  tick(now) {
    const { gl } = this;
    if (!this.baker) return;
    this.fit();
    if (this.fence) {
      const state = gl.clientWaitSync(this.fence, 0, 0);
      if (state === gl.TIMEOUT_EXPIRED) return;
      gl.deleteSync(this.fence);
      this.fence = null;
      this.measured(performance.now() - this.since);
    }
    if (this.bake() && this.shown) return;
    if (!this.shown) return this.preview(COARSEST);
    const moving = this.stale && now - this.moved < REST;
    if (!moving && this.share === 1 && this.finish()) return;
    if (moving) this.preview();
    else if (!this.sharp) this.sharpen();
  }

  /** Bake features on, slice by slice, where that is worth it; whether there was anything to do. */
  finish() {
    if (this.done) return false; // the picture that is being drawn comes first
    const baked = [this.left, this.right].find((one) => one && !one.ready && !one.large);
    if (!baked || this.slow) return false;
    this.since = performance.now();
    this.slices ??= Math.ceil(FIRST_TEXELS / (baked.size[0] * baked.size[1]));
    try {
      this.baker.more(baked, this.slices);
    } catch (error) {
      if (!(error instanceof TooLarge)) throw error;
      this.slow = true; // there is no memory for them: they are looked up
      for (const one of [this.left, this.right]) one?.dropFeatures();
      return false;
    }
    this.passes = (2 * baked.size[2]) / this.slices;
    this.submitted("finish");
    return true;
  }

  measured(taken) {
    if (this.kind === "finish") {
      // the first may have waited for a shader to be compiled, so two in a row decide
      const slow = Math.max(taken - SCREEN, 1) * this.passes > MOST_BAKING;
      this.slow = slow && this.seemed && this.left.texels > FIRST_TEXELS;
      if (this.slow) for (const one of [this.left, this.right]) one?.dropFeatures();
      this.seemed = slow;
      this.slices = Math.max(1, Math.min(256, Math.round(this.slices * Math.min(BAND / Math.max(taken, 1), 4))));
    }
    if (this.kind === "first") {
      this.told("first");
      this.begun();
    } else if (this.kind === "preview") {
      const wanted = Math.min(Math.max(Math.sqrt(FRAME / Math.max(taken, 4)), 0.6), 1.15);
      this.scale = Math.min(Math.max(this.scale * wanted, COARSEST), 1);
      this.frames++;
    } else if (this.kind === "band") {
      this.spent += taken;
      if (this.sharp) this.cost = this.spent;
      this.band = Math.ceil(Math.min(Math.max(this.band * Math.min(BAND / Math.max(taken, 4), 2), LEAST_ROWS), 4096));
    }
  }

  submitted(kind) {
    this.kind = kind;
    this.fence = this.gl.fenceSync(this.gl.SYNC_GPU_COMMANDS_COMPLETE, 0);
    this.gl.flush();
  }

  /** Draw a coarse picture, whose side is `scale` of the sharp one's. */
  preview(scale = this.scale) {
    this.since = performance.now();
    const [width, height] = this.sized(scale);
    const target = this.renderer.target("preview", width, height);
    this.rows(target, width, height, 0, height, true);
    this.renderer.show(target, width, height);
    this.submitted(this.shown ? "preview" : "first");
    this.shown = [width, height];
    this.behind = false;
    this.done = 0;
  }

  sized(scale) {
    return [this.canvas.width, this.canvas.height].map((n) => Math.max(1, Math.round(n * scale)));
  }

  /** Draw a band of the picture that follows: a middling one where what is shown is coarser, then the sharp one. */
  sharpen() {
    this.since = performance.now();
    if (!this.done) {
      this.spent = 0;
      if (this.cost < LONG || (!this.behind && this.shown[0] >= this.sized(MIDDLE)[0])) this.share = 1;
    }
    const [width, height] = this.sized(this.share);
    const target = this.renderer.target("sharp", width, height);
    const rows = Math.min(this.band, height - this.done);
    this.rows(target, width, height, height - this.done - rows, rows, this.share < 1);
    this.done += rows;
    if (this.done >= height) {
      this.renderer.show(target, width, height);
      this.shown = [width, height];
      this.behind = false;
      this.done = 0;
      this.sharp = this.share === 1;
      this.stale = !this.sharp;
      this.share = 1;
      if (this.sharp) this.told("sharp");
    }
    this.submitted("band");
  }

  /** Rows from `y` on, counted from below, of a picture of the whole canvas. */
  rows(target, width, height, y, count, quick) {
    const raised = this.covered * height;
    const camera = this.view.camera(width / (height - raised), raised);
    const line = this.split === null || !this.right ? width : Math.round(this.split * width);
    const part = (baked, x, across) => {
      if (across > 0) this.renderer.draw(baked, camera, target, width, height, { x, y, width: across, height: count }, quick, this.baker);
    };
    part(this.left, 0, line);
    part(this.right, line, width - line);
  }
}
