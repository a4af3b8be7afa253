"""Plot quality against size of every level of a model: python examples/03_rate_distortion.py MODEL SCENE [DOWNSCALE]

Needs matplotlib: pip install matplotlib
"""

import sys
from pathlib import Path

import matplotlib

matplotlib.use("Agg")  # writes a file, needs no window
import matplotlib.pyplot as plt

import taichi_rf as trf

model, scene = sys.argv[1:3]
downscale = int(sys.argv[3]) if len(sys.argv) > 3 else 4

scores = trf.evaluate(model, scene, views=8, downscale=downscale)
figure, axes = plt.subplots(figsize=(6, 4), layout="constrained")
axes.plot([score.bytes / 1e6 for score in scores], [score.psnr for score in scores], "o-")
for score in scores:
    axes.annotate(str(score.level), (score.bytes / 1e6, score.psnr), textcoords="offset points", xytext=(4, -10))
axes.set(
    xlabel="size of the file up to this level (MB)",
    ylabel="PSNR on test views (dB)",
    title=f"{Path(model).name} on {Path(scene).name}",
)
axes.grid(alpha=0.3)
figure.savefig("rate_distortion.png", dpi=150)
print(f"rate_distortion.png: {len(scores)} levels, {scores[0].psnr:.2f} to {scores[-1].psnr:.2f} dB")
