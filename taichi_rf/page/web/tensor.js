// A tensor field (VM, Chen et al. 2022) as its file holds it: planes and lines of one rank after the other.

import { Refused } from "./bytes.js";
import { Decoder, Models, SYMBOLS } from "./entropy.js";
import { Activity, CONTEXTS, SCALES, decodedPlanes } from "./planes.js";

export const FEATURES = 27;
const COMPONENTS = 4; // of a rank: one of the density, three of appearance
const PARTS = 6;

export function unitTexels([nx, ny, nz]) {
  return nx * ny + nx * nz + ny * nz + nx + ny + nz;
}

/** What the chunk of a level (1, 2, ...) holds of the field. */
export function tensorSchema(field, level) {
  const grid = field.resolution;
  const basis = { basis: ["f2", [3, COMPONENTS - 1, FEATURES]] };
  if (field.coding !== "compact") return { factors: ["f2", [COMPONENTS, unitTexels(grid)]], ...basis };
  const arrays = {
    steps: ["f2", [COMPONENTS, PARTS]],
    scales: ["u1", [COMPONENTS, 3]],
    lines: ["u2", [COMPONENTS, grid[0] + grid[1] + grid[2]]],
    planes: ["u4", [-1]],
    ...basis,
  };
  return level > 1 ? arrays : { table: ["u1", [CONTEXTS, SYMBOLS]], ...arrays };
}

/** Reads level after level. */
export class TensorLevels {
  constructor(field) {
    this.grid = field.resolution;
    this.compact = field.coding === "compact";
    const [nx, ny, nz] = this.grid;
    this.activities = [[ny, nx], [nz, nx], [nz, ny]].map(([rows, columns]) => new Activity(rows, columns));
  }

  /** Factors (components, texels) of the next level: planes xy, xz, yz, then lines z, y, x. */
  factors(arrays) {
    if (!this.compact) return arrays.factors;
    this.models ??= new Models(arrays.table);
    if (arrays.scales.some((scale) => scale >= SCALES)) throw new Refused("the scale of a plane is damaged");
    const unit = unitTexels(this.grid);
    const factors = new Float32Array(COMPONENTS * unit);
    const decoder = new Decoder(arrays.planes, this.models);
    const { steps } = arrays;
    let part = 0;
    this.activities.forEach((activity, p) => {
      const scales = Array.from({ length: COMPONENTS }, (_, k) => arrays.scales[3 * k + p]);
      const planes = decodedPlanes(COMPONENTS, scales, activity, decoder);
      const size = activity.values.length;
      for (let k = 0; k < COMPONENTS; k++) {
        const step = steps[PARTS * k + p];
        for (let i = 0; i < size; i++) factors[k * unit + part + i] = planes[k * size + i] * step;
      }
      part += size;
    });
    decoder.finish();
    const [nx, ny, nz] = this.grid;
    const total = nx + ny + nz;
    for (let k = 0; k < COMPONENTS; k++) {
      [nz, ny, nx].reduce((begin, length, p) => {
        const step = steps[PARTS * k + 3 + p];
        for (let i = begin; i < begin + length; i++) {
          const number = arrays.lines[k * total + i];
          factors[k * unit + part + i] = (number & 1 ? -((number + 1) >> 1) : number >> 1) * step;
        }
        return begin + length;
      }, 0);
    }
    return factors;
  }
}
