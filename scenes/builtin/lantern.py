"""The built-in scene ``lantern``: a six-sided brass lantern on a mosaic, its candle throwing the lattice as light."""

from __future__ import annotations

from scenes.builtin.shapes import (
    Surface,
    capsule,
    clouds,
    cylinder,
    ellipsoid,
    hash3,
    hit,
    line,
    mirror,
    nearer,
    noise,
    repeat,
    slab,
    smooth_union,
    sphere,
    ti,
    tm,
    torus,
    vec2,
    vec3,
)
from scenes.builtin.tracer import Model

BRASS, GLAZE, WAX, FLAME, MOSAIC, WICK = 1, 2, 3, 4, 5, 6
FLAME_AT = (0.0, 0.0, -0.16)
FLOOR = -1.02  # z of the mosaic's top
CORNER = 0.50  # from the axis to a post
EAVES, PEAK = 0.42, 1.0  # z of the roof's ends


@ti.func
def distance(p):
    """The signed distance from ``p`` to the scene, and the number of the material there."""
    flat = p.xy.norm()
    best = hit(slab(vec2(flat - 1.2, abs(p.z - FLOOR + 0.05) - 0.04)) - 0.01, MOSAIC)

    body = slab(vec2(flat - 0.92, abs(p.z - 0.14) - 1.17))
    if body > 0.1:
        best = nearer(best, hit(body, BRASS))
    else:
        q = mirror(mirror(abs(p.xy), ti.math.pi / 3), ti.math.pi / 6)  # one half of one of six sides
        across = q.x * 0.8660254 + q.y * 0.5  # from the axis towards the middle of a side
        along = abs(q.y * 0.8660254 - q.x * 0.5)  # from the middle of the side towards a post
        apothem = CORNER * 0.8660254

        plinth = slab(vec2(across - 0.54, abs(p.z + 0.90) - 0.035)) - 0.012
        plinth = min(plinth, slab(vec2(across - 0.48, abs(p.z + 0.82) - 0.05)) - 0.008)
        foot = ellipsoid(vec3(q.x - 0.52, q.y, p.z + 0.965), vec3(0.085, 0.085, 0.06))
        brass = smooth_union(plinth, foot, 0.04)
        post = vec2(q.x - CORNER, q.y).norm() - 0.030 - 0.010 * ti.exp(-((p.z + 0.19) ** 2) * 300.0)
        brass = min(brass, slab(vec2(post, abs(p.z + 0.19) - 0.6)) * 0.9)
        frame = slab(vec2(abs(across - apothem) - 0.018, abs(abs(p.z + 0.19) - 0.52) - 0.022))
        brass = min(brass, frame)
        diamond = 0.17
        diagonal = min(abs(repeat(along + p.z, diamond)), abs(repeat(along - p.z, diamond))) * 0.70710678
        lattice = vec2(diagonal, across - apothem).norm() - 0.011
        brass = min(brass, max(lattice, abs(p.z + 0.19) - 0.52))
        top = slab(vec2(across - 0.53, abs(p.z - 0.40) - 0.035)) - 0.008
        brass = min(brass, top)

        rise = tm.clamp((p.z - EAVES) / (PEAK - EAVES), 0.0, 1.0)
        girth = 0.05 + 0.66 * (1.0 - rise) ** 1.9 + 0.03 * (1.0 - rise) ** 8
        slope = (0.66 * 1.9 * (1.0 - rise) ** 0.9 + 0.24 * (1.0 - rise) ** 7) / (PEAK - EAVES)
        gentle = 1.0 / ti.sqrt(1.2 + slope * slope)  # from a distance along the horizontal to one along the normal
        tiles = 0.006 * abs(ti.sin(along * 52.0)) * (1.0 - rise)
        roof = slab(vec2((across - girth - tiles) * gentle, abs(p.z - 0.5 * (EAVES + PEAK)) - 0.5 * (PEAK - EAVES)))
        hip = slab(vec2((vec2(q.x - girth * 1.1547, q.y).norm() - 0.022) * gentle, abs(p.z - 0.72) - 0.29)) - 0.004
        tip = sphere(vec3(q.x - 0.85, q.y, p.z - 0.45), 0.04)
        brass = min(brass, min(hip, tip))
        finial = smooth_union(
            sphere(p - vec3(0.0, 0.0, 1.03), 0.085), cylinder(p - vec3(0.0, 0.0, 0.98), 0.12, 0.012), 0.03
        )
        ring = torus(vec3(p.x, p.z - 1.185, p.y), 0.085, 0.016)
        brass = min(brass, min(finial, ring))
        best = nearer(best, hit(brass, BRASS))
        best = nearer(best, hit(roof, GLAZE))

        wax = slab(vec2(flat - 0.165, abs(p.z + 0.55) - 0.23)) - 0.015
        drip = vec3(abs(p.x) - 0.10, p.y + 0.13 * ti.math.sign(p.x), p.z + 0.42)
        wax = smooth_union(wax, ellipsoid(drip, vec3(0.035, 0.035, 0.12)), 0.03)
        best = nearer(best, hit(wax, WAX))
        best = nearer(best, hit(capsule(p, vec3(0.0, 0.0, -0.34), vec3(0.004, 0.0, -0.25), 0.008), WICK))
        lick = p - vec3(FLAME_AT)
        swell = 0.062 * tm.clamp(1.0 - lick.z * 2.6, 0.25, 1.3)
        best = nearer(best, hit(ellipsoid(lick, vec3(swell, swell, 0.13)) * 0.8, FLAME))
    return best


@ti.func
def mosaic(p, pixel):
    """Rings of glazed tiles around a star, with pale grout."""
    radius = p.xy.norm()
    angle = ti.atan2(p.y, p.x)
    ring = ti.floor(radius / 0.12)
    count = ti.round(ring * 6.0 + 6.0)
    turn = (angle / (2.0 * ti.math.pi) + 0.5) * count + 0.5 * (ring % 2)
    tile = ti.floor(turn)
    pick = hash3(ti.cast(vec3(ring, tile % count, 7), ti.i32))
    colour = tm.mix(vec3(0.02, 0.16, 0.22), vec3(0.03, 0.34, 0.36), pick)
    if ring % 3 == 1:
        colour = tm.mix(vec3(0.50, 0.09, 0.03), vec3(0.62, 0.19, 0.04), pick)
    elif ring % 3 == 2:
        colour = tm.mix(vec3(0.56, 0.44, 0.27), vec3(0.70, 0.58, 0.38), pick)
    to_side = (0.5 - abs(turn - tile - 0.5)) * 2.0 * ti.math.pi * radius / count
    to_ring = 0.06 - abs(radius - (ring + 0.5) * 0.12)
    grout = line(min(to_side, to_ring), 0.007, pixel)
    if radius > 1.17 or p.z < FLOOR - 0.02:
        colour, grout = vec3(0.36, 0.31, 0.25), 0.0
    colour *= 0.85 + 0.3 * noise(p * 40.0)
    return vec2(grout, 0.0), tm.mix(colour, vec3(0.30, 0.27, 0.23), grout)


@ti.func
def surface(p, normal, material, pixel):
    """What the scene looks like at ``p``; ``pixel`` is the width of a pixel there."""
    look = Surface(albedo=vec3(0.5), glow=vec3(0.0), roughness=0.5, metal=0.0)
    if material == BRASS:
        age = tm.smoothstep(0.35, 0.75, clouds(p * 5.0, 3))
        look.albedo = tm.mix(vec3(0.86, 0.58, 0.22), vec3(0.46, 0.30, 0.13), age)
        look.roughness, look.metal = 0.30 + 0.15 * age, 0.9
    elif material == GLAZE:
        course = repeat(p.z, 0.052)
        shade = line(course - 0.02, 0.007, pixel) * 0.45
        look.albedo = tm.mix(vec3(0.015, 0.14, 0.15), vec3(0.03, 0.32, 0.27), clouds(p * 7.0, 3)) * (1.0 - shade)
        if normal.z < -0.5:
            look.albedo = vec3(0.18, 0.08, 0.03)
        look.roughness = 0.22
    elif material == WAX:
        look.albedo = vec3(0.82, 0.72, 0.55)
        look.glow = vec3(1.0, 0.42, 0.10) * 0.6 * ti.exp((p.z + 0.30) * 7.0)  # light that seeps through from the flame
        look.roughness = 0.45
    elif material == FLAME:
        height = tm.clamp((p.z - FLAME_AT[2]) / 0.13 * 0.5 + 0.5, 0.0, 1.0)
        look.albedo = vec3(0.0)
        look.glow = tm.mix(vec3(5.0, 2.6, 0.7), vec3(3.0, 0.8, 0.08), height)
        look.roughness = 1.0
    elif material == MOSAIC:
        grout, colour = mosaic(p, pixel)
        look.albedo = colour
        look.roughness = tm.mix(0.25, 0.8, grout.x)
    else:
        look.albedo = vec3(0.02)
    return look


MODEL = Model(
    name="lantern",
    distance=distance,
    surface=surface,
    radius=1.62,
    scale=0.82,
    key_direction=(0.55, -0.45, 0.75),
    key_colour=(0.95, 0.88, 0.78),
    sky_colour=(0.20, 0.24, 0.31),
    ground_colour=(0.13, 0.11, 0.10),
    lamp=FLAME_AT,
    lamp_colour=(0.75, 0.34, 0.10),
    lamp_radius=0.16,
)
