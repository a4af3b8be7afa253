// The values of a field at every node of every brick, one slice of the atlas at a time.
//
// In a cell a plane's value is bilinear, a line's linear along the axis left over, so their product is trilinear; so is
// what the cells of an octree above one another add up to. A texture that is interpolated between nodes has therefore
// the same values everywhere, but for half precision.
precision highp float;
precision highp int;
precision highp sampler2D;
precision highp sampler2DArray;
precision highp usampler2D;

const int BRICK = 4;
const int NODES = 5;

uniform highp usampler2D owners;  // (slots along x, slots along y and z): which brick each is
uniform ivec3 atlas;              // slots along x, y and z
uniform int slice;

#if FIELD == 0
uniform ivec3 nodes;
uniform sampler2DArray planesXY, planesXZ, planesYZ;  // a layer a rank: density, three of appearance
uniform sampler2DArray lines;                         // (nodes, 3, ranks): lines z, y, x
uniform int level;
layout(std140) uniform Basis {
  vec4 basis[BASIS];  // of rank r, mode m, component c: seven from 7 (9 r + 3 m + c) on
};
#else
uniform highp usampler3D vertices;  // of every texel of the atlas, which vertex it is
uniform sampler2D totals;           // (4 ROW, ...): sixteen numbers a vertex
#endif

layout(location = 0) out vec4 out0;
#if PART != 0
layout(location = 1) out vec4 out1;
layout(location = 2) out vec4 out2;
layout(location = 3) out vec4 out3;
#endif

void main() {
  ivec3 texel = ivec3(gl_FragCoord.xy, slice);
  ivec3 slot = texel / NODES;
  uint owner = texelFetch(owners, ivec2(slot.x, slot.y + atlas.y * slot.z), 0).x;
  vec4 sum[4] = vec4[4](vec4(0), vec4(0), vec4(0), vec4(0));
  if (owner != 0u) {
#if FIELD == 0
    ivec3 brick = ivec3(owner & 1023u, (owner >> 10) & 1023u, (owner >> 20) & 1023u);
    ivec3 node = min(brick * BRICK + texel - slot * NODES, nodes - 1);
    for (int r = 0; r < level; r++) {
      vec4 xy = texelFetch(planesXY, ivec3(node.xy, r), 0) * texelFetch(lines, ivec3(node.z, 0, r), 0);
      vec4 xz = texelFetch(planesXZ, ivec3(node.xz, r), 0) * texelFetch(lines, ivec3(node.y, 1, r), 0);
      vec4 yz = texelFetch(planesYZ, ivec3(node.yz, r), 0) * texelFetch(lines, ivec3(node.x, 2, r), 0);
#if PART == 0
      sum[0].x += xy.x + xz.x + yz.x;
#else
      int at = 63 * r + 4 * (PART - 1);
#define ADD(value, k) { float v = value; int b = at + 7 * k; sum[0] += v * basis[b]; sum[1] += v * basis[b + 1]; \
                        sum[2] += v * basis[b + 2]; if (PART == 1) sum[3] += v * basis[b + 3]; }
      ADD(xy.y, 0) ADD(xy.z, 1) ADD(xy.w, 2)
      ADD(xz.y, 3) ADD(xz.z, 4) ADD(xz.w, 5)
      ADD(yz.y, 6) ADD(yz.z, 7) ADD(yz.w, 8)
#endif
    }
#else
    int vertex = int(texelFetch(vertices, texel, 0).x);
    ivec2 row = ivec2((vertex % ROW) * 4, vertex / ROW);
    sum[0] = texelFetch(totals, row, 0);
#if PART != 0
    for (int k = 1; k < 4; k++) sum[k] = texelFetch(totals, row + ivec2(k, 0), 0);
#endif
#endif
  }
  out0 = sum[0];
#if PART != 0
  out1 = sum[1];
  out2 = sum[2];
  out3 = sum[3];
#endif
}
