"""The decoders by the name of their kind, which is what model files and presets say."""

from typing import Any

from taichi_rf.core.device import BLOCK
from taichi_rf.core.errors import UserError
from taichi_rf.rendering.decoders.base import Decoder
from taichi_rf.rendering.decoders.perceptrons import MLP, Small
from taichi_rf.rendering.decoders.spherical_harmonics import SphericalHarmonics


class NoDecoder(Decoder):
    """Of a bare surface, which has no colours: it is shaded by its normals."""

    kind = "none"
    features = BLOCK

    def __init__(self, rows: int, rate: float = 0.0, seed: int | None = None) -> None:
        pass

    def forward(self, n: int, first: int, features: Any, rays: Any, directions: Any, colours: Any) -> None:
        raise TypeError("a bare surface has no colours")

    def adjoint(
        self, n: int, first: int, features: Any, rays: Any, directions: Any, colours: Any, d_colours: Any
    ) -> Any:
        raise TypeError("a bare surface has no colours")


DECODERS: dict[str, type[Decoder]] = {"sh": SphericalHarmonics, "mlp": MLP, "small": Small, "none": NoDecoder}


def make_decoder(kind: str, **arguments: Any) -> Decoder:
    """The decoder called ``kind``; UserError for an unknown one."""
    if kind not in DECODERS:
        raise UserError(f"unknown decoder '{kind}': choose one of {', '.join(DECODERS)}")
    return DECODERS[kind](**arguments)
