"""How close two pictures are: PSNR, and SSIM after Wang et al. 2004.

Both take (H, W, 3) images with values in [0, 1], in plain numpy. The SSIM is the one the papers report: Gaussian
window, biased covariance, mean over channels and over the pixels whose window lies wholly inside the image.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

WINDOW = 11  # pixels; this and the three below are Wang et al. 2004, section III.B
SIGMA = 1.5  # pixels
K1 = 0.01
K2 = 0.03

Floats = NDArray[np.floating]


def psnr(a: Floats, b: Floats) -> float:
    """Return the peak signal-to-noise ratio in dB: -10 log10 of the mean squared difference.

    Args:
        a, b: images of one shape, usually (H, W, 3), peak value 1.

    Returns:
        Decibels; infinity where the images are equal.

    Raises:
        ValueError: the shapes differ, or there are no pixels.
    """
    _check_same(a, b)
    error = mean_squared_error(a, b)
    return -10.0 * math.log10(error) if error > 0.0 else math.inf


def mean_squared_error(a: Floats, b: Floats) -> float:
    """Return the mean of (a - b)^2, summed in double precision."""
    difference = np.subtract(a, b, dtype=np.float64).ravel()
    return float(difference @ difference) / difference.size


def ssim(a: Floats, b: Floats) -> float:
    """Return the mean structural similarity, 1 for equal images (Eq. 13, Wang et al. 2004).

    Args:
        a, b: (H, W, 3) images with values in [0, 1].

    Returns:
        The mean over channels and over the (H-10, W-10) windows inside the image; NaN where the image is smaller than
        the window in either direction.

    Raises:
        ValueError: the shapes differ, or are not (H, W, 3).
    """
    _check_same(a, b)
    if a.ndim != 3 or a.shape[2] != 3:
        raise ValueError(f"SSIM needs images of shape (H, W, 3), got {a.shape}")
    height, width, channels = a.shape
    if min(height, width) < WINDOW:
        return math.nan
    x = np.ascontiguousarray(a, np.float32).reshape(height, width * channels)
    y = np.ascontiguousarray(b, np.float32).reshape(height, width * channels)
    total = 0.0
    for start in range(0, height - WINDOW + 1, _STRIP):  # in strips that stay in the cache
        rows = slice(start, start + _STRIP + WINDOW - 1)
        total += float(_ssim_map(x[rows], y[rows], channels).sum(dtype=np.float64))
    return total / ((height - WINDOW + 1) * (width - WINDOW + 1) * channels)


_STRIP = 32  # rows of output at a time


def _ssim_map(x: Floats, y: Floats, channels: int) -> Floats:
    """Eq. 13 at every window of two (rows, width * channels) images."""
    c1, c2 = np.float32(K1**2), np.float32(K2**2)
    mean_x, mean_y = _blur(x, channels), _blur(y, channels)
    # Only the sum of the two variances is needed, so four blurs do instead of five.
    squares = mean_x * mean_x + mean_y * mean_y
    product = mean_x * mean_y
    variances = _blur(x * x + y * y, channels) - squares
    covariance = _blur(x * y, channels) - product
    result: Floats = (2 * product + c1) * (2 * covariance + c2) / ((squares + c1) * (variances + c2))
    return result


def _blur(image: Floats, channels: int) -> Floats:
    """Gaussian blur of a (rows, width * channels) image, without the border: ``WINDOW - 1`` rows and columns less."""
    return _blur_axis(_blur_axis(image, 0, 1), 1, channels)


def _blur_axis(image: Floats, axis: int, stride: int) -> Floats:
    """One direction of :func:`_blur`; the kernel is symmetric, so mirrored taps share a multiplication."""
    half = WINDOW // 2
    length = image.shape[axis] - (WINDOW - 1) * stride

    def tap(k: int) -> Floats:
        part = slice(k * stride, k * stride + length)
        return image[part] if axis == 0 else image[:, part]

    result: Floats = tap(half) * _KERNEL[half]
    pair = np.empty_like(result)
    for k in range(half):
        np.add(tap(k), tap(WINDOW - 1 - k), out=pair)
        pair *= _KERNEL[k]
        result += pair
    return result


def _gaussian() -> NDArray[np.float32]:
    offsets = np.arange(WINDOW) - WINDOW // 2
    weights = np.exp(-0.5 * (offsets / SIGMA) ** 2)
    return np.asarray(weights / weights.sum(), np.float32)


_KERNEL = _gaussian()


def _check_same(a: Floats, b: Floats) -> None:
    if a.shape != b.shape or a.size == 0:
        raise ValueError(f"the images must have one shape and at least one pixel, got {a.shape} and {b.shape}")
