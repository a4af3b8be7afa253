// Rays of pixels, and the bricks that they go through.
precision highp float;
precision highp int;
precision highp sampler3D;
precision highp usampler3D;
precision highp sampler2DArray;

const int BRICK = 4;
const int NODES = 5;
const float PARALLEL = 1e-9;  // cells a step below which a ray does not move along an axis
const float ROUNDING = 1e-3;  // cells by which rounding may hide where a ray leaves

uniform mat3 axes;    // of the camera: right, up, backward
uniform vec3 eye;
uniform vec3 lens;    // pixels: focal length, half the width, half the height
uniform vec3 low, high;
uniform float near, far, stride;
uniform ivec3 cells;
uniform vec3 background;
uniform usampler3D table;   // see bricks.js
uniform sampler3D density;  // at the nodes of occupied bricks
uniform vec3 atlasSize;     // texels

out vec4 pixel;

vec3 pixelDirection() {
  return normalize(axes * vec3((gl_FragCoord.xy - lens.yz) / lens.x, -1.0));
}

// Entry and exit in a box, clamped to [t0, t1]; entry > exit where the ray misses.
vec2 interval(vec3 o, vec3 d, vec3 a, vec3 b, float t0, float t1) {
  vec3 safe = mix(d, vec3(1e-9), lessThan(abs(d), vec3(1e-9)));
  vec3 ta = (a - o) / safe;
  vec3 tb = (b - o) / safe;
  vec3 first = min(ta, tb);
  vec3 last = max(ta, tb);
  return vec2(max(t0, max(first.x, max(first.y, first.z))), min(t1, min(last.x, min(last.y, last.z))));
}

bool occupied(uvec4 brick) {
  return (brick.x & 0x80000000u) != 0u;
}

bool occupiedCell(uvec4 brick, ivec3 cell) {
  ivec3 inside = cell & 3;
  int bit = (inside.z << 4) | (inside.y << 2) | inside.x;
  return (((bit < 32 ? brick.z : brick.w) >> (bit & 31)) & 1u) != 0u;
}

// Where the atlas has the values at g, counted in cells, of a place in a brick.
vec3 inAtlas(uvec4 brick, ivec3 which, vec3 g) {
  vec3 slot = vec3(brick.x & 1023u, (brick.x >> 10) & 1023u, (brick.x >> 20) & 1023u);
  return (slot * float(NODES) + 0.5 + (g - vec3(which * BRICK))) / atlasSize;
}
