// A model that comes level by level: read, checked, decoded and given to the graphics.

import { OctreeBaker, TensorBaker } from "./bake.js";
import { Refused } from "./bytes.js";
import { unpackArrays } from "./arrays.js";
import { checkHeader, levelName } from "./header.js";
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
    this.warning = ""; // what is wrong with those that are not
    this.ended = false;
  }

  /** Read header and first level. Throws Refused where there is nothing to show. */
  async open() {
    this.header = await this.reader.start();
    checkHeader(this.header, 1);
    this.name = levelName(this.header.field);
    if (!(await this.next())) {
      throw new Refused(this.warning || "the file ends before the base chunk");
    }
  }

  /** Read the next level; false where there is none. */
  async next() {
    if (this.ended) return false;
    const level = this.levels + 1;
    try {
      const chunk = await this.reader.next();
      if (chunk === null || level > this.header.field.num_levels) {
        this.ended = true;
        return false;
      }
      await this.take(level, chunk);
    } catch (error) {
      if (!(error instanceof Damaged || error instanceof Refused)) throw error;
      this.ended = true;
      this.warning =
        level === 1
          ? `the base chunk is damaged (${error.message})`
          : `${this.name} ${level} is damaged (${error.message}): this shows 1 to ${level - 1} of ${this.reader.totalLevels}`;
      return false;
    }
    this.levels = level;
    this.ended = level === this.reader.totalLevels;
    return true;
  }

  async take(level, chunk) {
    const { gl, header } = this;
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
        this.baker = new TensorBaker(gl, field, arrays.occupancy);
      } else {
        this.tree = new Octree(field);
        this.baker = new OctreeBaker(gl, this.tree, header.decoder !== "none");
      }
    }
    if (tensor) this.baker.put(level, this.tensor.factors(arrays), arrays.basis);
    else this.tree.add(arrays);
  }

  /** Bytes of the file up to each level that is here. */
  get sizes() {
    return this.reader.prefixBytes;
  }
}
