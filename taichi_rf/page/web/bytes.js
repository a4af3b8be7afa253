// Bytes: as text, checksums, half precision, deflate. A file is refused by throwing Refused, whose message is for people.

export class Refused extends Error {}

const CRC_TABLE = Uint32Array.from({ length: 256 }, (_, n) => {
  for (let k = 0; k < 8; k++) n = n & 1 ? 0xedb88320 ^ (n >>> 1) : n >>> 1;
  return n;
});

/** CRC-32 of zlib, unsigned. */
export function crc32(bytes) {
  let crc = ~0;
  for (const byte of bytes) crc = CRC_TABLE[(crc ^ byte) & 255] ^ (crc >>> 8);
  return ~crc >>> 0;
}

/** Half precision (Uint16Array of its bits) as Float32Array. */
export function halvesToFloats(bits) {
  const floats = new Float32Array(bits.length);
  const words = new Uint32Array(floats.buffer);
  for (let i = 0; i < bits.length; i++) {
    const exponent = bits[i] & 0x7c00;
    const fraction = bits[i] & 0x3ff;
    const sign = (bits[i] & 0x8000) << 16;
    if (!exponent) floats[i] = (sign ? -fraction : fraction) * 2 ** -24;
    else words[i] = sign | (exponent === 0x7c00 ? 0x7f800000 : (exponent << 13) + 0x38000000) | (fraction << 13);
  }
  return floats;
}

/** Inflate a zlib stream to exactly `size` bytes; more are never made, and anything else is refused. */
export async function inflate(data, size, where) {
  const damaged = new Refused(`${where} is damaged`);
  const stream = new Blob([data]).stream().pipeThrough(new DecompressionStream("deflate"));
  const reader = stream.getReader();
  const values = new Uint8Array(size);
  let filled = 0;
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) break;
      if (filled + value.length > size) throw damaged;
      values.set(value, filled);
      filled += value.length;
    }
  } catch {
    reader.cancel().catch(() => {});
    throw damaged;
  }
  if (filled !== size) throw damaged;
  return values;
}

const asFloat = new Float32Array(1);
const asBits = new Uint32Array(asFloat.buffer);

/** The 16 bits of half precision that are nearest to a number; what is too large becomes the largest. */
export function numberToHalf(number) {
  asFloat[0] = Math.max(-65504, Math.min(65504, number));
  const bits = asBits[0];
  const sign = (bits >>> 16) & 0x8000;
  const magnitude = bits & 0x7fffffff;
  if (magnitude < 0x38800000) return sign | Math.round(Math.abs(asFloat[0]) * 2 ** 24); // too small for an exponent
  const rounded = magnitude + 0xfff + ((magnitude >>> 13) & 1);
  return sign | ((rounded - 0x38000000) >>> 13);
}
