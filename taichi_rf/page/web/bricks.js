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
    const brick = ((z >> 2) * this.size[1] + (y >> 2)) * this.size[0] + (x >> 2);
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
    const [row, slice] = [bx + 2, (bx + 2) * (by + 2)]; // with a margin, so that every brick has all its neighbours
    const distance = new Uint8Array(slice * (bz + 2)).fill(FARTHEST);
    const before = Int32Array.from({ length: 13 }, (_, n) => (n % 3) - 1 + ((Math.floor(n / 3) % 3) - 1) * row + (Math.floor(n / 9) - 1) * slice);
    const places = new Int32Array(bx * by * bz);
    let brick = 0;
    for (let z = 1; z <= bz; z++) {
      for (let y = 1; y <= by; y++) {
        for (let x = 1; x <= bx; x++, brick++) {
          places[brick] = z * slice + y * row + x;
          if (this.table[4 * brick]) distance[places[brick]] = 0;
        }
      }
    }
    for (let n = 0; n < brick; n++) nearer(distance, places[n], before, 1);
    for (let n = brick - 1; n >= 0; n--) nearer(distance, places[n], before, -1);
    for (let n = 0; n < brick; n++) this.table[4 * n + 1] = distance[places[n]];
  }
}

function nearer(distance, at, offsets, sign) {
  let least = distance[at];
  if (least < 2) return;
  for (let n = 0; n < offsets.length; n++) {
    const beside = distance[at + sign * offsets[n]] + 1;
    if (beside < least) least = beside;
  }
  distance[at] = least;
}

/** Bricks of the cells whose bits are set in `packed`, eight a byte, the lowest bit first and x fastest. */
export function bricksOfBits(cells, packed, room) {
  const bricks = new Bricks(cells);
  const [nx, ny, nz] = cells;
  const count = nx * ny * nz;
  for (let byte = 0; byte < packed.length; byte++) {
    if (!packed[byte]) continue;
    for (let cell = 8 * byte, left = packed[byte]; left && cell < count; cell++, left >>= 1) {
      if (!(left & 1)) continue;
      const line = Math.floor(cell / nx);
      bricks.mark(cell - line * nx, line % ny, Math.floor(line / ny));
    }
  }
  return bricks.finish(room);
}
