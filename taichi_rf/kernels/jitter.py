"""Where along its steps each ray is sampled: at random while training, in the middle for pictures."""

from taichi_rf.core.backend import ti


@ti.func
def uniform01(seed, index):
    """A number in [0, 1) that depends on nothing but its arguments (PCG hash, Jarzynski and Olano 2020)."""
    state = ti.cast(index, ti.u32) * ti.u32(747796405) + ti.cast(seed, ti.u32) * ti.u32(2891336453) + ti.u32(1)
    word = ((state >> ((state >> 28) + 4)) ^ state) * ti.u32(277803737)
    word = (word >> 22) ^ word
    return ti.cast(word >> 8, ti.f32) * (1.0 / 16777216.0)


@ti.func
def jitter_of(ray, seed):
    """Where in its step every sample of a ray stands."""
    jitter = 0.5
    if seed >= 0:
        jitter = uniform01(seed, ray)
    return jitter
