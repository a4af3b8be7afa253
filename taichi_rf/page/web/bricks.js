// Which cells may hold anything, in bricks of 4 x 4 x 4 cells. A brick that holds none says how far it is to the next
// that does, so that rays stride over it; of one that does, the values at its 5 x 5 x 5 nodes have a slot in an atlas.

export const BRICK = 4; // cells a side
export const NODES = BRICK + 1;
const OCCUPIED = 2 ** 31;
const FARTHEST = 255;

/** Cells of a grid, one after the other. */
export class Bricks {
  /** @param cells how many along x, y and z. */
  constructor(cells) {
    this.cells = cells;
    this.size = cells.map((n) => Math.ceil(n / BRICK));
    const count = this.size[0] * this.size[1] * this.size[2];
    // of each brick: slot and OCCUPIED, or 0 | bricks to the next occupied one | 64 bits, which of its cells are occupied
    this.table = new Uint32Array(4 * count);
  }

  /** Mark cell (x, y, z); gives its brick's index. */
  mark(x, y, z) {
    const [bx, by] = this.size;
    const brick = ((z >> 2) * by + (y >> 2)) * bx + (x >> 2);
    const bit = ((z & 3) << 4) | ((y & 3) << 2) | (x & 3);
    this.table[4 * brick + 2 + (bit >> 5)] |= 1 << (bit & 31);
    return brick;
  }

  /**
   * Number the occupied bricks, after all cells are marked.
   *
   * @param room called with how many there are, gives how many slots along x, y and z an atlas of them has.
   */
  finish(room) {
    const { table, size } = this;
    const [bx, by, bz] = size;
    const owners = [];
    for (let brick = 0; brick < table.length / 4; brick++) {
      if (table[4 * brick + 2] || table[4 * brick + 3]) owners.push(brick);
    }
    const [ax, ay, az] = (this.atlas = room(owners.length));
    this.owners = new Uint32Array(ax * ay * az); // of each slot, its brick: x, y and z of ten bits and OCCUPIED
    this.count = owners.length;
    owners.forEach((brick, slot) => {
      const x = brick % bx;
      const y = Math.floor(brick / bx) % by;
      const z = Math.floor(brick / (bx * by));
      this.owners[slot] = OCCUPIED + x + y * 1024 + z * 1048576;
      table[4 * brick] = OCCUPIED + (slot % ax) + (Math.floor(slot / ax) % ay) * 1024 + Math.floor(slot / (ax * ay)) * 1048576;
    });
    this.measure(bx, by, bz);
    return this;
  }

  /** How many bricks away, diagonals counting as one, the nearest occupied brick is: two sweeps over the grid. */
  measure(bx, by, bz) {
    const distance = new Uint8Array(bx * by * bz);
    for (let i = 0; i < distance.length; i++) distance[i] = this.table[4 * i] ? 0 : FARTHEST;
    const before = [];
    for (let n = 0; n < 13; n++) before.push([(n % 3) - 1, (Math.floor(n / 3) % 3) - 1, Math.floor(n / 9) - 1]);
    const sweep = (sign) => {
      const last = distance.length - 1;
      for (let n = 0; n <= last; n++) {
        const at = sign > 0 ? n : last - n;
        let least = distance[at];
        if (least < 2) continue;
        const [x, y, z] = [at % bx, Math.floor(at / bx) % by, Math.floor(at / (bx * by))];
        for (const [dx, dy, dz] of before) {
          const [ox, oy, oz] = [x + sign * dx, y + sign * dy, z + sign * dz];
          if (ox < 0 || oy < 0 || oz < 0 || ox >= bx || oy >= by || oz >= bz) continue;
          least = Math.min(least, distance[(oz * by + oy) * bx + ox] + 1);
        }
        distance[at] = least;
      }
    };
    sweep(1);
    sweep(-1);
    for (let i = 0; i < distance.length; i++) this.table[4 * i + 1] = distance[i];
  }
}

/** Bricks of the cells whose bits are set in `packed`, eight a byte, the lowest bit first and x fastest. */
export function bricksOfBits(cells, packed, room) {
  const bricks = new Bricks(cells);
  const [nx, ny, nz] = cells;
  let bit = 0;
  for (let z = 0; z < nz; z++) {
    for (let y = 0; y < ny; y++) {
      for (let x = 0; x < nx; x++, bit++) if ((packed[bit >> 3] >> (bit & 7)) & 1) bricks.mark(x, y, z);
    }
  }
  return bricks.finish(room);
}
