// WebGL2 in few words.

import { Refused } from "./bytes.js";
import { TooLarge } from "./limits.js";

/** A program of two shaders. Throws Refused with the driver's words where it does not compile. */
export function program(gl, fragment, defines = {}, vertex = QUAD) {
  const built = gl.createProgram();
  const head = Object.entries(defines).map(([name, value]) => `#define ${name} ${value}\n`).join("");
  for (const [kind, source] of [[gl.VERTEX_SHADER, vertex], [gl.FRAGMENT_SHADER, fragment]]) {
    const shader = gl.createShader(kind);
    gl.shaderSource(shader, `#version 300 es\n${head}${source}`);
    gl.compileShader(shader);
    gl.attachShader(built, shader);
  }
  gl.linkProgram(built);
  return { built, places: null };
}

/** Begin to use a program; `values` are its uniforms by name: numbers, arrays, or {int: ...}, {matrix: ...}. */
export function use(gl, shader, values) {
  if (!shader.places) {
    if (!gl.getProgramParameter(shader.built, gl.LINK_STATUS)) {
      const words = gl.getAttachedShaders(shader.built).map((part) => gl.getShaderInfoLog(part)).join(" ");
      throw new Refused(`a shader does not compile here: ${gl.getProgramInfoLog(shader.built)} ${words}`);
    }
    shader.places = {};
    const count = gl.getProgramParameter(shader.built, gl.ACTIVE_UNIFORMS);
    for (let i = 0; i < count; i++) {
      const { name, type } = gl.getActiveUniform(shader.built, i);
      const place = gl.getUniformLocation(shader.built, name);
      if (place) shader.places[name.replace("[0]", "")] = { place, type };
    }
  }
  gl.useProgram(shader.built);
  let unit = 0;
  for (const [name, { place, type }] of Object.entries(shader.places)) {
    const value = values[name];
    if (value === undefined) throw new Error(`uniform ${name} has no value`);
    if (type === gl.FLOAT) gl.uniform1f(place, value);
    else if (type === gl.FLOAT_VEC2) gl.uniform2fv(place, value);
    else if (type === gl.FLOAT_VEC3) gl.uniform3fv(place, value);
    else if (type === gl.FLOAT_MAT3) gl.uniformMatrix3fv(place, false, value);
    else if (type === gl.INT) gl.uniform1i(place, value);
    else if (type === gl.INT_VEC3) gl.uniform3iv(place, value);
    else {
      gl.activeTexture(gl.TEXTURE0 + unit);
      gl.bindTexture(value.target, value.texture);
      gl.uniform1i(place, unit++);
    }
  }
}

/**
 * A texture of one level: {target, texture}. `linear` asks for interpolation; edges are repeated. Throws TooLarge where
 * the graphics have not the memory.
 */
export function texture(gl, target, format, size, { linear = false, data = null, layout = null } = {}) {
  const made = { target, texture: gl.createTexture(), size };
  gl.bindTexture(target, made.texture);
  if (target === gl.TEXTURE_2D) gl.texStorage2D(target, 1, format, ...size);
  else gl.texStorage3D(target, 1, format, ...size);
  if (gl.getError() === gl.OUT_OF_MEMORY) {
    gl.deleteTexture(made.texture);
    throw new TooLarge("its graphics have not the memory for it");
  }
  const filter = linear ? gl.LINEAR : gl.NEAREST;
  for (const [name, value] of [
    [gl.TEXTURE_MIN_FILTER, filter], [gl.TEXTURE_MAG_FILTER, filter],
    [gl.TEXTURE_WRAP_S, gl.CLAMP_TO_EDGE], [gl.TEXTURE_WRAP_T, gl.CLAMP_TO_EDGE], [gl.TEXTURE_WRAP_R, gl.CLAMP_TO_EDGE],
  ]) gl.texParameteri(target, name, value);
  if (data) {
    gl.pixelStorei(gl.UNPACK_ALIGNMENT, 1);
    if (target === gl.TEXTURE_2D) gl.texSubImage2D(target, 0, 0, 0, ...size, ...layout, data);
    else gl.texSubImage3D(target, 0, 0, 0, 0, ...size, ...layout, data);
  }
  return made;
}

/** Draw over the whole viewport. */
export function quad(gl) {
  gl.drawArrays(gl.TRIANGLES, 0, 3);
}

const QUAD = `
void main() {
  gl_Position = vec4(vec2(gl_VertexID == 1 ? 3 : -1, gl_VertexID == 2 ? 3 : -1), 0, 1);
}`;
