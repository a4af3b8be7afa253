// A model that comes level by level: read, checked, decoded and given to the graphics.

import { OctreeBaker, TensorBaker } from "./bake.js";
import { Refused } from "./bytes.js";
import { unpackArrays } from "./arrays.js";
import { checkHeader, levelName } from "./header.js";
import { TooLarge, fitting, limitsOf } from "./limits.js";
import { Octree, octreeSchema } from "./octree.js";
import { PERCEPTRONS, decoderSchema, weightBuffers, weightsOf } from "./perceptron.js";
import { TensorLevels, tensorSchema } from "./tensor.js";
import { Damaged, TrfReader } from "./trf.js";

export class Model {
  /** @param source as TrfReader takes it. */
  constructor(gl, source) {
    this.gl = gl;
    this.reader = new TrfReader(source);
    this.levels = 0; // that are here
    this.most = 0; // that can be shown on this device
    this.warning = ""; // what is wrong with those that are not
    this.ended = false;
  }

  /**
   * Read the header. Throws Refused where there is nothing to show.
   *
   * @param count levels that the file is known to have; it may have fewer than its header says.
   */
  async open(count = Infinity) {
    this.header = await this.reader.start();
    checkHeader(this.header, 1);
    this.name = levelName(this.header.field);
    this.limits = limitsOf(this.gl);
    const told = Math.min(this.reader.totalLevels, this.header.field.num_levels, count);
    const { levels, why } = fitting(this.limits, this.header, told);
    this.most = told;
    if (why) this.limit(levels, why);
    if (!levels) throw new Refused(this.warning);
  }

  /** Read the first level, and the decoder with it. Throws Refused where it is not there. */
  async first() {
    if (!(await this.next())) {
      throw new Refused(this.warning || "the file ends before the base chunk");
    }
  }

  /** Read the next level; false where there is none. */
  async next() {
    if (this.ended) return false;
    const level = this.levels + 1;
    if (level > this.most) {
      this.ended = true;
      return false;
    }
    try {
      const chunk = await this.reader.next();
      if (chunk === null) {
        this.ended = true;
        return false;
      }
      await this.take(level, chunk);
    } catch (error) {
      if (!(error instanceof Damaged || error instanceof Refused)) throw error;
      this.ended = true;
      if (error instanceof TooLarge) {
        this.limit(level - 1, error.message);
        return false;
      }
      this.warning =
        level === 1
          ? `the base chunk is damaged (${error.message})`
          : `${this.name} ${level} is damaged (${error.message}): this shows 1 to ${level - 1} of ${this.reader.totalLevels}`;
      return false;
    }
    this.levels = level;
    this.ended = level === this.most;
    return true;
  }

  /** Show no more than so many levels, for a reason that is this device's. */
  limit(levels, why) {
    this.most = levels;
    this.warning =
      levels === 0
        ? `This model is too large to be shown on this device: ${why}.`
        : `${this.name} ${levels + 1} is too large to be shown on this device (${why}): this shows 1 to ${levels}.`;
  }

  async take(level, chunk) {
    const { gl, header, limits } = this;
    const { field } = header;
    const tensor = field.kind === "vm";
    let schema = tensor ? tensorSchema(field, level) : octreeSchema(field, level);
    if (level === 1) {
      Object.assign(schema, decoderSchema(header));
      if (tensor) schema.occupancy = ["u1", [Math.ceil(field.resolution.reduce((product, n) => product * (n - 1), 1) / 8)]];
    }
    const arrays = await unpackArrays(chunk, schema, `${this.name} ${level}`);
    if (level === 1) {
      if (PERCEPTRONS[header.decoder]) this.weights = weightBuffers(gl, header.decoder, weightsOf(header, arrays));
      if (tensor) {
        this.tensor = new TensorLevels(field);
        this.baker = new TensorBaker(gl, limits, field, this.most, arrays.occupancy);
      } else {
        this.tree = new Octree(field);
        this.baker = new OctreeBaker(gl, limits, this.tree, header.decoder !== "none");
      }
    }
    if (tensor) this.baker.put(level, this.tensor.factors(arrays), arrays.basis);
    else {
      this.tree.add(arrays);
      this.baker.check(level);
    }
  }

  /** Bytes of the file up to each level that is here. */
  get sizes() {
    return this.reader.prefixBytes;
  }
}
