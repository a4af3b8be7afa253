// Named arrays as one block of bytes, the payload of a chunk: the twin of taichi_rf/coding/arrays.py.

import { Refused, halvesToFloats, inflate } from "./bytes.js";

const MAX_DIMENSIONS = 8;
const MAX_INFLATED = 2 ** 28;
const DEFLATE_LIMIT = 1032;
const STORED = 0;
const SORTED = 2;
const ITEM_BYTES = { f2: 2, f4: 4, u1: 1, u2: 2, u4: 4, i4: 4 };

/**
 * The arrays of a block, which must be exactly those that the schema names; half precision comes as Float32Array.
 *
 * @param data the bytes.
 * @param schema name -> [type, shape]; a shape of [-1] is any number of them, and those not deflated.
 * @param where named in messages.
 */
export async function unpackArrays(data, schema, where) {
  const view = new DataView(data.buffer, data.byteOffset, data.byteLength);
  let at = 0;
  const take = (count) => {
    if (count > data.length - at) throw new Refused(`${where} is damaged: its arrays are cut off`);
    at += count;
    return at - count;
  };
  const whole = (place) => view.getUint32(place, true) + view.getUint32(place + 4, true) * 2 ** 32;
  const arrays = {};
  const count = view.byteLength >= 2 ? view.getUint16(take(2), true) : take(2);
  for (let i = 0; i < count; i++) {
    const nameLength = data[take(1)];
    const start = take(nameLength);
    const name = String.fromCharCode(...data.subarray(start, start + nameLength));
    const head = take(12);
    const type = String.fromCharCode(data[head], data[head + 1]);
    const [form, dimensions, stored] = [data[head + 2], data[head + 3], whole(head + 4)];
    if (dimensions > MAX_DIMENSIONS || form > SORTED) throw new Refused(`${where} is damaged: array ${name} is malformed`);
    const shape = Array.from({ length: dimensions }, () => whole(take(8)));
    if (Object.hasOwn(arrays, name) || !Object.hasOwn(schema, name)) {
      throw new Refused(`${where} holds an array ${name} that does not belong there`);
    }
    const [wantedType, wantedShape] = schema[name];
    const free = wantedShape.length === 1 && wantedShape[0] === -1 && form === STORED && shape.length === 1;
    const expected = free ? shape : wantedShape;
    if (type !== wantedType || shape.length !== expected.length || shape.some((n, axis) => n !== expected[axis])) {
      throw new Refused(`${where}: array ${name} is ${type}[${shape}], expected ${wantedType}[${expected}]`);
    }
    const place = take(stored);
    let values = data.subarray(place, place + stored);
    const size = expected.reduce((product, n) => product * n, 1) * ITEM_BYTES[type];
    if (form !== STORED) {
      if (size > Math.min(MAX_INFLATED, DEFLATE_LIMIT * stored)) {
        throw new Refused(`${where}: array ${name} cannot be ${size} bytes long`);
      }
      values = await inflate(values, size, `${where}: array ${name}`);
    }
    if (values.length !== size) throw new Refused(`${where}: array ${name} has ${values.length} bytes, expected ${size}`);
    arrays[name] = typed(form === SORTED ? unsorted(values, ITEM_BYTES[type]) : values, type);
    if (type[0] === "f" && !arrays[name].every(Number.isFinite)) {
      throw new Refused(`${where}: '${name}' holds numbers that are not finite`);
    }
  }
  const missing = Object.keys(schema).find((name) => !Object.hasOwn(arrays, name));
  if (missing !== undefined) throw new Refused(`${where} lacks the array ${missing}`);
  if (at !== data.length) throw new Refused(`${where} is damaged: ${data.length - at} bytes follow its arrays`);
  return arrays;
}

/** Numbers of `width` bytes from their bytes sorted: every number's highest byte first, then every number's next. */
function unsorted(values, width) {
  const count = values.length / width;
  const bytes = new Uint8Array(values.length);
  for (let b = 0; b < width; b++) {
    const from = (width - 1 - b) * count;
    for (let i = 0; i < count; i++) bytes[i * width + b] = values[from + i];
  }
  return bytes;
}

/** Little-endian bytes as numbers. Every machine with a browser is little-endian. */
function typed(bytes, type) {
  if (type === "u1") return bytes.slice();
  const buffer = bytes.slice().buffer;
  if (type === "f2") return halvesToFloats(new Uint16Array(buffer));
  const kinds = { f4: Float32Array, u2: Uint16Array, u4: Uint32Array, i4: Int32Array };
  return new kinds[type](buffer);
}
