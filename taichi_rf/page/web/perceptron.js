// The weights of a decoder, as taichi_rf/rendering/decoders/perceptrons.py stores them, packed for the shader.

import { numberToHalf } from "./bytes.js";

export const PERCEPTRONS = { small: { inputs: 24, hidden: 64 }, mlp: { inputs: 150, hidden: 128 } };

function sizes({ inputs, hidden }) {
  return [inputs * hidden, hidden, hidden * hidden, hidden, hidden * 3, 3];
}

/** What the base chunk holds of the decoder. */
export function decoderSchema(header) {
  const shape = PERCEPTRONS[header.decoder];
  if (!shape) return {};
  const count = sizes(shape).reduce((a, b) => a + b, 0);
  if (header.decoder_coding === "compact") return { decoder: ["u2", [count]], decoder_steps: ["f2", [6]] };
  return { [header.decoder]: ["f2", [count]] };
}

/** Weights and biases of the three layers, one after the other (Float32Array). */
export function weightsOf(header, arrays) {
  if (header.decoder_coding !== "compact") return arrays[header.decoder];
  const weights = new Float32Array(arrays.decoder.length);
  let at = 0;
  sizes(PERCEPTRONS[header.decoder]).forEach((count, run) => {
    for (const end = at + count; at < end; at++) {
      const number = arrays.decoder[at];
      weights[at] = (number & 1 ? -((number + 1) >> 1) : number >> 1) * arrays.decoder_steps[run];
    }
  });
  return weights;
}

/** Uniform buffers of the three layers, in half precision, as march.glsl reads them. */
export function weightBuffers(gl, kind, weights) {
  const { inputs, hidden } = PERCEPTRONS[kind];
  const [first, second] = [(inputs + 1) * hidden, (hidden + 1) * hidden];
  const last = new Float32Array(4 * hidden + 8); // rows of three become rows of four
  for (let row = 0; row <= hidden; row++) {
    for (let c = 0; c < 3; c++) last[4 * row + c] = weights[first + second + 3 * row + c];
  }
  return [weights.subarray(0, first), weights.subarray(first, first + second), last].map((numbers) => {
    const buffer = gl.createBuffer();
    gl.bindBuffer(gl.UNIFORM_BUFFER, buffer);
    gl.bufferData(gl.UNIFORM_BUFFER, Uint16Array.from(numbers, numberToHalf), gl.STATIC_DRAW);
    return buffer;
  });
}
