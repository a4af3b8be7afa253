"""A model in fewer bytes than half precision: how precise its numbers are is chosen by what that costs in pixels.

What each number is worth is measured once (:mod:`taichi_rf.storage.sensitivity`); from it follows, for any precision
and every level, by how much the mean squared error of pixels will rise. Beside the error that the model has anyway, by
its PSNR on held-out views, that is a loss in dB: an estimate, made without the scene.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np

from taichi_rf.coding.headers import is_number
from taichi_rf.core.errors import UserError
from taichi_rf.core.sizes import megabytes
from taichi_rf.fields.base import Arrays, Coded
from taichi_rf.rendering.model import Model
from taichi_rf.rendering.radiance_model import RadianceModel
from taichi_rf.storage.model_file import coded_chunks
from taichi_rf.storage.sensitivity import BATCHES, sensitivities
from taichi_rf.storage.trf import prefix_bytes

Precision = Literal["fine", "small", "tiny"]
LOSSES: dict[str, float] = dict(zip(get_args(Precision), (0.03, 0.1, 0.4), strict=True))
"""dB that a precision may cost at the highest level, by estimate."""

LADDER = (0.01, 2.0)
"""dB at the highest level of the finest and of the coarsest precision that :meth:`Compactor.under` tries."""
STEPS = 14
"""How many it tries, the ratio of noise from one to the next always the same."""

TOGETHER = 2.0
"""By how much more the squared error rises than its derivatives say, because errors are not all independent. With it,
0.03, 0.1 and 0.4 dB were 0.045, 0.10 and 0.28 dB on test views of lego; 0.1 and 0.4 were 0.08 and 0.34 on lantern."""

UNKNOWN_PSNR = 30.0
"""dB of a level of which nobody has measured any."""

NOISE = (2.0**-22, 2.0**-7)
"""Least and most that is tried. Of lego at 128^3, "small" is 2^-16.7."""
HALVINGS = 14
"""Of that interval on a logarithmic scale: the loss is then met within some thousandths of what it is."""


@dataclass(frozen=True)
class Compact:
    """A model to one precision: what its file holds, the bytes of every prefix, and what each is expected to lose."""

    header: dict[str, Any]
    chunks: list[bytes]
    sizes: list[int]
    losses: list[float]
    """dB below the model that was coded, at level 1, 2, ..."""


class Compactor:
    """Codes one model to any precision.

    Args:
        model: its field at the highest level.
        batches: of rays, to measure what numbers are worth.

    Raises:
        UserError: its field has one precision only.
    """

    def __init__(self, model: Model, *, batches: int = BATCHES) -> None:
        if model.field.knows_space:
            model.field.coded(0.0, [], np.zeros(0))  # says why not, before rays are sent through it
        self.model = model
        assert isinstance(model, RadianceModel)  # a field that does not know its space has a density
        squares, fields = sensitivities(model, batches=batches), len(model.field.parameters())
        self.squares, self.decoder_squares = squares[:fields], squares[fields:]
        self.occupied = model.occupancy.to_numpy()
        levels = model.field.num_levels
        found = model.metadata.get("level_psnr")
        known = isinstance(found, list) and len(found) >= levels and all(map(_is_psnr, found[:levels]))
        earlier = model.metadata.get("coding_loss")
        fits = isinstance(earlier, list) and len(earlier) >= levels and all(map(_is_loss, earlier[:levels]))
        self.earlier: list[float] = [float(e) for e in earlier[:levels]] if earlier and fits else [0.0] * levels
        """dB that an earlier coding of the same model has cost."""
        self.psnr: list[float] | None = None
        """dB of level 1, 2, ... on held-out views, where that is known."""
        if found and known:
            self.psnr = [float(p) - e for p, e in zip(found, self.earlier)]

    def losing(self, loss: float | Precision) -> Compact:
        """The coarsest that is expected to lose no more than ``loss`` dB at the highest level."""
        return self._made(*self._coded(self._noise(LOSSES[loss] if isinstance(loss, str) else loss)))

    def ladder(self) -> list[Compact]:
        """Every precision that :meth:`under` tries, the finest first."""
        finest, coarsest = (self._noise(loss) for loss in LADDER)
        noises = np.geomspace(finest, coarsest, STEPS)
        return [self._made(*self._coded(float(noise))) for noise in noises]

    @property
    def rule(self) -> str:
        """How :meth:`under` chooses, in words."""
        if self.psnr is not None:
            return "the highest PSNR by estimate of all that fit"
        return "the most levels that fit (no PSNR is known to choose by)"

    def under(self, size: int) -> tuple[Compact, int]:
        """The best model of at most ``size`` bytes: a precision, and how many levels.

        Of all prefixes of all precisions of :meth:`ladder` that fit, that with the highest PSNR by estimate. Where no
        PSNR is known: the one with the most levels among those of precision "small" or better; among the others if
        there is none.

        Raises:
            UserError: none fits; it says what would.
        """
        tried = self.ladder()
        fitting = [(made, level) for made in tried for level, own in enumerate(made.sizes, 1) if own <= size]
        if not fitting:
            least, name = min(made.sizes[0] for made in tried), self.model.field.level_name
            raise UserError(
                f"--size: nothing of this model fits {megabytes(size)}; its {name} 1, as coarse as it can be, is"
                f" {least:,} bytes: give --size {-(-least // 1000)}kB or more, or train on a smaller grid"
            )
        return max(fitting, key=lambda pair: self._worth(*pair))

    def _worth(self, made: Compact, level: int) -> tuple[float, ...]:
        """What a prefix is ranked by."""
        loss = made.losses[level - 1]
        if self.psnr is not None:
            return (self.psnr[level - 1] - loss,)
        return (made.losses[-1] <= LOSSES["small"], level, -loss)

    def _noise(self, loss: float) -> float:
        """The most that is expected to lose no more than ``loss`` dB at the highest level."""
        low, high = NOISE
        for _ in range(HALVINGS):
            middle = (low * high) ** 0.5
            low, high = (middle, high) if self._losses(*self._coded(middle))[-1] <= loss else (low, middle)
        return low

    def _coded(self, noise: float) -> tuple[Coded, Arrays, float]:
        """The field, and the decoder's arrays with their error."""
        decoder = self.model.decoder.coded(noise, self.decoder_squares)
        return self.model.field.coded(noise, self.squares, self.occupied), *decoder

    def _losses(self, coded: Coded, decoder: Arrays, error: float) -> list[float]:
        before = 10 ** (-np.array(self.psnr or [UNKNOWN_PSNR] * len(coded.errors)) / 10)
        return [float(loss) for loss in 10 * np.log10(1 + TOGETHER * (coded.errors + error) / before)]

    def _made(self, coded: Coded, decoder: Arrays, error: float) -> Compact:
        losses = self._losses(coded, decoder, error)
        header, chunks = coded_chunks(self.model, coded, decoder)
        header["metadata"] |= {"coding_loss": [round(e + loss, 3) for e, loss in zip(self.earlier, losses)]}
        return Compact(header, chunks, prefix_bytes(header, [len(chunk) for chunk in chunks]), losses)


def _is_psnr(value: Any) -> bool:
    return is_number(value, 1e-3, 100)


def _is_loss(value: Any) -> bool:
    return is_number(value, 0, 100)
