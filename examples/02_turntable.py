"""Turn a camera around a model, and write the pictures as a GIF: python examples/02_turntable.py MODEL [FRAMES]"""

import math
import sys

import imageio.v3 as imageio
import numpy as np

import taichi_rf as trf

model = trf.load(sys.argv[1])
frames = int(sys.argv[2]) if len(sys.argv) > 2 else 36

low, high = model.box
middle, distance = (low + high) / 2, 1.8 * float(np.max(high - low))
pictures = []
for frame in range(frames):
    angle = 2 * math.pi * frame / frames
    eye = middle + distance * np.array([math.cos(angle), math.sin(angle), 0.5])
    # The level rises during the turn: the first frame shows the first level alone, the last one all of them.
    level = 1 + frame * model.num_levels // frames
    picture = model.render(trf.camera(eye, middle, width=320, height=240), level=level)
    pictures.append(np.uint8(255 * picture + 0.5))
imageio.imwrite("turntable.gif", np.stack(pictures), duration=80, loop=0)
print(f"turntable.gif: {frames} frames of 320x240, levels 1 to {model.num_levels}")
