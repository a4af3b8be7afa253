// A file that lies beside the page, read piece by piece.

import { Refused } from "./bytes.js";

/** Reads a file by range requests; of a server that knows none, all of it at once. */
export class Remote {
  /**
   * @param address of the file.
   * @param ends where its levels end, as far as that is known: what is asked for goes up to the next of these.
   */
  constructor(address, ends) {
    this.address = address;
    this.ends = ends;
    this.begin = 0;
    this.bytes = new Uint8Array(0);
    this.received = 0;
  }

  /** Up to `count` bytes from `at`; fewer where the file ends. */
  async read(at, count) {
    const here = at >= this.begin && at + count <= this.begin + this.bytes.length;
    if (!here && !this.whole && count) {
      const kept = at >= this.begin && at < this.begin + this.bytes.length ? this.bytes.subarray(at - this.begin) : new Uint8Array(0);
      const from = at + kept.length;
      const end = Math.max(at + count, this.ends.find((place) => place >= at + count) ?? 0);
      const found = await this.fetched(from, end);
      if (!this.whole) {
        this.bytes = new Uint8Array(kept.length + found.length);
        this.bytes.set(kept);
        this.bytes.set(found, kept.length);
        this.begin = at;
      }
    }
    return this.bytes.subarray(Math.max(at - this.begin, 0), Math.max(at - this.begin, 0) + count);
  }

  async fetched(from, end) {
    let answer;
    try {
      answer = await fetch(this.address, { headers: { Range: `bytes=${from}-${end - 1}` }, cache: "no-cache" });
    } catch {
      const local = location.protocol === "file:";
      throw new Refused(
        local
          ? `a browser does not let a page read ${this.address} from the disk: put both on a web server, or make a page without --split`
          : `${this.address} cannot be reached`);
    }
    if (answer.status === 416) return new Uint8Array(0);
    if (answer.status !== 206 && answer.status !== 200) throw new Refused(`${this.address}: the server says ${answer.status}`);
    const bytes = new Uint8Array(await answer.arrayBuffer());
    this.received += bytes.length;
    if (answer.status === 200) {
      this.whole = true;
      this.begin = 0;
      this.bytes = bytes;
      return bytes;
    }
    const begins = /^bytes (\d+)-/.exec(answer.headers.get("Content-Range") ?? "");
    if (bytes.length > end - from || (begins && Number(begins[1]) !== from)) {
      throw new Refused(`${this.address}: the server answers with another part than was asked for`);
    }
    return bytes;
  }
}
