// A file that lies beside the page, read piece by piece.

import { Refused } from "./bytes.js";

const TRIES = 2; // more, where a connection breaks off

function decoded(address) {
  try {
    return decodeURIComponent(address);
  } catch {
    return address; // a name in bytes that are no text
  }
}

/** Reads a file by range requests; of a server that knows none, all of it at once. What has come of an answer can be
 * read while the rest is on its way. */
export class Remote {
  /**
   * @param address of the file, percent-encoded.
   * @param ends where its levels end, as far as that is known: what is asked for goes up to the next of these.
   */
  constructor(address, ends) {
    this.address = address;
    this.name = decoded(address); // for people
    this.ends = ends;
    this.begin = 0; // of what is kept, in the file
    this.bytes = new Uint8Array(0); // room for it
    this.count = 0; // bytes that are there
    this.coming = false; // whether more of them are on their way
    this.whole = false; // whether the server sends all that there is
  }

  /** Up to `count` bytes from `at`, not before those that were read last; fewer where the file ends. */
  async read(at, count) {
    for (let tries = 0; count; ) {
      if (this.failure) throw this.failure;
      if (at + count <= this.begin + this.count) break;
      if (this.coming) {
        await this.news;
      } else if (this.broke && tries++ === TRIES) {
        throw new Refused(`${this.name}: the connection broke off`);
      } else if (this.broke || !(this.whole || this.asked >= at + count)) {
        await this.ask(at, Math.max(at + count, this.ends.find((place) => place >= at + count) ?? 0));
      } else {
        break; // it ends before
      }
    }
    const from = Math.max(at - this.begin, 0);
    return this.bytes.subarray(Math.min(from, this.count), Math.min(from + count, this.count));
  }

  /** Ask for what lacks from `at` up to `end`, and begin to take it. */
  async ask(at, end) {
    const kept = this.bytes.subarray(Math.min(Math.max(at - this.begin, 0), this.count), this.count).slice();
    const from = at + kept.length;
    this.broke = false;
    let answer;
    try {
      answer = await fetch(this.address, { headers: { Range: `bytes=${from}-${end - 1}` }, cache: "no-cache" });
    } catch {
      const local = location.protocol === "file:";
      throw new Refused(
        local
          ? `a browser does not let a page read ${this.name} from the disk: put both on a web server, or make a page without --split`
          : `${this.name} cannot be reached`);
    }
    this.asked = end;
    if (answer.status === 416) return;
    if (answer.status !== 206 && answer.status !== 200) throw new Refused(`${this.name}: the server says ${answer.status}`);
    this.whole = answer.status === 200;
    const begins = /^bytes (\d+)-/.exec(answer.headers.get("Content-Range") ?? "");
    if (!this.whole && begins && Number(begins[1]) !== from) throw this.otherPart();
    this.begin = this.whole ? 0 : at;
    this.bytes = this.whole ? new Uint8Array(0) : kept;
    this.count = this.bytes.length;
    this.coming = true;
    this.tell();
    this.take(answer.body.getReader(), this.whole ? Infinity : end - at);
  }

  /** Take an answer piece by piece, `most` bytes with those that are there. */
  async take(reader, most) {
    try {
      for (;;) {
        const { done, value } = await reader.read();
        if (done) break;
        if (this.count + value.length > most) {
          this.failure = this.otherPart();
          reader.cancel().catch(() => {});
          break;
        }
        this.add(value);
        this.tell();
      }
    } catch {
      this.broke = true;
    }
    this.coming = false;
    this.tell();
  }

  add(piece) {
    if (this.count + piece.length > this.bytes.length) {
      const room = new Uint8Array(Math.max(2 * this.bytes.length, this.count + piece.length));
      room.set(this.bytes.subarray(0, this.count));
      this.bytes = room;
    }
    this.bytes.set(piece, this.count);
    this.count += piece.length;
  }

  /** Wake who waits for `news`, and let them wait for the next. */
  tell() {
    this.wake?.();
    this.news = new Promise((go) => (this.wake = go));
  }

  otherPart() {
    return new Refused(`${this.name}: the server answers with another part than was asked for`);
  }
}
