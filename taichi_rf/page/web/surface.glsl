// Where a ray meets a solid, by sphere tracing (Hart 1996), as in taichi_rf/sdf/sphere_tracing.py. Places are in the
// unit box; t counts world units from where the ray enters it.
uniform float side;  // of the box, along which distances are measured

const float NUDGE = 1e-3;
const float SMALLEST = 2.5e-7;
const float SHORTEST = 0.1;
const float REACH = 0.5;
const float BEYOND = 0.01;
const float UNKNOWN = 0.5;
const int MOST_STEPS = 256;
const int NARROWINGS = 5;

const vec3 CLAY = vec3(0.86, 0.80, 0.73);
const vec3 SKY = vec3(0.36, 0.40, 0.46);
const vec3 GROUND = vec3(0.20, 0.17, 0.15);
const vec3 LAMP = vec3(0.62, 0.60, 0.56);

vec3 size;
vec3 o, d;
float nudge;

ivec3 cellAt(vec3 u) {
  return clamp(ivec3(floor(u * size)), ivec3(0), cells - 1);
}

uvec4 brickOf(ivec3 cell) {
  return texelFetch(table, cell >> 2, 0);
}

// The distance in lengths of the box; 1 where there is no cell.
float distanceAt(vec3 u) {
  ivec3 cell = cellAt(u);
  uvec4 brick = brickOf(cell);
  if (!occupied(brick) || !occupiedCell(brick, cell)) return 1.0;
  return texture(density, inAtlas(brick, cell >> 2, clamp(u, 0.0, 1.0) * size)).x;
}

// The t at which the ray leaves the cells from `a` to before `b`; at most `beyond`.
float leaves(ivec3 a, ivec3 b, float beyond) {
  float t = beyond;
  for (int axis = 0; axis < 3; axis++) {
    if (abs(d[axis] * size[axis]) > 1e-6) {
      float face = float(d[axis] > 0.0 ? b[axis] : a[axis]);
      t = min(t, (face / size[axis] - o[axis]) / d[axis]);
    }
  }
  return t;
}

float onward(float leave, float t) {
  t = max(leave, t);
  return t + max(nudge, SMALLEST * abs(t));
}

int mostLooks() {
  return 4 * (cells.x + cells.y + cells.z);
}

// The first t from `t` on at which the ray is in an occupied cell; `end` or more if there is none.
float seek(float t, float end) {
  for (int looks = 0; looks < mostLooks() && t < end; looks++) {
    ivec3 cell = cellAt(o + d * t);
    uvec4 brick = brickOf(cell);
    if (!occupied(brick)) {
      int reach = int(brick.y) - 1;
      ivec3 which = cell >> 2;
      t = onward(leaves((which - reach) * BRICK, (which + reach + 1) * BRICK, end), t);
    } else if (occupiedCell(brick, cell)) {
      return t;
    } else {
      t = onward(leaves(cell, cell + 1, end), t);
    }
  }
  return max(t, end);
}

// The t at which the ray leaves the occupied cells that it is in at `t`; at most `target`.
float stay(float t, float target) {
  for (int looks = 0; looks < mostLooks() && t < target; looks++) {
    ivec3 cell = cellAt(o + d * t);
    uvec4 brick = brickOf(cell);
    if (!occupied(brick) || !occupiedCell(brick, cell)) return min(t - nudge, target);
    t = onward(leaves(cell, cell + 1, target), t);
  }
  return min(t, target);
}

float crossing(float t, float before, float beforeValue, float value) {
  return before + (t - before) * beforeValue / max(beforeValue - value, 1e-12);
}

void main() {
  vec3 seen = pixelDirection();
  size = vec3(cells);
  o = (eye - low) / (high - low);
  d = seen / (high - low);
  pixel = vec4(background, 1);
  vec2 inside = interval(o, d, vec3(0), vec3(1), near, far);
  if (inside.x >= inside.y) return;
  o += d * inside.x;
  float end = interval(o, d, vec3(0), vec3(1), 0.0, far - inside.x).y;
  vec3 crossed = abs(d * size);
  float cell = 1.0 / max(max(crossed.x, max(crossed.y, crossed.z)), 1e-6);
  nudge = NUDGE * cell;

  float t = seek(0.0, end);
  float before = 0.0;
  float beforeValue = -1.0;
  float left = -1.0;
  float value = 1.0;
  bool met = false;
  for (int k = 0; k < MOST_STEPS && t < end; k++) {
    value = distanceAt(o + d * t);
    if (value <= 0.0) {
      met = true;
      break;
    }
    before = t;
    beforeValue = value;
    float target = t + max(value * side, SHORTEST * cell);
    float leave = stay(t, min(target, end));
    if (leave < target && leave > t + 3.0 * nudge) {
      target = leave - nudge;
    } else if (leave < target) {
      left = t;
      beforeValue = -1.0;
      target = seek(leave + nudge, end);
    }
    t = target;
  }
  if (!met) return;
  if (beforeValue > 0.0) {
    for (int k = 0; k < NARROWINGS; k++) {
      float between = crossing(t, before, beforeValue, value);
      float found = distanceAt(o + d * between);
      if (found > 0.0) {
        before = between;
        beforeValue = found;
        value *= 0.5;
      } else {
        t = between;
        value = found;
        beforeValue *= 0.5;
      }
    }
    t = crossing(t, before, beforeValue, value);
  } else {
    float deeper = distanceAt(o + d * (t + BEYOND * cell));
    if (left >= 0.0 && value < deeper && deeper < UNKNOWN) t = left;
  }

  vec3 place = o + d * t;
  vec3 slope = vec3(0);
  for (int axis = 0; axis < 3; axis++) {
    float reach = REACH / size[axis];
    float span = 0.0;
    for (int sign = -1; sign <= 1; sign += 2) {
      vec3 beside = place;
      beside[axis] += float(sign) * reach;
      if (all(greaterThanEqual(beside, vec3(0))) && all(lessThanEqual(beside, vec3(1)))) {
        float there = distanceAt(beside);
        if (there < UNKNOWN) {
          slope[axis] += float(sign) * there;
          span += reach;
        }
      }
    }
    slope[axis] /= max(span, 1e-12);
  }
  slope /= high - low;
  float steepness = length(slope);
  vec3 normal = steepness > 1e-6 ? slope / steepness : -seen;
  vec3 light = GROUND + (0.5 + 0.5 * normal.y) * (SKY - GROUND) + max(-dot(normal, seen), 0.0) * LAMP;
  pixel = vec4(clamp(CLAY * light, 0.0, 1.0), 1);
}
