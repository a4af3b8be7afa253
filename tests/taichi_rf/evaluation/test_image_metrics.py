"""PSNR and SSIM against closed forms and a slow twin that follows the paper's sums."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import NDArray

from taichi_rf.evaluation.image_metrics import psnr, ssim

Image = NDArray[np.float64]


def slow_ssim(a: Image, b: Image) -> float:
    """Wang et al. 2004, Eqs. 13-16: one window after another, in double precision."""
    offsets = np.arange(-5, 6)
    weights = np.exp(-(offsets[:, None] ** 2 + offsets[None, :] ** 2) / (2 * 1.5**2))
    weights /= weights.sum()
    values = []
    for y in range(5, a.shape[0] - 5):
        for x in range(5, a.shape[1] - 5):
            for channel in range(3):
                p = a[y - 5 : y + 6, x - 5 : x + 6, channel]
                q = b[y - 5 : y + 6, x - 5 : x + 6, channel]
                mean_p, mean_q = (weights * p).sum(), (weights * q).sum()
                variance_p = (weights * (p - mean_p) ** 2).sum()
                variance_q = (weights * (q - mean_q) ** 2).sum()
                covariance = (weights * (p - mean_p) * (q - mean_q)).sum()
                luminance = (2 * mean_p * mean_q + 1e-4) / (mean_p**2 + mean_q**2 + 1e-4)
                structure = (2 * covariance + 9e-4) / (variance_p + variance_q + 9e-4)
                values.append(luminance * structure)
    return float(np.mean(values))


def picture(height: int, width: int, seed: int) -> Image:
    """A smooth gradient, a white corner (as a composited background is) and noise of varying strength."""
    random = np.random.default_rng(seed)
    y, x = np.mgrid[0 : 1 : height * 1j, 0 : 1 : width * 1j]
    image = np.stack([x, y, 0.5 + 0.4 * np.sin(9 * x * y)], -1)
    image += 0.2 * x[..., None] * random.standard_normal((height, width, 3))
    image[: height // 3, : width // 3] = 1.0
    return np.clip(image, 0, 1)


@pytest.mark.parametrize(("height", "width"), [(11, 11), (11, 30), (43, 12), (50, 37), (75, 20)])
def test_ssim_agrees_with_the_slow_twin(height: int, width: int) -> None:
    a = picture(height, width, 0)
    for b in (picture(height, width, 1), np.clip(a + 0.01, 0, 1), a[::-1].copy(), np.zeros_like(a)):
        assert ssim(a.astype(np.float32), b.astype(np.float32)) == pytest.approx(slow_ssim(a, b), abs=2e-5)
        assert ssim(a, b) == pytest.approx(ssim(b, a), abs=1e-7)


def test_ssim_of_equal_images_is_one() -> None:
    for image in (picture(30, 40, 0), np.ones((20, 20, 3)), np.zeros((20, 20, 3))):
        assert ssim(image, image) == pytest.approx(1.0, abs=1e-6)


@pytest.mark.parametrize(("p", "q"), [(0.2, 0.7), (0.0, 1.0), (0.5, 0.5)])
def test_ssim_of_two_flat_images_is_the_luminance_term(p: float, q: float) -> None:
    flat = np.ones((400, 40, 3), np.float32)
    expected = (2 * p * q + 1e-4) / (p * p + q * q + 1e-4)
    assert ssim(flat * np.float32(p), flat * np.float32(q)) == pytest.approx(expected, abs=2e-4)


def test_ssim_falls_as_noise_grows_and_averages_over_channels() -> None:
    clean = picture(64, 64, 0)
    noise = np.random.default_rng(3).standard_normal(clean.shape)
    values = [ssim(clean, np.clip(clean + scale * noise, 0, 1)) for scale in (0, 0.02, 0.1, 0.4)]
    assert values == sorted(values, reverse=True)
    one_channel = clean.copy()
    one_channel[..., 1] = np.clip(clean[..., 1] + 0.3 * noise[..., 1], 0, 1)
    channel = np.repeat(clean[..., 1:2], 3, -1), np.repeat(one_channel[..., 1:2], 3, -1)
    assert ssim(clean, one_channel) == pytest.approx((2 + ssim(*channel)) / 3, abs=1e-5)


def test_psnr_has_its_closed_form() -> None:
    black = np.zeros((8, 9, 3), np.float32)
    assert psnr(black, black) == math.inf
    assert psnr(black, black + 0.1) == pytest.approx(20.0, abs=1e-5)
    assert psnr(black, black + 1.0) == 0.0
    one = black.copy()
    one[3, 4, 1] = 0.5  # mean squared error 0.25 / 216
    assert psnr(black, one) == pytest.approx(10 * math.log10(216 / 0.25), abs=1e-9)


def test_psnr_sums_large_half_precision_images_without_losing_digits() -> None:
    a = np.zeros((800, 800, 3), np.float16)
    assert psnr(a, a + np.float16(2**-10)) == pytest.approx(20 * math.log10(2**10), abs=1e-9)


def test_images_that_cannot_be_compared_are_refused() -> None:
    a = np.zeros((20, 20, 3))
    with pytest.raises(ValueError, match=r"\(20, 20, 3\) and \(20, 21, 3\)"):
        psnr(a, np.zeros((20, 21, 3)))
    with pytest.raises(ValueError, match="at least one pixel"):
        psnr(a[:0], a[:0])
    with pytest.raises(ValueError, match=r"\(H, W, 3\)"):
        ssim(a[..., :1], a[..., :1])
    assert math.isnan(ssim(a[:10], a[:10]))  # smaller than the window
