"""The built-in scene ``orrery``: a brass clockwork of six planets, lit by the small sun in their middle."""

from __future__ import annotations

import math

from scenes.builtin.shapes import (
    Surface,
    capsule,
    clouds,
    hash3,
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

BRASS, WALNUT, SUN, SATURN_RING, BAND, STEEL, PLANETS = 1, 2, 3, 4, 5, 6, 10
SUN_AT = (0.0, 0.0, 0.10)
SUN_RADIUS = 0.25
MERCURY, VENUS, EARTH, JUPITER, SATURN, NEPTUNE = range(6)
# cosine and sine of where each planet stands, distance from the axis, radius, z of its arm
ORBITS = [
    (math.cos(math.radians(angle)), math.sin(math.radians(angle)), reach, radius, arm)
    for angle, reach, radius, arm in (
        (20, 0.44, 0.060, -0.20),
        (140, 0.60, 0.095, -0.24),
        (262, 0.78, 0.120, -0.28),
        (62, 1.00, 0.205, -0.32),
        (186, 0.98, 0.155, -0.36),
        (318, 1.10, 0.115, -0.40),
    )
]
HOOP = 1.36  # radius of the great rings
HOOP_TILT = (math.cos(0.41), math.sin(0.41))  # the tilt of the ecliptic
SATURN_TILT = 0.42


@ti.func
def gear(p, radius, teeth, height):
    """A spoked wheel about z, ``teeth`` around."""
    flat = p.xy.norm()
    wave = ti.cos(teeth * ti.atan2(p.y, p.x))
    rim = radius + 0.018 * tm.clamp(2.5 * wave, -1.0, 1.0)
    q = mirror(mirror(abs(p.xy), ti.math.pi / 3), ti.math.pi / 6)
    hole = radius * 0.21 - vec2(q.x - radius * 0.56, q.y).norm()
    return slab(vec2(max(flat - rim, hole), abs(p.z) - height)) * 0.75 - 0.003


@ti.func
def planet_centre(p, c, s, reach):
    """``p`` relative to the planet at that place, x pointing outwards."""
    return vec3(p.x * c + p.y * s - reach, p.y * c - p.x * s, p.z - SUN_AT[2])


@ti.func
def saturn_ring(q):
    """``q`` relative to Saturn, in the frame of its tilted ring."""
    c, s = ti.cos(SATURN_TILT), ti.sin(SATURN_TILT)
    return vec3(q.x, c * q.y - s * q.z, s * q.y + c * q.z)


@ti.func
def distance(p):
    """The signed distance from ``p`` to the scene, and the number of the material there."""
    flat = p.xy.norm()
    best = hit(sphere(p - vec3(SUN_AT), SUN_RADIUS), SUN)

    walnut = slab(vec2(flat - 0.60, abs(p.z + 1.06) - 0.035)) - 0.025
    walnut = min(walnut, slab(vec2(flat - 0.44, abs(p.z + 0.965) - 0.03)) - 0.02)
    best = nearer(best, hit(walnut, WALNUT))

    girth = 0.036 + 0.05 * ti.exp(-(((p.z + 0.90) / 0.05) ** 2)) + 0.030 * ti.exp(-(((p.z + 0.68) / 0.035) ** 2))
    column = slab(vec2(flat - girth, abs(p.z + 0.52) - 0.44)) * 0.6
    brass = min(column, slab(vec2(flat - 0.50, abs(p.z + 1.0) - 0.012)) - 0.004)
    wheels = slab(vec2(flat - 0.62, abs(p.z + 0.54) - 0.10))
    if wheels > 0.08:
        brass = min(brass, wheels)
    else:
        brass = min(brass, gear(p + vec3(0.0, 0.0, 0.50), 0.42, 40.0, 0.016))
        brass = min(brass, gear(p + vec3(0.0, 0.0, 0.575), 0.27, 26.0, 0.016))
        brass = min(brass, gear(p + vec3(-0.36, -0.22, 0.575), 0.135, 14.0, 0.016))
    side = vec3(p.x - 0.36, p.y - 0.22, p.z + 0.74)
    best = nearer(best, hit(slab(vec2(side.xy.norm() - 0.014, abs(side.z) - 0.21)), STEEL))

    q = mirror(abs(p.xy), ti.math.pi / 4)  # four legs carry the band
    leg = vec3(q.x, q.y, p.z)
    brass = min(brass, capsule(leg, vec3(0.56, 0.0, -1.03), vec3(1.02, 0.0, -0.86), 0.020))
    brass = min(brass, capsule(leg, vec3(1.02, 0.0, -0.86), vec3(1.30, 0.0, -0.52), 0.016))
    brass = min(brass, sphere(leg - vec3(1.02, 0.0, -0.86), 0.034))
    best = nearer(best, hit(slab(vec2(abs(flat - 1.30) - 0.055, abs(p.z + 0.50) - 0.012)) - 0.004, BAND))
    c, s = ti.static(HOOP_TILT)
    brass = min(brass, torus(vec3(p.y, p.z, p.x), HOOP, 0.015))
    brass = min(brass, torus(vec3(p.x, c * p.y - s * p.z, s * p.y + c * p.z), HOOP - 0.035, 0.013))

    orbits = ti.Matrix(ORBITS)
    for index in range(6):  # at run time: unrolled, it compiles for half as long again
        reach, radius, arm = orbits[index, 2], orbits[index, 3], orbits[index, 4]
        at = planet_centre(p, orbits[index, 0], orbits[index, 1], reach)
        best = nearer(best, hit(sphere(at, radius), PLANETS + index))
        level = SUN_AT[2] - arm
        rod = vec3(at.x + reach - tm.clamp(at.x + reach, 0.0, reach), at.y, at.z + level).norm() - 0.012
        rod = min(rod, vec3(at.x, at.y, at.z - tm.clamp(at.z, -level, -radius)).norm() - 0.010)
        brass = min(brass, min(rod, sphere(at + vec3(0.0, 0.0, level), 0.026)))
        if index == EARTH:
            moon = at - vec3(0.10, 0.17, 0.06)
            best = nearer(best, hit(sphere(moon, 0.034), STEEL))
            brass = min(brass, capsule(at, vec3(0.0, 0.0, -0.16), vec3(0.10, 0.17, 0.03), 0.006))
        if index == SATURN:
            tilted = saturn_ring(at)
            rings = slab(vec2(abs(tilted.xy.norm() - 0.262) - 0.066, abs(tilted.z) - 0.003)) - 0.003
            best = nearer(best, hit(rings, SATURN_RING))
    return nearer(best, hit(brass, BRASS))


@ti.func
def grain_place(material, p, unit):
    """Where each material looks into the one noise (each call is compiled apart, so there are two)."""
    place = p * 6.0
    if material == WALNUT:
        place = vec3(p.x * 2.5 + 0.5 * ti.sin(p.y * 7.0), p.y * 22.0, p.z * 14.0)
    elif material == SUN:
        place = unit * 5.0
    elif material == STEEL:
        place = p * 30.0
    elif material == PLANETS + MERCURY:
        place = unit * 4.0
    elif material == PLANETS + EARTH:
        place = unit * 2.3 + 5.3
    elif material >= PLANETS:
        place = vec3(unit.xy * 2.0, unit.z * 8.0)
    return place


@ti.func
def planet_colour(index, unit, grain, weather):
    """The albedo of a planet at ``unit``, the direction from its centre."""
    colour = tm.mix(vec3(0.20, 0.18, 0.17), vec3(0.55, 0.49, 0.43), tm.smoothstep(0.3, 0.65, grain))
    wave, low, high = 0.0, vec3(0.0), vec3(0.0)
    if index == VENUS:
        wave, low, high = grain, vec3(0.52, 0.24, 0.05), vec3(0.86, 0.66, 0.32)
    elif index == EARTH:
        land = tm.smoothstep(0.46, 0.49, grain)
        ground = tm.mix(vec3(0.07, 0.26, 0.05), vec3(0.42, 0.32, 0.14), tm.smoothstep(0.5, 0.62, grain))
        ice = tm.smoothstep(0.80, 0.86, abs(unit.z) + 0.12 * grain)
        white = max(ice, 0.8 * tm.smoothstep(0.52, 0.66, weather))
        wave, low, high = white, tm.mix(vec3(0.01, 0.09, 0.36), ground, land), vec3(0.85)
    elif index == JUPITER:
        wobble = unit.z + 0.10 * (grain - 0.5)
        wave = 0.375 * ti.sin(wobble * 17.0) + 0.125 * ti.sin(wobble * 41.0) + 0.5
        low, high = vec3(0.42, 0.16, 0.06), vec3(0.80, 0.62, 0.40)
    elif index == SATURN:
        wave, low, high = ti.sin(unit.z * 14.0) * 0.5 + 0.5, vec3(0.52, 0.34, 0.13), vec3(0.80, 0.64, 0.36)
    elif index == NEPTUNE:
        wave, low, high = tm.smoothstep(0.25, 0.7, grain), vec3(0.01, 0.07, 0.40), vec3(0.10, 0.38, 0.70)
    if index != MERCURY:
        colour = tm.mix(low, high, wave)
    if index == JUPITER and unit.x > 0.0:
        spot = vec2(unit.y * 0.8 - 0.1, (unit.z + 0.34) * 1.7).norm()
        colour = tm.mix(vec3(0.52, 0.06, 0.02), colour, tm.smoothstep(0.20, 0.27, spot))
    return colour


@ti.func
def surface(p, normal, material, pixel):
    """What the scene looks like at ``p``; ``pixel`` is the width of a pixel there."""
    unit = (p - vec3(SUN_AT)) / SUN_RADIUS
    for index in ti.static(range(6)):
        if material == PLANETS + index:
            orbit = ti.static(ORBITS[index])
            unit = planet_centre(p, orbit[0], orbit[1], orbit[2]) / orbit[3]
    place = grain_place(material, p, unit)
    grain, weather = clouds(place, 4), noise(place * 3.1 + 31.0)
    look = Surface(albedo=vec3(0.5), glow=vec3(0.0), roughness=0.38, metal=0.0)
    if material == BRASS or material == BAND:
        age = tm.smoothstep(0.4, 0.8, grain)
        look.albedo = tm.mix(vec3(0.90, 0.62, 0.26), vec3(0.56, 0.36, 0.15), age)
        look.roughness, look.metal = 0.26 + 0.14 * age, 0.92
        if material == BAND and normal.z > 0.5:  # 72 divisions, every sixth of them long
            flat = p.xy.norm()
            turn = ti.atan2(p.y, p.x) / (2.0 * ti.math.pi) * 72.0
            away = abs(repeat(turn, 1.0)) * 2.0 * ti.math.pi * flat / 72.0
            start = 1.275 if ti.cast(ti.round(turn), ti.i32) % 6 == 0 else 1.305
            mark = line(away, 0.008, pixel) * tm.smoothstep(-0.5, 0.5, (flat - start) / pixel)
            mark = max(mark, line(flat - 1.262, 0.005, pixel))
            look.albedo *= 1.0 - 0.88 * mark
    elif material == WALNUT:
        look.albedo = tm.mix(vec3(0.30, 0.11, 0.035), vec3(0.09, 0.028, 0.010), tm.smoothstep(0.3, 0.65, grain))
        look.roughness = 0.30
    elif material == SUN:
        look.albedo = vec3(0.0)
        look.glow = tm.mix(vec3(1.15, 0.22, 0.015), vec3(2.2, 1.15, 0.22), tm.smoothstep(0.28, 0.66, grain))
        look.roughness = 0.9
    elif material == SATURN_RING:
        orbit = ti.static(ORBITS[SATURN])
        out = saturn_ring(planet_centre(p, orbit[0], orbit[1], orbit[2])).xy.norm()
        shade = hash3(ti.Vector([ti.cast(out * 110.0, ti.i32), 3, 5]))
        look.albedo = tm.mix(vec3(0.80, 0.64, 0.40), vec3(0.34, 0.24, 0.14), shade)
        look.albedo *= 1.0 - 0.8 * line(out - 0.278, 0.007, pixel)
        look.roughness = 0.5
    elif material == STEEL:
        look.albedo = tm.mix(vec3(0.30), vec3(0.60, 0.60, 0.62), grain)
        look.roughness, look.metal = 0.4, 0.3
    else:
        look.albedo = planet_colour(material - PLANETS, unit, grain, weather)
    return look


MODEL = Model(
    name="orrery",
    distance=distance,
    surface=surface,
    radius=1.5,
    scale=0.88,
    key_direction=(0.50, -0.55, 0.80),
    key_colour=(0.85, 0.82, 0.78),
    sky_colour=(0.20, 0.24, 0.32),
    ground_colour=(0.13, 0.11, 0.10),
    lamp=SUN_AT,
    lamp_colour=(0.85, 0.52, 0.22),
    lamp_radius=SUN_RADIUS + 0.03,
)
