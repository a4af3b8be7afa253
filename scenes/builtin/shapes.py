"""Taichi functions that the built-in scenes are modelled with: signed distances, folds, noise and patterns.

A signed distance may be too small (the tracer then takes more steps) but never too large (it would step through).
"""

from taichi_rf.core.backend import ti

tm = ti.math
vec2, vec3 = tm.vec2, tm.vec3


# What a point looks like before light falls on it; colours are linear.
Surface = ti.types.struct(albedo=vec3, glow=vec3, roughness=ti.f32, metal=ti.f32)


@ti.func
def hit(distance, material):
    """A distance together with the number of what is there."""
    return vec2(distance, material)


@ti.func
def nearer(a, b):
    """The union of two (distance, material)."""
    return b if b.x < a.x else a


@ti.func
def sphere(p, radius):
    """A ball about the origin."""
    return p.norm() - radius


@ti.func
def cylinder(p, radius, half_height):
    """About z, centred, solid."""
    return slab(vec2(p.xy.norm() - radius, abs(p.z) - half_height))


@ti.func
def slab(d):
    """The intersection of two perpendicular extents, exact outside: from a profile's two distances to one."""
    return min(max(d.x, d.y), 0.0) + vec2(max(d.x, 0.0), max(d.y, 0.0)).norm()


@ti.func
def capsule(p, a, b, radius):
    """A rod from ``a`` to ``b`` with round ends."""
    along = b - a
    at = tm.clamp((p - a).dot(along) / along.dot(along), 0.0, 1.0)
    return (p - a - along * at).norm() - radius


@ti.func
def torus(p, ring, tube):
    """About z."""
    return vec2(p.xy.norm() - ring, p.z).norm() - tube


@ti.func
def ellipsoid(p, radii):
    """A bound that is tight near the surface."""
    scaled = (p / radii).norm()
    return scaled * (scaled - 1.0) / max((p / (radii * radii)).norm(), 1e-6)


@ti.func
def smooth_union(a, b, radius):
    """The union of two distances, rounded where they meet over about ``radius``."""
    blend = max(radius - abs(a - b), 0.0) / radius
    return min(a, b) - blend * blend * radius * 0.25


@ti.func
def mirror(p, angle):
    """Reflect the xy plane's half beyond the line at ``angle`` onto the other half."""
    normal = vec2(-ti.sin(angle), ti.cos(angle))
    return p - 2.0 * max(0.0, p.dot(normal)) * normal


@ti.func
def turned(p, angle):
    """(x, y) rotated by ``angle``."""
    c, s = ti.cos(angle), ti.sin(angle)
    return vec2(c * p.x - s * p.y, s * p.x + c * p.y)


@ti.func
def repeat(x, period):
    """``x`` relative to the nearest multiple of ``period``."""
    return x - period * ti.round(x / period)


@ti.func
def hash3(cell):
    """A number in [0, 1) for an integer cell, the same on every device (integers only)."""
    mixed = ti.cast(cell.x, ti.u32) * ti.u32(0x8DA6B343)
    mixed ^= ti.cast(cell.y, ti.u32) * ti.u32(0xD8163841)
    mixed ^= ti.cast(cell.z, ti.u32) * ti.u32(0xCB1AB31F)
    mixed = (mixed ^ (mixed >> 15)) * ti.u32(0x2C1B3C6D)
    mixed = (mixed ^ (mixed >> 12)) * ti.u32(0x297A2D39)
    mixed ^= mixed >> 15
    return ti.cast(mixed >> 8, ti.f32) / 16777216.0


@ti.func
def noise(p):
    """Smooth value noise in [0, 1] with features of unit size."""
    base = ti.floor(p)
    f = p - base
    f = f * f * (3.0 - 2.0 * f)
    cell = ti.cast(base, ti.i32)
    total = 0.0
    for corner in range(8):
        at = ti.Vector([corner & 1, (corner >> 1) & 1, corner >> 2])
        weight = (f.x if at.x else 1.0 - f.x) * (f.y if at.y else 1.0 - f.y) * (f.z if at.z else 1.0 - f.z)
        total += weight * hash3(cell + at)
    return total


@ti.func
def clouds(p, octaves):
    """Fractal noise in [0, 1]."""
    total, weight, at = 0.0, 0.5, p
    for _ in range(octaves):
        total += weight * noise(at)
        at = at * 2.03 + 17.1
        weight *= 0.5
    return total


@ti.func
def line(x, half_width, blur):
    """1 within ``half_width`` of 0, 0 outside, softened over ``blur`` (the size of a pixel)."""
    return 1.0 - tm.smoothstep(half_width - 0.5 * blur, half_width + 0.5 * blur, abs(x))
