"""Sphere tracing of a signed distance scene, with light: one kernel for each scene.

Each pixel takes two samples, and five where they differ or a ray grazes an edge. The key light and a lamp inside the
scene cast soft shadows, the sky is dimmed by ambient occlusion, and glossy surfaces mirror a studio that is not there.
Sphere tracing: Hart 1996. Soft shadows and occlusion from distances: Evans 2006, Quilez 2010.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from scenes.builtin.shapes import ti, tm, vec2, vec3
from taichi_rf.kernels.rays import Camera

Colour = tuple[float, float, float]
vec4 = tm.vec4

EDGE_CONTRAST = 0.06  # samples of a pixel that differ by more are joined by three others
MAX_STEPS = 128
SHADOW_STEPS = 20
STUDIO = (-0.55, -0.35, 0.76)  # where the large soft light in reflections is


@dataclass(frozen=True)
class Model:
    """A scene as the tracer sees it.

    ``distance(p) -> (distance, material)`` and ``surface(p, normal, material, pixel) -> Surface`` are Taichi functions;
    ``radius`` bounds everything, about the origin; the world shows the model at ``scale``. ``lamp`` is a point light
    within, whose ``lamp_colour`` is the radiance at distance 1; rays towards it stop ``lamp_radius`` short.
    """

    name: str
    distance: Any
    surface: Any
    radius: float
    key_direction: Colour
    key_colour: Colour
    sky_colour: Colour
    ground_colour: Colour
    lamp: Colour = (0.0, 0.0, 0.0)
    lamp_colour: Colour = (0.0, 0.0, 0.0)
    lamp_radius: float = 0.1
    scale: float = 1.0


Render = Callable[[Camera], tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]]


def make_renderer(model: Model) -> Render:
    """A function from a camera to its premultiplied image (H, W, 4) and its z-depth (H, W), 0 where nothing is."""
    kernel = _make_kernel(model)

    def render(camera: Camera) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        image = np.zeros((camera.height, camera.width, 4), np.float32)
        depth = np.zeros((camera.height, camera.width), np.float32)
        pose = camera.pose.copy()
        pose[:, 3] /= model.scale
        kernel(pose, camera.fx, camera.fy, camera.cx, camera.cy, image, depth)
        return image, depth * np.float32(model.scale)

    return render


def _make_kernel(model: Model) -> Any:
    distance, surface = model.distance, model.surface
    radius, lamp_radius = model.radius, model.lamp_radius
    key = tuple(np.array(model.key_direction) / np.linalg.norm(model.key_direction))
    lamp_on = max(model.lamp_colour) > 0
    lights = 2 if lamp_on else 1

    @ti.func
    def studio(direction, roughness):
        """What a glossy surface mirrors: a bright horizon, a blue zenith, a large soft light."""
        blur = 0.08 + roughness
        up = tm.smoothstep(-blur, blur, direction.z)
        above = tm.mix(vec3(0.95, 0.95, 0.93), vec3(model.sky_colour) * 1.1, tm.smoothstep(0.0, 0.9, direction.z))
        light = direction.dot(vec3(STUDIO))
        box = tm.smoothstep(0.80 - blur * 0.8, 0.80 + blur * 0.5, light) * 1.6 / (1.0 + 2.0 * roughness)
        return tm.mix(vec3(model.ground_colour) * 0.7, above, up) + box

    @ti.func
    def march(origin, direction, start, end, pixel):
        """(t, material, grazed): the first surface, or t < 0; grazed when an edge passed within half a pixel."""
        t, steps, found, material, grazed, closest = start, 0, 0, 0.0, 0.0, 1e9
        while t < end and steps < MAX_STEPS and found == 0:
            here = distance(origin + direction * t)
            cone = t * pixel
            material = here.y
            if here.x < 0.05 * cone:
                found = 1
            else:
                if here.x > closest * 1.05 and closest < 0.75 * cone:
                    grazed = 1.0
                closest = here.x
                t += max(here.x * 0.95, 0.05 * cone)
            steps += 1
        return vec3(t if found == 1 or (steps == MAX_STEPS and closest < t * pixel) else -1.0, material, grazed)

    @ti.func
    def shadow(origin, direction, end, softness):
        """1 where light arrives from ``direction``, 0 in the umbra."""
        light, t, steps = 1.0, 0.012, 0
        while t < end and steps < SHADOW_STEPS and light > 0.004:
            here = distance(origin + direction * t).x
            light = min(light, softness * max(here, 0.0) / t)
            t += tm.clamp(here, 0.015, 0.30)
            steps += 1
        return light * light * (3.0 - 2.0 * light)

    @ti.func
    def gloss(normal, view, to_light, roughness, f0):
        """GGX highlight times the cosine (Walter et al. 2007), with Schlick's Fresnel term."""
        half = (view + to_light).normalized()
        a2 = roughness**4
        cosine = max(normal.dot(half), 0.0)
        spread = cosine * cosine * (a2 - 1.0) + 1.0
        fresnel = f0 + (1.0 - f0) * (1.0 - max(half.dot(view), 0.0)) ** 5
        return fresnel * (min(a2 / (spread * spread), 60.0) * 0.25 * max(normal.dot(to_light), 0.0))

    @ti.func
    def shade(p, view, material, width):
        normal, ambient = vec3(0.0), 0.0
        step = max(0.4 * width, 6e-4)
        for k in range(7):  # four corners of a tetrahedron for the normal, then three steps out for the occlusion
            out = 0.025 * 3.0 ** (k - 4)
            corner = vec3(1.0 if k % 2 == 1 else -1.0, 1.0 if k >= 2 else -1.0, 0.0)
            corner.z = corner.x * corner.y
            here = distance(p + (corner * step if k < 4 else normal * out)).x  # the only call: each is compiled apart
            if k < 4:
                normal += corner * here
            else:
                ambient += (1.0 - tm.clamp(here / out, 0.0, 1.0)) * 0.6 ** (k - 4)
            if k == 3:
                normal = normal.normalized()
        ambient = 1.0 - 0.95 * ambient / 1.96
        ambient *= ambient
        look = surface(p, normal, material, width)
        facing = max(normal.dot(view), 0.0)
        f0 = tm.mix(vec3(0.04), look.albedo, look.metal)
        base = look.albedo * (1.0 - look.metal)

        up = 0.5 + 0.5 * normal.z
        colour = look.glow + base * tm.mix(vec3(model.ground_colour), vec3(model.sky_colour), up) * ambient
        for light in range(lights):
            to_light, end, arriving = vec3(key), 2.5, vec3(model.key_colour)
            softness = 14.0
            if light == 1:
                offset = vec3(model.lamp) - p
                apart = offset.norm()
                to_light, end = offset / apart, apart - lamp_radius
                arriving = vec3(model.lamp_colour) / (0.06 + apart * apart)
                softness = 20.0
            cosine = normal.dot(to_light)
            if cosine > 0.0 and arriving.max() > 0.01:
                lit = shadow(p + normal * (2.0 * step), to_light, end, softness)
                colour += lit * arriving * (base * cosine + gloss(normal, view, to_light, look.roughness, f0))
        mirrored = 2.0 * normal.dot(view) * normal - view
        fresnel = f0 + (tm.max(vec3(1.0 - look.roughness), f0) - f0) * (1.0 - facing) ** 5
        colour += fresnel * studio(mirrored, look.roughness) * tm.mix(1.0, ambient, 0.85)
        mapped = colour * (2.51 * colour + 0.03) / (colour * (2.43 * colour + 0.59) + 0.14)  # ACES fit, Narkowicz 2015
        return tm.clamp(mapped, 0.0, 1.0) ** (1.0 / 2.2)

    @ti.kernel
    def render(
        pose: ti.types.ndarray(dtype=ti.f32, ndim=2),
        fx: ti.f32,
        fy: ti.f32,
        cx: ti.f32,
        cy: ti.f32,
        image: ti.types.ndarray(dtype=ti.f32, ndim=3),
        depth: ti.types.ndarray(dtype=ti.f32, ndim=2),
    ):
        for y, x in ti.ndrange(depth.shape[0], depth.shape[1]):
            origin = vec3(pose[0, 3], pose[1, 3], pose[2, 3])
            forward = vec3(-pose[0, 2], -pose[1, 2], -pose[2, 2])
            total, first, sample, samples = vec4(0.0), vec4(0.0), 0, 2
            while sample < samples:
                at = vec2(0.5)
                if sample > 0:  # four around the centre, opposite ones after each other
                    turn = ((sample - 1) // 2 + 2.0 * ((sample - 1) % 2)) * (ti.math.pi / 2) + 0.46
                    at += 0.40 * vec2(ti.cos(turn), ti.sin(turn))
                local = vec3((x + at.x - cx) / fx, -(y + at.y - cy) / fy, -1.0)
                direction = vec3(0.0)
                for row in ti.static(range(3)):
                    direction[row] = pose[row, 0] * local.x + pose[row, 1] * local.y + pose[row, 2] * local.z
                direction = direction.normalized()
                pixel = 1.0 / (fx * local.norm())
                middle = -origin.dot(direction)
                inside = radius * radius - (origin + direction * middle).norm_sqr()
                seen, grazed = vec4(0.0), 0.0
                if inside > 0.0:
                    reach = ti.sqrt(inside)
                    found = march(origin, direction, max(middle - reach, 0.0), middle + reach, pixel)
                    grazed = found.z
                    if found.x > 0.0:
                        p = origin + direction * found.x
                        seen = vec4(shade(p, -direction, found.y, found.x * pixel), 1.0)
                        if sample == 0:
                            depth[y, x] = found.x * direction.dot(forward)
                else:
                    if sample == 0:
                        samples = 1 if inside < -0.05 else 2
                total += seen
                if sample == 0:
                    first = seen
                if sample < 2 and (grazed > 0.0 or abs(seen - first).max() > EDGE_CONTRAST):
                    samples = 5
                sample += 1
            for channel in ti.static(range(4)):
                image[y, x, channel] = total[channel] / samples

    return render
