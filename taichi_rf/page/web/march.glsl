// What shines along a ray, added up: the samples of taichi_rf/kernels/march.py, weighed and coloured one by one.
const float STOP = 1e-4;  // transmittance under which a ray is finished

uniform float delta;      // of an optical depth: stride times the scale of density
uniform float shift;
uniform float threshold;  // samples of smaller weight get no colour
uniform vec2 focal;       // of normalised device coordinates
uniform int most;         // steps
#if DIRECT
uniform sampler2DArray planesXY, planesXZ, planesYZ, lines;  // see bake.glsl
uniform float longest;    // texels of lines
uniform int level;
layout(std140) uniform Basis { vec4 basis[BASIS]; };
#else
uniform sampler3D features0, features1, features2, features3;
#if DECODER != SMALL
uniform sampler3D features4, features5, features6;
#endif
#endif
#if DIRECT || DECODER != HARMONICS
#define PREVIEWS
uniform int quick;        // 1: one colour a ray; a preview
#endif

const float BEND = 2.0;

float softplus(float x) {
  return max(x, 0.0) + log(1.0 + exp(-abs(x)));
}

vec3 sigmoid(vec3 x) {
  return 1.0 / (1.0 + exp(-x));
}

void harmonics(vec3 d, out float y[9]) {
  y[0] = 0.28209479177387814;
  y[1] = -0.4886025119029199 * d.y;
  y[2] = 0.4886025119029199 * d.z;
  y[3] = -0.4886025119029199 * d.x;
  y[4] = 1.0925484305920792 * d.x * d.y;
  y[5] = -1.0925484305920792 * d.y * d.z;
  y[6] = 0.31539156525252005 * (2.0 * d.z * d.z - d.x * d.x - d.y * d.y);
  y[7] = -1.0925484305920792 * d.x * d.z;
  y[8] = 0.5462742152960396 * (d.x * d.x - d.y * d.y);
}

#if DECODER == SMALL
struct Features { vec4 f[4]; };
#else
struct Features { vec4 f[7]; };
#endif

// Of a place g, counted in cells, or where the atlas has it.
#if DIRECT
Features featuresAt(vec3 g, vec3 place) {
  Features sum;
  for (int i = 0; i < 7; i++) sum.f[i] = vec4(0);
  vec3 at = (g + 0.5) / vec3(cells + 1);
  vec3 along = (g + 0.5) / longest;
  for (int r = 0; r < level; r++) {
    float layer = float(r);
    vec3 xy = (texture(planesXY, vec3(at.xy, layer)) * texture(lines, vec3(along.z, 0.5 / 3.0, layer))).yzw;
    vec3 xz = (texture(planesXZ, vec3(at.xz, layer)) * texture(lines, vec3(along.y, 1.5 / 3.0, layer))).yzw;
    vec3 yz = (texture(planesYZ, vec3(at.yz, layer)) * texture(lines, vec3(along.x, 2.5 / 3.0, layer))).yzw;
    for (int c = 0; c < 3; c++) {
      int b = 63 * r + 7 * c;
      for (int i = 0; i < 7; i++) sum.f[i] += xy[c] * basis[b + i] + xz[c] * basis[b + 21 + i] + yz[c] * basis[b + 42 + i];
    }
  }
  return sum;
}
#elif DECODER == SMALL
Features featuresAt(vec3 g, vec3 p) {
  return Features(vec4[4](texture(features0, p), texture(features1, p), texture(features2, p), texture(features3, p)));
}
#else
Features featuresAt(vec3 g, vec3 p) {
  return Features(vec4[7](texture(features0, p), texture(features1, p), texture(features2, p), texture(features3, p),
                          texture(features4, p), texture(features5, p), texture(features6, p)));
}
#endif

#if DECODER == HARMONICS
vec3 colourOf(Features s, float y[9], vec3 d) {
  vec4 a = vec4(y[0], y[1], y[2], y[3]);
  vec4 b = vec4(y[4], y[5], y[6], y[7]);
  float red = dot(s.f[0], a) + dot(s.f[1], b) + s.f[2].x * y[8];
  float green = dot(s.f[2].yzw, vec3(y[0], y[1], y[2])) + dot(s.f[3], vec4(y[3], y[4], y[5], y[6])) +
                dot(s.f[4].xy, vec2(y[7], y[8]));
  float blue = dot(s.f[4].zw, vec2(y[0], y[1])) + dot(s.f[5], vec4(y[2], y[3], y[4], y[5])) +
               dot(s.f[6].xyz, vec3(y[6], y[7], y[8]));
  return sigmoid(vec3(red, green, blue));
}
#else
// A perceptron: INPUTS -> HIDDEN -> HIDDEN -> 3 with biases. Weights in half precision, eight of them a uvec4: of every
// input its outputs one after the other, then the biases; of the last layer four a row, of which three count.
layout(std140) uniform First { uvec4 first[(INPUTS + 1) * HIDDEN / 8]; };
layout(std140) uniform Second { uvec4 second[(HIDDEN + 1) * HIDDEN / 8]; };
layout(std140) uniform Last { uvec4 last[HIDDEN / 2 + 1]; };

vec4 four(uint a, uint b) {
  return vec4(unpackHalf2x16(a), unpackHalf2x16(b));
}

vec3 perceptron(float x[INPUTS]) {
  vec4 h[HIDDEN / 4];
  vec4 g[HIDDEN / 4];
  for (int j = 0; j < HIDDEN / 8; j++) {
    uvec4 w = first[INPUTS * HIDDEN / 8 + j];
    vec4 a = four(w.x, w.y);
    vec4 b = four(w.z, w.w);
    for (int k = 0; k < INPUTS; k++) {
      w = first[k * HIDDEN / 8 + j];
      a += x[k] * four(w.x, w.y);
      b += x[k] * four(w.z, w.w);
    }
    h[2 * j] = max(a, 0.0);
    h[2 * j + 1] = max(b, 0.0);
  }
  for (int j = 0; j < HIDDEN / 8; j++) {
    uvec4 w = second[HIDDEN * HIDDEN / 8 + j];
    vec4 a = four(w.x, w.y);
    vec4 b = four(w.z, w.w);
    for (int k = 0; k < HIDDEN / 4; k++) {
      for (int c = 0; c < 4; c++) {
        w = second[(4 * k + c) * HIDDEN / 8 + j];
        a += h[k][c] * four(w.x, w.y);
        b += h[k][c] * four(w.z, w.w);
      }
    }
    g[2 * j] = max(a, 0.0);
    g[2 * j + 1] = max(b, 0.0);
  }
  vec3 total = four(last[HIDDEN / 2].x, last[HIDDEN / 2].y).xyz;
  for (int k = 0; k < HIDDEN / 4; k++) {
    uvec4 w = last[2 * k];
    total += g[k].x * four(w.x, w.y).xyz + g[k].y * four(w.z, w.w).xyz;
    w = last[2 * k + 1];
    total += g[k].z * four(w.x, w.y).xyz + g[k].w * four(w.z, w.w).xyz;
  }
  return sigmoid(total);
}

#if DECODER == SMALL
vec3 colourOf(Features s, float y[9], vec3 d) {
  float x[INPUTS];
  for (int k = 0; k < 15; k++) x[k] = s.f[(k + 1) / 4][(k + 1) % 4];
  for (int k = 0; k < 9; k++) x[15 + k] = y[k];
  return perceptron(x);
}
#else
vec3 colourOf(Features s, float y[9], vec3 d) {
  float x[INPUTS];
  for (int c = 0; c < 30; c++) {
    float value = c < 27 ? s.f[c / 4][c % 4] : d[c - 27];
    int at = c < 27 ? 30 + 2 * c : 138 + 2 * (c - 27);
    int cosines = c < 27 ? 54 : 6;
    float sine = sin(value);
    float cosine = cos(value);
    x[c] = value;
    x[at] = sine;
    x[at + 1] = 2.0 * sine * cosine;
    x[at + cosines] = cosine;
    x[at + cosines + 1] = 1.0 - 2.0 * sine * sine;
  }
  return perceptron(x);
}
#endif
#endif

#if SPACE == CONTRACTED
// A point of the world in cells (Eq. 10, mip-NeRF 360, by the L-infinity norm).
vec3 contracted(vec3 x) {
  float largest = max(max(abs(x.x), abs(x.y)), max(abs(x.z), 1.0));
  return (x * ((2.0 - 1.0 / largest) / largest * 0.25) + 0.5) * vec3(cells);
}
float uncurved(float u) {
  return u > BEND ? BEND * BEND / (2.0 * BEND - u) : u;
}
#endif

void main() {
  vec3 d = pixelDirection();
  vec3 o = eye;
#if SPACE == DEVICE
  if (d.z > -1e-6) { pixel = vec4(background, 1); return; }
  float begin = -(1.0 + o.z) / d.z;
  vec3 start = vec3(focal * (o.xy + begin * d.xy), -1.0);
  d = normalize(vec3(-focal * (d.xy / d.z) - start.xy, 2.0));
  o = start;
#endif
  vec3 seen = d;  // in the field's own coordinates where rays are straight there
  float y[9];
  harmonics(seen, y);
  vec3 colour = vec3(0);
  float transmittance = 1.0;
#ifdef PREVIEWS
  float covered = 0.0;
#if DIRECT
  float largest = 0.0;  // weight, and where that is
  vec3 densest = vec3(0);
#else
  Features mean;
  for (int i = 0; i < mean.f.length(); i++) mean.f[i] = vec4(0);
#endif
#endif
  vec3 size = vec3(cells);
#if SPACE == CONTRACTED
  int steps = int(ceil(clamp((far - near) / stride - 0.5, 0.0, float(most))));
#else
  vec2 t = interval(o, d, low, high, near, far);
  vec3 scale = size / (high - low);
  vec3 begun = (o + d * (t.x + 0.5 * stride) - low) * scale;
  vec3 each = d * stride * scale;
  bvec3 moves = greaterThan(abs(each), vec3(PARALLEL));
  vec3 inverse = 1.0 / mix(vec3(1), each, moves);
  int steps = int(ceil(clamp((t.y - t.x) / stride - 0.5, 0.0, float(most))));
#endif
  ivec3 before = ivec3(-1);
  uvec4 brick = uvec4(0);
  int k = 0;
  while (k < steps && transmittance > STOP) {
#if SPACE == CONTRACTED
    vec3 g = contracted(o + d * uncurved(near + (float(k) + 0.5) * stride));
#else
    vec3 g = begun + each * float(k);
#endif
    ivec3 cell = clamp(ivec3(g), ivec3(0), cells - 1);
    ivec3 which = cell >> 2;
    if (which != before) {
      brick = texelFetch(table, which, 0);
      before = which;
    }
    if (!occupied(brick)) {
#if SPACE != CONTRACTED
      float reach = float(brick.y);
      vec3 face = (vec3(which) + mix(vec3(1.0 - reach), vec3(reach), greaterThan(each, vec3(0)))) * float(BRICK);
      vec3 leave = mix(vec3(1e6), (face - g) * inverse - ROUNDING * abs(inverse), moves);
      k += int(max(min(leave.x, min(leave.y, leave.z)), 0.0));
#endif
    } else if (occupiedCell(brick, cell)) {
      vec3 place = inAtlas(brick, which, clamp(g, vec3(0), size));
      float feature = texture(density, place).x;
#if ACTIVATION == RELU
      float sigma = max(feature, 0.0);
#else
      float sigma = softplus(feature + shift);
#endif
      float keep = exp(-sigma * delta);
      float weight = transmittance * (1.0 - keep);
      transmittance *= keep;
      if (weight > threshold) {
#ifdef PREVIEWS
        if (quick != 0) {
          covered += weight;
#if DIRECT
          if (weight > largest) {
            largest = weight;
            densest = g;
          }
#else
          Features here = featuresAt(g, place);
          for (int i = 0; i < here.f.length(); i++) mean.f[i] += weight * here.f[i];
#endif
        } else
#endif
        colour += weight * colourOf(featuresAt(g, place), y, seen);
      }
    }
    k++;
  }
#ifdef PREVIEWS
  if (covered > 0.0) {
#if DIRECT
    Features mean = featuresAt(densest, vec3(0));
#else
    for (int i = 0; i < mean.f.length(); i++) mean.f[i] /= covered;
#endif
    colour = covered * colourOf(mean, y, seen);
  }
#endif
  pixel = vec4(clamp(colour + transmittance * background, 0.0, 1.0), 1);
}
