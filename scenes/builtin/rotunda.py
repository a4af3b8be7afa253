"""The built-in scene ``rotunda``: a round marble temple under a copper dome, a lapis globe and a lamp deep inside."""

from __future__ import annotations

from scenes.builtin.shapes import (
    Surface,
    clouds,
    hit,
    line,
    mirror,
    nearer,
    noise,
    repeat,
    slab,
    sphere,
    ti,
    tm,
    torus,
    vec2,
    vec3,
)
from scenes.builtin.tracer import Model

MARBLE, FLOOR, COPPER, GOLD, LAPIS, LAMP, ROSE = 1, 2, 3, 4, 5, 6, 7
GROUND = -0.86  # z of the floor
COLUMNS = 0.86  # distance of the columns from the axis
LAMP_AT = (0.0, 0.0, 0.34)
GLOBE = (0.0, 0.0, -0.22)
GLOBE_RADIUS = 0.27
DOME = 0.50  # z of the dome's springing


@ti.func
def distance(p):
    """The signed distance from ``p`` to the scene, and the number of the material there."""
    flat = p.xy.norm()
    floor = slab(vec2(flat - 1.06, abs(p.z - GROUND + 0.06) - 0.05)) - 0.01
    steps = slab(vec2(flat - 1.16, abs(p.z - GROUND + 0.14) - 0.05)) - 0.006
    steps = min(steps, slab(vec2(flat - 1.27, abs(p.z - GROUND + 0.23) - 0.05)) - 0.006)
    best = nearer(hit(floor, FLOOR), hit(steps, MARBLE))

    q = mirror(mirror(abs(p.xy), ti.math.pi / 4), ti.math.pi / 8)  # half of one of eight bays, a column at angle 0
    ring = slab(vec2(abs(flat - COLUMNS) - 0.16, abs(p.z + 0.15) - 0.72))
    if ring > 0.08:
        best = nearer(best, hit(ring, MARBLE))
    else:
        c = vec2(q.x - COLUMNS, q.y)
        apart = c.norm()
        flute = 0.004 * ti.cos(12.0 * ti.atan2(c.y, c.x))
        shaft = slab(vec2(apart - 0.074 + 0.012 * (p.z + 0.3) - flute, abs(p.z + 0.28) - 0.54)) * 0.85
        low, high = abs(p.z - GROUND - 0.05), abs(p.z - 0.27)
        collar = slab(vec2(apart - 0.088, min(low, high) - 0.024)) - 0.014
        square = max(abs(c.x), abs(c.y)) - 0.105
        plinth = slab(vec2(square, min(abs(p.z - GROUND - 0.012), abs(p.z - 0.318)) - 0.016)) - 0.004
        marble = min(shaft, min(collar, plinth))
        turn = ti.atan2(q.y, q.x)
        baluster = vec2(flat - COLUMNS, repeat(turn - 0.0491, 0.09817) * flat).norm() - 0.012
        baluster -= 0.010 * ti.exp(-(((p.z - GROUND - 0.10) / 0.05) ** 2))
        marble = min(marble, slab(vec2(baluster, abs(p.z - GROUND - 0.14) - 0.14)) * 0.8)
        best = nearer(best, hit(marble, MARBLE))
        rail = slab(vec2(abs(flat - COLUMNS) - 0.026, abs(p.z - GROUND - 0.29) - 0.012)) - 0.006
        best = nearer(best, hit(rail, ROSE))

    crown = slab(vec2(abs(flat - COLUMNS) - 0.105, abs(p.z - 0.395) - 0.055)) - 0.004
    crown = min(crown, slab(vec2(abs(flat - COLUMNS) - 0.155, abs(p.z - 0.485) - 0.020)) - 0.006)
    tooth = abs(repeat(ti.atan2(p.y, p.x), 0.0981748) * flat) - 0.022
    dentil = max(slab(vec2(abs(flat - 0.98) - 0.024, abs(p.z - 0.447) - 0.016)), tooth)
    best = nearer(best, hit(min(crown, dentil), MARBLE))

    up = vec3(p.x, p.y, (p.z - DOME) * 1.15)
    rib = mirror(abs(q), ti.math.pi / 16)  # sixteen ribs
    edge = vec2(rib.x * 0.98079 + rib.y * 0.19509, rib.y * 0.98079 - rib.x * 0.19509)
    shell = (abs(up.norm() - 0.87) - 0.018) * 0.85
    dome = max(max(shell, 0.86 * (0.13 - flat)), DOME - p.z)
    best = nearer(best, hit(dome, COPPER))
    ribs = vec2(up.norm() - 0.892, min(abs(q.y), abs(edge.y))).norm() - 0.017
    gold = max(ribs * 0.85, max(0.86 * (0.13 - flat), DOME - p.z))
    gold = min(gold, torus(p - vec3(0.0, 0.0, 1.255), 0.135, 0.026))
    gold = min(gold, torus(p - vec3(0.0, 0.0, 0.515), 0.895, 0.020))
    hanger = vec2(p.x, abs(p.y) - 0.3 * tm.clamp(0.55 - p.z, 0.0, 0.2)).norm() - 0.007
    gold = min(gold, slab(vec2(hanger, abs(p.z - 0.83) - 0.42)))
    gold = min(gold, slab(vec2(abs(p.y) - 0.137, vec2(p.x, p.z - 1.255).norm() - 0.012)))
    gold = min(gold, torus(p - vec3(0.0, 0.0, 0.40), 0.062, 0.012))

    globe = p - vec3(GLOBE)
    gold = min(gold, torus(vec3(globe.x, globe.z, globe.y), 0.345, 0.012))
    gold = min(
        gold, torus(vec3(globe.x, 0.92 * globe.y - 0.39 * globe.z, 0.39 * globe.y + 0.92 * globe.z), 0.320, 0.010)
    )
    girth = 0.13 + 0.05 * ti.exp(-(((p.z + 0.80) / 0.06) ** 2)) + 0.04 * ti.exp(-(((p.z + 0.58) / 0.05) ** 2))
    pedestal = slab(vec2(flat - girth, abs(p.z + 0.70) - 0.16)) * 0.75
    best = nearer(best, hit(pedestal, ROSE))
    best = nearer(best, hit(sphere(globe, GLOBE_RADIUS), LAPIS))
    best = nearer(best, hit(sphere(p - vec3(LAMP_AT), 0.062), LAMP))
    return nearer(best, hit(gold, GOLD))


@ti.func
def surface(p, normal, material, pixel):
    """What the scene looks like at ``p``; ``pixel`` is the width of a pixel there."""
    place = p * 3.0
    if material == COPPER:
        place = vec3(p.xy * 5.0, p.z * 2.5)
    elif material == LAPIS:
        place = (p - vec3(GLOBE)) * 9.0
    grain, fine = clouds(place, 4), noise(place * 5.0)
    vein = 1.0 - tm.smoothstep(0.0, 0.035, abs(grain - 0.47))
    look = Surface(albedo=vec3(0.5), glow=vec3(0.0), roughness=0.45, metal=0.0)
    if material == MARBLE:
        look.albedo = tm.mix(vec3(0.70, 0.64, 0.55), vec3(0.44, 0.40, 0.36), 0.6 * vein + 0.2 * fine)
    elif material == FLOOR:
        flat, turn = p.xy.norm(), ti.atan2(p.y, p.x) / (2.0 * ti.math.pi)
        out = ti.log(flat / 1.02) / 0.2618  # rings that widen as their tiles do: a fan of curved rhombs
        row = ti.floor(out)
        peak = 0.5 - abs(out - row - 0.5)
        side = turn * 24.0 + 0.5 * row
        rhomb = ti.cast(ti.floor(side + peak) + ti.floor(side - peak), ti.i32)
        dark = tm.mix(vec3(0.05, 0.10, 0.09), vec3(0.12, 0.20, 0.17), fine)
        pale = tm.mix(vec3(0.70, 0.62, 0.50), vec3(0.50, 0.42, 0.34), 0.7 * vein)
        look.albedo = dark if rhomb % 2 == 0 else pale
        if flat > 1.02 or p.z < GROUND - 0.02 or flat < 0.24:
            look.albedo = tm.mix(vec3(0.46, 0.17, 0.12), vec3(0.62, 0.34, 0.26), vein)
        look.albedo *= 1.0 - 0.6 * line(flat - 1.02, 0.008, pixel)
        look.roughness = 0.16
    elif material == COPPER:
        streak = tm.smoothstep(0.32, 0.62, grain)
        look.albedo = tm.mix(vec3(0.10, 0.36, 0.30), vec3(0.22, 0.52, 0.42), streak)
        look.albedo = tm.mix(look.albedo, vec3(0.30, 0.13, 0.05), 0.6 * tm.smoothstep(0.55, 0.75, fine * grain * 2.0))
        course = repeat((p.z - DOME) * 1.15 - 0.06, 0.12)
        look.albedo *= 1.0 - 0.45 * line(course, 0.006, pixel)
        look.roughness = 0.38
        if normal.dot(vec3(p.x, p.y, p.z - DOME)) < 0.0:  # the inside is a night sky
            star = tm.smoothstep(0.80, 0.86, noise(p * 21.0))
            look.albedo = tm.mix(vec3(0.03, 0.07, 0.24), vec3(0.95, 0.75, 0.30), star)
    elif material == GOLD:
        look.albedo = tm.mix(vec3(1.0, 0.72, 0.28), vec3(0.75, 0.48, 0.16), grain)
        look.roughness, look.metal = 0.24, 0.95
    elif material == LAPIS:
        look.albedo = tm.mix(vec3(0.010, 0.035, 0.26), vec3(0.03, 0.14, 0.52), tm.smoothstep(0.3, 0.7, grain))
        look.albedo = tm.mix(look.albedo, vec3(0.85, 0.62, 0.22), tm.smoothstep(0.55, 0.95, vein) * 0.9)
        look.roughness = 0.14
    elif material == LAMP:
        look.albedo = vec3(0.0)
        look.glow = vec3(4.0, 2.4, 0.8)
    else:
        look.albedo = tm.mix(vec3(0.40, 0.13, 0.09), vec3(0.62, 0.34, 0.26), vein)
        look.roughness = 0.25
    return look


MODEL = Model(
    name="rotunda",
    distance=distance,
    surface=surface,
    radius=1.72,
    scale=0.77,
    key_direction=(0.60, -0.50, 0.70),
    key_colour=(0.98, 0.92, 0.82),
    sky_colour=(0.20, 0.24, 0.32),
    ground_colour=(0.15, 0.13, 0.11),
    lamp=LAMP_AT,
    lamp_colour=(0.55, 0.30, 0.10),
    lamp_radius=0.09,
)
