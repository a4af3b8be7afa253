// Whole numbers in the fewest bits: the decoder of taichi_rf/coding/entropy.py, bit by bit the same.
//
// Asymmetric numeral systems (Duda 2013) with 64 bits of state, words of 32 and probabilities of 24, as constriction's
// stack has them. The state is kept as two numbers below 2^32: products of 40 by 24 bits are taken in two halves.

import { Refused } from "./bytes.js";

const PRECISION = 2 ** 24;
const WORD = 2 ** 32;
const LARGEST = 32767;

/** The first number of every class, `parts` classes an octave, up to `largest`. */
export function octaves(parts, largest) {
  const firsts = Array.from({ length: 2 * parts }, (_, n) => n);
  for (;;) {
    const following = firsts[firsts.length - parts] * 2;
    if (following > largest) return firsts;
    firsts.push(following);
  }
}

const FIRSTS = octaves(4, LARGEST);
const WIDTHS = FIRSTS.map((first, i) => Math.round(Math.log2((FIRSTS[i + 1] ?? LARGEST + 1) - first)));
const WEIGHTS = octaves(4, 2 ** 24);

export const SYMBOLS = 2 * FIRSTS.length - 1;

/** One distribution for every context, of a table (contexts, SYMBOLS) of classes of weights. */
export class Models {
  constructor(table) {
    this.contexts = table.length / SYMBOLS;
    this.starts = new Uint32Array(this.contexts * (SYMBOLS + 1));
    this.guess = new Uint8Array(this.contexts * 256); // the symbol at place n 2^16, from which the search goes on
    this.known = new Uint8Array(this.contexts);
    for (let context = 0; context < this.contexts; context++) {
      this.build(context, table.subarray(context * SYMBOLS, (context + 1) * SYMBOLS));
    }
  }

  /** Every symbol has a share of one at least; what remains is shared by weight, rounded down from the left. */
  build(context, codes) {
    let sum = 0;
    for (const code of codes) {
      if (code >= WEIGHTS.length) throw new Refused("a table of frequencies is damaged");
      sum += WEIGHTS[code];
    }
    if (sum === 0) return;
    this.known[context] = 1;
    const scale = (PRECISION - SYMBOLS) / sum;
    const from = context * (SYMBOLS + 1);
    let running = 0;
    for (let symbol = 0; symbol < SYMBOLS; symbol++) {
      this.starts[from + symbol] = Math.floor(running * scale) + symbol;
      running += WEIGHTS[codes[symbol]];
    }
    this.starts[from + SYMBOLS] = PRECISION;
    for (let n = 0, symbol = 0; n < 256; n++) {
      while (this.starts[from + symbol + 1] <= n * 65536) symbol++;
      this.guess[context * 256 + n] = symbol;
    }
  }
}

export class Decoder {
  /** @param words Uint32Array, a stack: the last is taken first. */
  constructor(words, models) {
    if (words.length && words[words.length - 1] === 0) throw new Refused("a coded stream is damaged");
    this.words = words;
    this.models = models;
    this.left = words.length;
    this.state = new Uint32Array(2); // high and low
    for (let i = 0; i < 2 && this.left; i++) this.refill();
  }

  refill() {
    this.state[0] = this.state[1];
    this.state[1] = this.words[--this.left];
  }

  /** Take away a symbol that begins at `start` of 2^24 and has `share` of it. */
  advance(start, share) {
    const high = this.state[0];
    const low = this.state[1];
    // the state over 2^24, 40 bits, in two halves of 20
    const lower = (((high & 0xfff) << 8) | (low >>> 24)) * share + (low & 0xffffff) - start;
    const carry = Math.floor(lower / 1048576);
    const above = (high >>> 12) * share + carry; // the new state over 2^20
    const rest = Math.floor(above / 4096);
    this.state[0] = rest;
    this.state[1] = (above - rest * 4096) * 1048576 + (lower - carry * 1048576);
    if (rest === 0 && this.left) this.refill();
  }

  symbol(context) {
    const { starts, guess } = this.models;
    const place = this.state[1] & 0xffffff;
    const from = context * (SYMBOLS + 1);
    let symbol = guess[context * 256 + (place >>> 16)];
    while (starts[from + symbol + 1] <= place) symbol++;
    this.advance(starts[from + symbol], starts[from + symbol + 1] - starts[from + symbol]);
    return symbol;
  }

  uniform(bits) {
    const share = PRECISION / 2 ** bits;
    const value = Math.floor((this.state[1] & 0xffffff) / share);
    this.advance(value * share, share);
    return value;
  }

  /** The numbers of one call, by its contexts: first all symbols, context by context, then what classes leave open. */
  take(contexts) {
    const count = contexts.length;
    const ends = new Int32Array(this.models.contexts + 1);
    for (let i = 0; i < count; i++) ends[contexts[i] + 1]++;
    for (let c = 0; c < this.models.contexts; c++) {
      if (ends[c + 1] && !this.models.known[c]) {
        throw new Refused("a number is in a context that the table of frequencies lacks");
      }
      ends[c + 1] += ends[c];
    }
    const order = new Int32Array(count);
    for (let i = 0; i < count; i++) order[ends[contexts[i]]++] = i;
    const symbols = new Uint8Array(count);
    const wide = new Int32Array(count); // those whose class leaves something open
    let open = 0;
    const numbers = new Int32Array(count);
    let widest = 0;
    for (let j = 0; j < count; j++) {
      const symbol = this.symbol(contexts[order[j]]);
      const kind = (symbol + 1) >> 1;
      symbols[j] = symbol;
      numbers[j] = FIRSTS[kind];
      if (WIDTHS[kind]) wide[open++] = j;
      if (WIDTHS[kind] > widest) widest = WIDTHS[kind];
    }
    for (let bits = 1; bits <= widest; bits++) {
      for (let n = 0; n < open; n++) {
        if (WIDTHS[(symbols[wide[n]] + 1) >> 1] === bits) numbers[wide[n]] += this.uniform(bits);
      }
    }
    const found = new Int32Array(count);
    for (let j = 0; j < count; j++) found[order[j]] = symbols[j] & 1 ? -numbers[j] : numbers[j];
    return found;
  }

  /** Throws Refused if something is left. */
  finish() {
    if (this.left || this.state[0] || this.state[1]) throw new Refused("a coded stream is longer than what it codes");
  }
}
