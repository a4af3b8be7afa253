"""Lenses: where a ray that enters a camera meets its image, and the ray that belongs to a place in the image.

Plain numpy. Coordinates are those of computer vision: x right, y down, z forward; a place in the image is given as
((u - cx) / fx, (v - cy) / fy), so that a lens knows no size of image. The models are OpenCV's (``calib3d`` and its
``fisheye``), and those that COLMAP adds to them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt

Float64Array = npt.NDArray[np.float64]
Projection = Literal["perspective", "fisheye", "field_of_view"]

ITERATIONS = 30
"""Of Newton's method, at most; lenses of cameras take four to eight."""
EXACT = 1e-9
"""Of the image plane's unit, the focal length: nearer than that an iteration ends."""
UNINVERTED = 1e-4
"""Farther off than that a place in the image has no ray: the lens folds over there."""
NEARLY_STRAIGHT = 1e-8


@dataclass(frozen=True)
class Lens:
    """One lens. Numbers that are 0 change nothing.

    Attributes:
        projection: "perspective": a pinhole with distortion, seen in the plane z = 1. "fisheye": the place in the image
            follows the angle to the axis instead. "field_of_view": Devernay and Faugeras 2001, with ``radial[0]`` as
            omega.
        radial: k1 to k6. Perspective: (1 + k1 r^2 + k2 r^4 + k3 r^6) / (1 + k4 r^2 + k5 r^4 + k6 r^6). Fisheye: the
            angle t becomes t (1 + k1 t^2 + k2 t^4 + k3 t^6 + k4 t^8), and k5, k6 are not used.
        tangential: p1, p2 (Brown 1966).
        prism: s1 to s4 (Weng 1992): x gains s1 r^2 + s2 r^4, y gains s3 r^2 + s4 r^4.
    """

    projection: Projection = "perspective"
    radial: tuple[float, float, float, float, float, float] = (0.0, 0.0, 0.0, 0.0, 0.0, 0.0)
    tangential: tuple[float, float] = (0.0, 0.0)
    prism: tuple[float, float, float, float] = (0.0, 0.0, 0.0, 0.0)

    @property
    def is_pinhole(self) -> bool:
        """Whether it changes nothing."""
        return self.projection == "perspective" and not any((*self.radial, *self.tangential, *self.prism))

    def numbers(self) -> Float64Array:
        """All that it is, (13,): which projection, and its numbers."""
        return np.array([get_args(Projection).index(self.projection), *self.radial, *self.tangential, *self.prism])

    def image(self, directions: npt.ArrayLike) -> Float64Array:
        """Places in the image (n, 2) of what is seen in ``directions`` (n, 3), of any length.

        NaN for what no such lens shows: behind a perspective camera, or straight behind a fisheye.
        """
        x, y, z = np.asarray(directions, np.float64).T
        across = np.hypot(x, y)
        with np.errstate(divide="ignore", invalid="ignore"):
            if self.projection == "perspective":
                ideal = np.stack([x, y]) / np.where(z > 0, z, np.nan)
            elif self.projection == "fisheye":
                angle = np.arctan2(across, z)
                ideal = np.stack([x, y]) * np.where(across > NEARLY_STRAIGHT * np.abs(z), angle / across, 1 / z)
            else:
                omega = self.radial[0]
                bent = np.arctan2(2 * across * np.tan(omega / 2), z) / omega if omega else across / z
                ideal = np.stack([x, y]) * np.where(across > NEARLY_STRAIGHT * np.abs(z), bent / across, 1 / z)
        if self.projection == "field_of_view":
            return ideal.T
        return self._distorted(ideal).T

    def directions(self, places: npt.ArrayLike) -> Float64Array:
        """Unit directions (n, 3) of the rays that belong to places in the image (n, 2): the inverse of :meth:`image`.

        By Newton's method. NaN where the lens has no inverse: beyond the radius at which its distortion folds over.
        """
        wanted = np.asarray(places, np.float64).T
        if self.projection == "field_of_view":
            ideal = wanted
        else:
            ideal = self._undistorted(wanted)
        radius = np.hypot(*ideal)
        if self.projection == "perspective":
            found = np.stack([*ideal, np.ones_like(radius)])
        else:
            if self.projection == "fisheye":
                angle = radius
            else:
                omega = self.radial[0]
                turned = np.where(np.abs(radius * omega) < np.pi / 2, radius * omega, np.nan)
                angle = np.arctan(np.tan(turned) / (2 * np.tan(omega / 2))) if omega else np.arctan(radius)
            angle = np.where(angle < np.pi, angle, np.nan)
            scale = np.where(radius > NEARLY_STRAIGHT, np.sin(angle) / np.maximum(radius, NEARLY_STRAIGHT), 1.0)
            found = np.stack([*(ideal * scale), np.cos(angle)])
        return (found / np.linalg.norm(found, axis=0)).T

    def _distorted(self, ideal: Float64Array) -> Float64Array:
        """Where places (2, n) of an ideal lens come to be."""
        x, y = ideal
        k1, k2, k3, k4, k5, k6 = self.radial
        p1, p2 = self.tangential
        s1, s2, s3, s4 = self.prism
        q = x * x + y * y
        if self.projection == "fisheye":
            stretched = 1 + q * (k1 + q * (k2 + q * (k3 + q * k4)))
        else:
            stretched = (1 + q * (k1 + q * (k2 + q * k3))) / (1 + q * (k4 + q * (k5 + q * k6)))
        return np.stack(
            [
                x * stretched + 2 * p1 * x * y + p2 * (q + 2 * x * x) + q * (s1 + q * s2),
                y * stretched + p1 * (q + 2 * y * y) + 2 * p2 * x * y + q * (s3 + q * s4),
            ]
        )

    def _slope(self, ideal: Float64Array) -> tuple[Float64Array, Float64Array, Float64Array, Float64Array]:
        """Derivatives of :meth:`_distorted`: dx'/dx, dx'/dy, dy'/dx, dy'/dy, each (n,)."""
        x, y = ideal
        k1, k2, k3, k4, k5, k6 = self.radial
        p1, p2 = self.tangential
        s1, s2, s3, s4 = self.prism
        q = x * x + y * y
        if self.projection == "fisheye":
            stretched = 1 + q * (k1 + q * (k2 + q * (k3 + q * k4)))
            by_q = k1 + q * (2 * k2 + q * (3 * k3 + q * 4 * k4))
        else:
            above, below = 1 + q * (k1 + q * (k2 + q * k3)), 1 + q * (k4 + q * (k5 + q * k6))
            stretched = above / below
            by_q = (k1 + q * (2 * k2 + q * 3 * k3) - stretched * (k4 + q * (2 * k5 + q * 3 * k6))) / below
        prism_x, prism_y = s1 + 2 * q * s2, s3 + 2 * q * s4
        return (
            stretched + 2 * x * x * by_q + 2 * p1 * y + 6 * p2 * x + 2 * x * prism_x,
            2 * x * y * by_q + 2 * p1 * x + 2 * p2 * y + 2 * y * prism_x,
            2 * x * y * by_q + 2 * p1 * x + 2 * p2 * y + 2 * x * prism_y,
            stretched + 2 * y * y * by_q + 6 * p1 * y + 2 * p2 * x + 2 * y * prism_y,
        )

    def _undistorted(self, wanted: Float64Array) -> Float64Array:
        """The places (2, n) of an ideal lens that come to be ``wanted``; NaN where there are none before it folds."""
        if not any((*self.radial, *self.tangential, *self.prism)):
            return wanted
        with np.errstate(all="ignore"):
            found = wanted.copy()
            for _ in range(ITERATIONS):
                miss = self._distorted(found) - wanted
                xx, xy, yx, yy = self._slope(found)
                determinant = xx * yy - xy * yx
                step = np.stack([yy * miss[0] - xy * miss[1], xx * miss[1] - yx * miss[0]]) / determinant
                # No farther at once than half of the radius: a long step could land behind the fold.
                length, longest = np.hypot(*step), 0.5 * np.hypot(*found) + 0.1
                found = found - step * np.minimum(1, longest / np.maximum(length, 1e-30))
                if np.nanmax(np.abs(miss), initial=0) < EXACT:
                    break
            xx, xy, yx, yy = self._slope(found)
            good = (np.abs(self._distorted(found) - wanted).max(axis=0) < UNINVERTED) & (xx * yy - xy * yx > 0)
        return np.where(good & ~self._folds_before(found), found, np.nan)

    def _folds_before(self, places: Float64Array) -> npt.NDArray[np.bool_]:
        """Whether distortion turns round somewhere between the axis and ``places`` (2, n): then two rays share a place
        in the image, and which one is meant nobody can say."""
        folded = np.zeros(places.shape[1], np.bool_)
        for share in np.linspace(0.1, 1.0, 10):
            xx, xy, yx, yy = self._slope(share * places)
            folded |= ~(xx * yy - xy * yx > 0)
        return folded
