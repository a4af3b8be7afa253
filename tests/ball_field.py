"""A tensor that is a ball in closed form: what a mesh of it has to look like is known."""

from __future__ import annotations

import numpy as np

from taichi_rf.fields.vm.field import VMField
from taichi_rf.kernels.spaces import BOX, Space
from taichi_rf.rendering.decoders.registry import make_decoder
from taichi_rf.rendering.radiance_model import RadianceModel

SHIFT = -10.0
STEEP = 40.0


def ball_model(
    radius: float = 0.7, nodes: int = 65, *, half: float = 1.0, space: Space = BOX, shift: float = SHIFT,
    activation: str = "softplus",
) -> RadianceModel:  # fmt: skip
    """A model whose feature is shift + STEEP (radius^2 - |x|^2) at the nodes of the box of +-half: exact in a tensor.

    Its density is above softplus(shift), or relu(shift), inside the ball of ``radius`` and nowhere else. Its colour is
    red where x is above 0 and blue where it is below, from every side.
    """
    field = VMField(
        ranks=2, resolution=(nodes, nodes, nodes), density_shift=0.0, rows=1 << 12, seed=None, trains=False,
        activation=activation,
    )  # fmt: skip
    at = np.linspace(-half, half, nodes).astype(np.float32)
    factors = field.factors()
    (xy, _, _), (z, _, _) = factors[0]
    xy[..., 0], z[:, 0] = shift + STEEP * (radius**2 - at[:, None] ** 2 - at[None] ** 2), 1.0
    xy[..., 1], z[:, 1] = -STEEP, at**2
    (xy, _, _), (z, _, _) = factors[1]  # appearance
    xy[..., 0], z[:, 0] = np.sign(at)[None, :], 1.0
    field.set_factors(factors, field.resolution)
    basis = np.zeros((3, field.appearance_blocks * 16, 27), np.float32)
    basis[0, 0, 0], basis[0, 0, 18] = 20.0, -20.0  # the constant harmonics of red and of blue
    field.basis_value.from_numpy(basis.reshape(-1))
    field.published()
    return RadianceModel(
        field, make_decoder("sh", rows=1 << 12), box=np.array([[-half] * 3, [half] * 3], np.float32), near=0.1,
        far=10.0, distance_scale=1.0, space=space, metadata={"scene": "ball"},
    )  # fmt: skip
