// The camera that turns around a point: the twin of taichi_rf/motion/orbit.py. Angles are in radians.

const TURN = Math.PI; // a drag over the whole height of the window: half a turn
const DOLLY = Math.log(4);
const STEEPEST = (89 * Math.PI) / 180;

const add = (a, b, times = 1) => a.map((n, i) => n + times * b[i]);
const dot = (a, b) => a[0] * b[0] + a[1] * b[1] + a[2] * b[2];
const cross = (a, b) => [a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]];
const unit = (a) => a.map((n) => n / Math.hypot(...a));

export class Orbit {
  /** A view of what is likely to be in a box of the world: all but its corners, from above one of them. */
  constructor([low, high], up = [0, 0, 1]) {
    this.target = low.map((n, a) => (n + high[a]) / 2);
    this.extent = Math.hypot(...high.map((n, a) => n - low[a]));
    this.view = (40 * Math.PI) / 180;
    this.distance = (0.6 * Math.max(...high.map((n, a) => n - low[a]))) / Math.sin(this.view / 2);
    this.azimuth = Math.PI / 4;
    this.elevation = (25 * Math.PI) / 180;
    this.up = unit(up);
    const level = Math.abs(this.up[0]) < 0.9 ? [1, 0, 0] : [0, 1, 0];
    this.east = unit(add(level, this.up, -dot(level, this.up)));
    this.north = cross(this.up, this.east);
    this.centre = this.target;
  }

  /** The view that a file's metadata describe, where they describe one: see Orbit.from_state in Python. */
  static of(box, state) {
    const view = new Orbit(box);
    const numbers = (values, count) => Array.isArray(values) && values.length === count && values.every((n) => Math.abs(n) < 1e6);
    const { target, up, distance, azimuth, elevation, field_of_view: degrees } = state ?? {};
    if (!numbers(target, 3) || !numbers(up, 3) || !numbers([distance, azimuth, elevation, degrees], 4)) return view;
    if (!(distance > 0 && degrees >= 1 && degrees <= 170 && Math.hypot(...up) > 1e-6)) return view;
    const found = Object.assign(new Orbit(box, up), {
      target, distance, azimuth: (azimuth * Math.PI) / 180, elevation: (elevation * Math.PI) / 180, view: (degrees * Math.PI) / 180,
    });
    found.limit();
    return found;
  }

  /** A copy, to come back to. */
  copy() {
    return Object.assign(Object.create(Orbit.prototype), this);
  }

  eye() {
    const [c, s] = [Math.cos(this.elevation), Math.sin(this.elevation)];
    const level = add(this.east.map((n) => n * Math.cos(this.azimuth)), this.north, Math.sin(this.azimuth));
    return add(this.target, add(level.map((n) => n * c), this.up, s), this.distance);
  }

  /**
   * What the renderer wants: axes (right, up, backward), eye, and the focal length in heights of what is free.
   *
   * @param aspect width over height of what is free.
   * @param raised pixels at the bottom that something else covers.
   */
  camera(aspect = 1, raised = 0) {
    const eye = this.eye();
    const backward = unit(add(eye, this.target, -1));
    const right = unit(cross(this.up, backward));
    // an upright window is narrower than the view is high: step back so that the width fits
    const wide = Math.min(1, aspect);
    const axes = [...right, ...cross(backward, right), ...backward];
    return { eye, axes, focal: (0.5 * wide) / Math.tan(this.view / 2), raised };
  }

  rotate(right, down) {
    this.azimuth -= TURN * right;
    this.elevation += TURN * down;
    this.limit();
  }

  /** Move the scene by parts of the window's height: what lies at the target's depth stays under the hand. */
  pan(right, down, aspect) {
    const { axes, focal } = this.camera(aspect);
    const world = this.distance / focal;
    this.target = add(add(this.target, axes.slice(0, 3), -right * world), axes.slice(3, 6), down * world);
    this.limit();
  }

  zoom(amount) {
    this.distance *= Math.exp(DOLLY * amount);
    this.limit();
  }

  limit() {
    this.elevation = Math.min(Math.max(this.elevation, -STEEPEST), STEEPEST);
    this.distance = Math.min(Math.max(this.distance, 0.01 * this.extent), 20 * this.extent);
    this.target = this.target.map((n, a) => Math.min(Math.max(n, this.centre[a] - this.extent), this.centre[a] + this.extent));
  }
}
