// The page: what its panels say, and what keys, hands and buttons do.

import { Refused } from "./bytes.js";
import { Orbit } from "./camera.js";
import { unembedded } from "./digits.js";
import { Plot, decibelText, megabytes } from "./figures.js";
import { hands } from "./hands.js";
import { decibels } from "./header.js";
import { Model } from "./model.js";
import { Renderer } from "./renderer.js";
import { Remote } from "./sources.js";
import { Stage } from "./stage.js";
import { Memory } from "./trf.js";

const DARK = [0.05, 0.055, 0.066];
const PATIENCE = 3000; // ms for which levels wait for the first picture of a page that is hidden
const TURN = (2 * Math.PI) / 24; // radians a second of the turntable
const byId = (id) => document.getElementById(id);

class Page {
  constructor() {
    this.about = JSON.parse(byId("about").textContent);
    this.canvas = byId("view");
    this.turning = false;
    this.held = false;
    this.dark = true;
    this.times = {};
    this.loading = true; // until all is here that is wanted
  }

  async open() {
    this.mark("opened");
    const { file, sizes } = this.about;
    const held = file ? null : unembedded(byId("model").textContent);
    if (!file && !held) throw new Refused("The model in this page is damaged.");
    const source = file ? new Remote(file, sizes) : new Memory(held);
    const ahead = source.read(0, 1); // asked for before the graphics are started, which takes a while
    ahead.catch(() => {}); // said below
    const gl = this.canvas.getContext("webgl2", { antialias: false, alpha: false, powerPreference: "high-performance" });
    if (!gl) throw new Refused("This page draws with WebGL2, which this browser does not have or has turned off. Any current browser has it; where graphics are blocked, hardware acceleration may have to be allowed in its settings.");
    this.canvas.addEventListener("webglcontextlost", () => this.notice("The graphics card was taken away from this page. Load it again."));
    this.renderer = new Renderer(gl);
    this.stage = new Stage(
      this.renderer, this.canvas, (what) => this.report(what), (level, why) => this.without(level, why));
    this.mark("graphics");
    await ahead;
    this.model = new Model(gl, source);
    await this.model.open(file ? Infinity : sizes.length);
    const { header } = this.model;
    this.own = header.background;
    this.renderer.prepare(header, this.model.most); // shaders are compiled while the first level is read
    this.mark("header");
    await this.model.first();
    this.renderer.weights = this.model.weights;
    this.mark("read");
    this.first = Orbit.of(this.about.worldBox, header.metadata?.view);
    this.stage.view = this.first.copy();
    this.total = this.model.most;
    this.level = Math.min(this.about.level, this.total);
    this.other = Math.max(1, Math.round(this.level / 4));
    this.backdrop();
    this.panels();
    this.watch();
    byId("notice").hidden = true;
    document.body.classList.add("open");
    this.update();
    this.frame(performance.now());
    // levels that follow wait for the first picture; a page that nobody looks at draws none
    const waits = [this.stage.began];
    if (document.hidden) waits.push(new Promise((go) => setTimeout(go, PATIENCE)));
    await Promise.race(waits);
    this.renderer.rest();
    this.model.baker.rest();
    this.loading = false;
    await this.load();
    this.mark("loaded");
  }

  /** Note when something was first done, in ms since the page was asked for. */
  mark(what) {
    this.times[what] ??= Math.round(performance.now());
  }

  /** Read levels: all of an embedded file, of one that lies elsewhere those that are wanted. */
  async load() {
    if (this.loading) return;
    this.loading = true;
    try {
      for (;;) {
        const wanted = this.about.file ? Math.max(this.level, this.comparing ? this.other : 1) : Infinity;
        if (this.model.levels >= wanted || !(await this.model.next())) break;
        this.update();
        await new Promise((go) => setTimeout(go, 0));
      }
      if (this.model.ended && this.model.levels < this.total) this.end(this.model.levels);
      if (this.model.warning) this.toast(this.model.warning);
    } catch (error) {
      if (!(error instanceof Refused)) throw error;
      this.toast(error.message);
    } finally {
      this.loading = false;
      this.update();
    }
  }

  /** There are so many levels, and no more will come. */
  end(levels) {
    this.total = levels;
    this.level = Math.min(this.level, levels);
    this.other = Math.min(this.other, levels);
    this.panels();
  }

  /** Do without a level, and those after it, for which the graphics have not the memory. */
  without(level, why) {
    const { model } = this;
    model.limit(level - 1, why);
    if (level === 1) return this.notice(model.warning);
    model.ended = true;
    model.levels = Math.min(model.levels, level - 1);
    this.end(level - 1);
    this.toast(model.warning);
    this.update();
  }

  get comparing() {
    return this.stage.split !== null;
  }

  // Panels

  /** What there is to say of a level. */
  figures(level) {
    const size = this.about.sizes[level - 1] ?? this.model.sizes[level - 1] ?? 0;
    return { level, size, decibels: decibels(this.model.header, level) };
  }

  panels() {
    const { name } = this.model;
    for (const id of ["level", "other"]) {
      byId(id).max = this.total;
      byId(id).setAttribute("aria-label", id === "level" ? name : `${name} on the right`);
    }
    byId("dock").classList.toggle("single", this.total < 2);
    const points = Array.from({ length: this.total }, (_, i) => this.figures(i + 1));
    this.plotted = points.length > 1 && points.every((point) => point.decibels);
    if (this.plotted) this.plot = new Plot(byId("curve"), name, points, (level) => this.choose(level));
    byId("show-plot").hidden = !this.plotted;
    if (!this.plotted || window.innerWidth < 720) byId("plot").hidden = true;
    else if (this.plotOpen === undefined) byId("plot").hidden = false;
  }

  update() {
    const { model, stage } = this;
    // while levels come, those in between are skipped: each costs a bake
    const here = (level) => {
      if (model.levels >= level) return level;
      return model.ended || !this.loading ? Math.min(level, model.levels) : 2 ** Math.floor(Math.log2(model.levels));
    };
    stage.want(model.baker, here(this.level), this.comparing ? here(this.other) : 0);
    const say = (id, level) => {
      const found = this.figures(level);
      byId(`${id}-number`).textContent = level;
      byId(`${id}-size`).textContent = megabytes(found.size);
      byId(`${id}-decibels`).textContent = decibelText(found.decibels);
      byId(id === "left" ? "level" : "other").value = level;
      const range = byId(id === "left" ? "level" : "other");
      range.style.setProperty("--done", `${this.total > 1 ? (100 * (level - 1)) / (this.total - 1) : 100}%`);
      range.setAttribute("aria-valuetext", `${model.name} ${level}, ${megabytes(found.size)} ${decibelText(found.decibels)}`);
    };
    say("left", this.level);
    say("right", this.other);
    byId("left-of").textContent = byId("right-of").textContent = ` of ${this.total}`;
    for (const part of document.querySelectorAll(".level-name")) part.textContent = model.name;
    document.body.classList.toggle("comparing", this.comparing);
    document.body.classList.toggle("loading", model.levels < this.level && !model.ended);
    byId("tag-left").textContent = `${model.name} ${this.level}`;
    byId("tag-right").textContent = `${model.name} ${this.other}`;
    this.plot?.mark(this.level, this.comparing ? this.other : 0);
    for (const [id, on] of [["compare", this.comparing], ["turn", this.turning], ["show-plot", !byId("plot").hidden]]) {
      byId(id).setAttribute("aria-pressed", on);
    }
    this.placeLine();
    this.clear();
  }

  /** What one looks at stands in the middle of what no panel covers. */
  clear() {
    const dock = byId("dock").getBoundingClientRect();
    const covered = dock.height ? Math.min(Math.max(1 - dock.top / window.innerHeight, 0), 0.6) : 0;
    if (Math.abs(covered - this.stage.covered) > 1e-3) {
      this.stage.covered = covered;
      this.stage.changed(true);
    }
  }

  placeLine() {
    if (this.comparing) byId("line").style.left = `${100 * this.stage.split}%`;
  }

  choose(level) {
    this.level = Math.min(Math.max(level, 1), this.total);
    this.update();
    this.load();
  }

  chooseOther(level) {
    this.other = Math.min(Math.max(level, 1), this.total);
    this.update();
    this.load();
  }

  compare() {
    this.stage.split = this.comparing ? null : 0.5;
    this.stage.changed();
    this.update();
    this.load();
  }

  backdrop() {
    const boxed = (this.model.header.space?.kind ?? "box") === "box";
    this.renderer.background = this.dark && boxed ? DARK : this.own;
    this.stage.changed(true);
  }

  home() {
    this.stage.view = this.first.copy();
    this.stage.changed();
  }

  showPlot() {
    this.plotOpen = byId("plot").hidden;
    byId("plot").hidden = !this.plotOpen || !this.plotted;
    this.update();
  }

  fullScreen() {
    if (document.fullscreenElement) document.exitFullscreen();
    else document.documentElement.requestFullscreen?.().catch(() => {});
  }

  /** To the next or the last of levels 1, 2, 4, 8, ...: a presenter's remote has two buttons. */
  stop(direction) {
    const stops = [];
    for (let level = 1; level < this.total; level *= 2) stops.push(level);
    stops.push(this.total);
    const found = direction > 0 ? stops.find((level) => level > this.level) : stops.reverse().find((level) => level < this.level);
    if (found) this.choose(found);
  }

  // What comes in

  watch() {
    byId("level").addEventListener("input", (event) => this.choose(Number(event.target.value)));
    byId("other").addEventListener("input", (event) => this.chooseOther(Number(event.target.value)));
    const actions = {
      compare: () => this.compare(),
      turn: () => { this.turning = !this.turning; this.update(); },
      home: () => this.home(),
      background: () => { this.dark = !this.dark; this.backdrop(); },
      "show-plot": () => this.showPlot(),
      screen: () => this.fullScreen(),
      keys: () => byId("help").showModal(),
      close: () => byId("help").close(),
    };
    for (const [id, act] of Object.entries(actions)) byId(id).addEventListener("click", act);
    byId("help").addEventListener("click", (event) => event.target === byId("help") && byId("help").close());
    window.addEventListener("resize", () => this.clear());
    hands(this.canvas, (kind, right, down) => {
      const { view } = this.stage;
      if (kind === "turn") view.rotate(right, down);
      else if (kind === "pan") view.pan(right / (1 - this.stage.covered), down / (1 - this.stage.covered), this.canvas.clientWidth / (this.canvas.clientHeight * (1 - this.stage.covered)));
      else view.zoom(down);
      this.stage.changed();
    }, (held) => { this.held = held; });
    const line = byId("line");
    line.addEventListener("pointerdown", (event) => line.setPointerCapture(event.pointerId));
    line.addEventListener("pointermove", (event) => {
      if (event.buttons) this.slide(event.clientX / window.innerWidth);
    });
    line.addEventListener("keydown", (event) => {
      const step = { ArrowLeft: -0.02, ArrowRight: 0.02 }[event.key];
      if (step) {
        this.slide(this.stage.split + step);
        event.stopPropagation();
      }
    });
    const keys = {
      ArrowRight: () => this.choose(this.level + 1), ArrowLeft: () => this.choose(this.level - 1),
      ArrowUp: () => this.chooseOther(this.other + 1), ArrowDown: () => this.chooseOther(this.other - 1),
      PageDown: () => this.stop(1), PageUp: () => this.stop(-1),
      Home: () => this.choose(1), End: () => this.choose(this.total),
      c: actions.compare, t: actions.turn, " ": actions.turn, r: actions.home, b: actions.background,
      p: actions["show-plot"], f: actions.screen, h: () => { document.body.classList.toggle("bare"); this.clear(); },
      "?": actions.keys, k: actions.keys,
    };
    document.addEventListener("keydown", (event) => {
      if (event.ctrlKey || event.metaKey || event.altKey || byId("help").open) return;
      const slider = event.target.type === "range";
      if (slider && event.target.id === "other" && event.key.length > 1) return; // it moves itself
      if (event.key === " " && event.target.tagName === "BUTTON") return; // it is pressed
      const act = keys[event.key.length === 1 ? event.key.toLowerCase() : event.key];
      if (!act) return;
      event.preventDefault();
      act();
    });
  }

  slide(place) {
    this.stage.split = Math.min(Math.max(place, 0), 1);
    this.stage.changed();
    this.placeLine();
  }

  /** Called once a frame of the screen, and at once where nothing has been drawn. */
  frame(now) {
    if (this.turning && !this.held) {
      this.stage.view.azimuth += TURN * Math.min((now - (this.before ?? now)) / 1000, 0.1);
      this.stage.changed();
    }
    this.before = now;
    try {
      this.stage.tick(now);
    } catch (error) {
      this.notice(error.message);
      return;
    }
    requestAnimationFrame((next) => this.frame(next));
  }

  /** A first picture, or a sharp one, is done. */
  report(what) {
    this.mark(what);
    if (what === "sharp") document.body.classList.add("drawn");
  }

  toast(text) {
    byId("toast").textContent = text;
    byId("toast").hidden = false;
  }

  notice(text) {
    byId("notice-text").textContent = text;
    byId("notice").hidden = false;
    document.body.classList.add("failed");
  }

  // For scripts, and for tests of this page

  /** What is on the screen. */
  state() {
    const { stage, model } = this;
    return {
      level: this.level, other: this.other, levels: model.levels, total: this.total, loading: Boolean(this.loading),
      shown: stage.left?.level ?? 0, compared: stage.right?.level ?? 0, split: stage.split, sharp: stage.sharp,
      scale: stage.scale, frames: stage.frames, pixels: stage.shown ?? null, turning: this.turning,
      azimuth: stage.view.azimuth, elevation: stage.view.elevation, distance: stage.view.distance,
      bytes: stage.left?.bytes ?? 0, baked: stage.left?.ready ?? false, warning: model.warning, times: this.times,
    };
  }

  /**
   * A picture of a level on the model's own background: RGBA in base64, the top row first.
   *
   * @param direct whether features are looked up in planes and lines and not baked.
   */
  picture(level, width, height, view = null, direct = false) {
    const { renderer, model: { baker } } = this;
    const [baked, background] = [baker.bake(level), renderer.background];
    while (!baked.ready && !direct) baker.more(baked, baked.size[2]);
    const target = renderer.target("picture", width, height);
    renderer.background = this.own;
    const orbit = view ? Orbit.of(this.about.worldBox, view) : this.first;
    renderer.draw(baked, orbit.camera(width / height), target, width, height, { x: 0, y: 0, width, height }, false, baker);
    const pixels = renderer.pixels(target, width, height);
    renderer.background = background;
    baked.free();
    let text = "";
    for (let i = 0; i < pixels.length; i += 8192) text += String.fromCharCode(...pixels.subarray(i, i + 8192));
    return btoa(text);
  }
}

const page = new Page();
window.taichiRf = page;
page.open().catch((error) => page.notice(error instanceof Refused ? error.message : `${error}`));
