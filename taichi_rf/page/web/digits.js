// Bytes as the text that holds them in a page.

// printable characters but those that mean something in HTML and in strings
const DIGITS = 91;
const VALUES = new Uint8Array(128).fill(255);
for (let code = 0x21, digit = 0; code < 0x7f; code++) {
  if (!"&<\\".includes(String.fromCharCode(code))) VALUES[code] = digit++;
}

/** The bytes that a text stands for: 13 bits for two digits, 6 for a last one that is alone; see Python's `embedded`. null if
 * it stands for none. */
export function unembedded(text) {
  const alone = text.length % 2;
  const bytes = new Uint8Array(Math.floor((((text.length - alone) / 2) * 13 + alone * 6) / 8));
  let word = 0;
  let bits = 0;
  for (let i = 0, at = 0; i < text.length; i += 2) {
    const last = i + 1 === text.length;
    const digits = last ? [0, VALUES[text.charCodeAt(i)]] : [VALUES[text.charCodeAt(i)], VALUES[text.charCodeAt(i + 1)]];
    const value = digits[0] * DIGITS + digits[1];
    const width = last ? 6 : 13;
    if (!(digits[0] < DIGITS && digits[1] < DIGITS && value < 1 << width)) return null;
    word = (word << width) | value;
    bits += width;
    for (; bits >= 8 && at < bytes.length; at++) bytes[at] = word >> (bits -= 8);
    word &= (1 << bits) - 1;
  }
  return bytes;
}
