"""A view loop of your own: the level follows the time a frame may take. python examples/04_view_loop.py MODEL [FRAMES]

A camera goes around the model. Where a frame took longer than it may, the next one shows a level less, and where there
was time to spare, one more: what a viewer does that has to keep its frame rate.
"""

import math
import sys
import time

import numpy as np

import taichi_rf as trf

BUDGET = 1 / 20  # seconds a frame

model = trf.load(sys.argv[1])
frames = int(sys.argv[2]) if len(sys.argv) > 2 else 60

low, high = model.box
middle, distance = (low + high) / 2, 1.8 * float(np.max(high - low))
level = model.num_levels
model.render(trf.camera(middle + [distance, 0, 0], middle, width=160, height=120), level=level)  # compiles the kernels
for frame in range(frames):
    angle = 2 * math.pi * frame / frames
    eye = middle + distance * np.array([math.cos(angle), math.sin(angle), 0.4])
    began = time.perf_counter()
    picture = model.render(trf.camera(eye, middle, width=160, height=120), level=level)
    took = time.perf_counter() - began
    print(f"frame {frame + 1}: level {level} of {model.num_levels}, {1000 * took:.0f} ms, mean {picture.mean():.2f}")
    if took > BUDGET:
        level = max(1, level - 1)
    elif took < 0.7 * BUDGET:
        level = min(model.num_levels, level + 1)
