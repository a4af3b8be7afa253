// The progressive file (.trf), checked as taichi_rf/storage/container.py checks it: lengths before memory is taken,
// checksums before anything is believed.

import { Refused, crc32 } from "./bytes.js";
import { blake2b } from "./blake2b.js";

const MAGIC = [0x89, 0x54, 0x52, 0x46, 0x0d, 0x0a, 0x1a, 0x0a];
const NEWEST = 2;
const MAX_HEADER = 65536;
const MAX_LEVELS = 1024;
const MAX_CHUNK = 2 ** 30;
const PREAMBLE_BYTES = 24;
const FRAME_BYTES = 24;

/** A chunk is not as it was written: what stands before it can be shown all the same. */
export class Damaged extends Error {}

/** Bytes that are all here. */
export class Memory {
  constructor(bytes) {
    this.bytes = bytes;
  }
  /** Up to `count` bytes from `at`; fewer where the file ends. */
  async read(at, count) {
    return this.bytes.subarray(at, at + count);
  }
}

/** Walks a file from front to back. */
export class TrfReader {
  /** @param source has `read(at, count)`, which gives fewer bytes where the file ends. */
  constructor(source) {
    this.source = source;
    this.prefixBytes = [];
  }

  /** Read the header; throws Refused where this is no model. */
  async start() {
    const preamble = await this.source.read(0, PREAMBLE_BYTES);
    if (MAGIC.some((byte, i) => preamble[i] !== byte)) throw new Refused("this is not a .trf model");
    if (preamble.length < PREAMBLE_BYTES) throw new Refused("the file ends within its header");
    const view = viewOf(preamble);
    const [version, levels, length, crc] = [8, 12, 16, 20].map((at) => view.getUint32(at, true));
    if (version > NEWEST) {
      throw new Refused(`the model has format version ${version}, this page reads up to ${NEWEST}: make the page anew`);
    }
    if (length > MAX_HEADER) throw new Refused(`its header claims ${length} bytes, ${MAX_HEADER} are allowed`);
    const text = await this.source.read(PREAMBLE_BYTES, length);
    if (text.length < length) throw new Refused("the file ends within its header");
    if (crc !== crc32(joined(preamble.subarray(8, 20), text))) throw new Refused("its header is damaged (checksum)");
    if (version < 1 || levels < 1 || levels > MAX_LEVELS) {
      throw new Refused(`it claims version ${version} and ${levels} levels`);
    }
    try {
      this.header = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(text));
    } catch {
      throw new Refused("its header is no JSON");
    }
    if (typeof this.header !== "object" || this.header === null || Array.isArray(this.header)) {
      throw new Refused("its header is not a JSON object");
    }
    this.totalLevels = levels;
    this.at = PREAMBLE_BYTES + length;
    this.previous = blake2b(preamble, text);
    return this.header;
  }

  /** The payload of the next chunk; null where the file ends after the one before. Throws Damaged. */
  async next() {
    const index = this.prefixBytes.length;
    if (index === this.totalLevels) return null;
    const raw = await this.source.read(this.at, FRAME_BYTES);
    if (raw.length === 0) return null;
    if (raw.length < FRAME_BYTES) throw new Damaged("the file ends within it");
    const view = viewOf(raw);
    const named = String.fromCharCode(...raw.subarray(0, 4)) === "LEVL";
    if (!named || view.getUint32(4, true) !== index) throw new Damaged("its frame is not where it should be");
    const length = view.getUint32(8, true) + view.getUint32(12, true) * 2 ** 32;
    if (length > MAX_CHUNK) throw new Damaged(`it claims ${length} bytes, ${MAX_CHUNK} are allowed`);
    const payload = await this.source.read(this.at + FRAME_BYTES, length);
    if (payload.length < length) {
      throw new Damaged(`the file ends within it, after ${payload.length} of ${length} bytes`);
    }
    const checksum = blake2b(this.previous, raw.subarray(4, 16), payload);
    if (checksum.some((byte, i) => byte !== raw[16 + i])) throw new Damaged("checksum");
    this.previous = checksum;
    this.at += FRAME_BYTES + length;
    this.prefixBytes.push(this.at);
    return payload;
  }
}

function viewOf(bytes) {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

function joined(a, b) {
  const both = new Uint8Array(a.length + b.length);
  both.set(a);
  both.set(b, a.length);
  return both;
}
